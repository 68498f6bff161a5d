"""Word dropout and recurrent dropout of an encoder or a decoder, whatever it is made of."""

from torch import nn

from nmt.layers.cells import Cell
from nmt.layers.embedding import Embedding


def set_dropout(side: nn.Module, *, word: float, recurrent: float) -> None:
    """From now on the embeddings of `side` have word dropout and its cells have recurrent dropout, in training."""
    for module in side.modules():
        match module:
            case Embedding():
                module.word_dropout = word
            case Cell():
                module.recurrent_dropout = recurrent
            case _:
                pass
