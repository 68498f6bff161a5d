"""Word dropout and recurrent dropout of an encoder or a decoder of any kind."""

from torch import nn

from nmt.layers.cells import Cell
from nmt.layers.embedding import Embedding


def set_dropout(side: nn.Module, *, word: float, recurrent: float) -> None:
    """Sets the word dropout of the embeddings and the recurrent dropout of the cells of `side`, for training."""
    for module in side.modules():
        match module:
            case Embedding():
                module.word_dropout = word
            case Cell():
                module.recurrent_dropout = recurrent
            case _:
                pass
