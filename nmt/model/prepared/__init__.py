"""A model made ready for search: the same equations, with all done beforehand that depends on the weights alone.

The plain `encode` and `step` are what runs, and stay the reference: their parts are replaced by equal ones that are
faster. Weights are cast and laid out once. What gates and readout make of a word is looked up, not multiplied; what
they make of the memory is made once a sentence if several share it, so that a context comes multiplied already.
Energies take the exponential form. A part whose type is not known here stays as it is.
"""

import copy
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from nmt.model.attention import AdditiveAttention, ConcatAttention, CoverageAttention, Source
from nmt.model.cells import Cell
from nmt.model.decoder import BahdanauDecoder, Decoder, FixedVectorDecoder, LuongDecoder, State
from nmt.model.encoder import Encoder
from nmt.model.prepared.cells import PREPARED
from nmt.model.prepared.looks import PreparedAdditive, PreparedCoverage
from nmt.model.prepared.products import Product, Table, join, linear
from nmt.model.prepared.vocabulary import Vocabulary
from nmt.model.recurrence.products import product_dtype

# Tables of words beyond this size are not made. For 6,000 words and 256 and 512 units both sides take 86 MB in float32.
MOST_TABLE_BYTES = 2**28

# Their contexts are multiplied by weights alone before anything else happens to them.
_FOLDED = (BahdanauDecoder, FixedVectorDecoder)

Part = TypeVar("Part", bound=nn.Module)


class Prepared:
    """`encode` and `step` of a model in eval mode; of no use any more when its weights change.

    Products run in the type that autocast asks for now; states, energies, softmax and sums in float32 (or wider).
    shared: a step has several rows for a sentence. One alone looks about as often as the sentence has words, so that it
    would gain nothing from a memory multiplied beforehand, which is several times as wide.
    sharp: as many of a row's largest logits are in float32 whatever the products run in.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, output: nn.Linear, *, shared: bool, sharp: int):
        dtype = product_dtype(output.weight, output.weight)
        self._kind = output.weight.device.type
        with self._as_prepared():
            self._encoder = encoder
            if self._kind == "cpu":  # elsewhere launches count, and a whole layer is one call of cuDNN or few kernels
                self._encoder = _copy(encoder)
                _look_up_directions(self._encoder, dtype)
                _replace(self._encoder, dtype)
            self._decoder = _copy(decoder)
            self._fold = _prepare_decoder(self._decoder, dtype, shared)
            _replace(self._decoder, dtype)
            self._output = Vocabulary(output, dtype, sharp)

    def encode(self, src: Tensor, src_lengths: Tensor) -> tuple[Source, State]:
        """As Seq2Seq.encode; the memory (B, S, .) may be of another width."""
        encoded = self._encoder(src, src_lengths)
        with self._as_prepared():
            source = self._decoder.source(encoded)
            return source._replace(memory=self._fold(source.memory)), self._decoder.start(encoded)

    def step(self, tokens: Tensor, state: State, source: Source) -> tuple[Tensor, State, Tensor]:
        """As Seq2Seq.step."""
        with self._as_prepared():
            features, state, weights = self._decoder.step(tokens, state, source)
            return self._output(features), state, weights

    @contextmanager
    def _as_prepared(self):
        with torch.inference_mode(), torch.autocast(self._kind, enabled=False):
            yield


def _copy(module: Part) -> Part:
    """All parts anew, with the same weights."""
    return copy.deepcopy(module, {id(weight): weight for weight in module.parameters()})


def _prepare_decoder(decoder: Decoder, dtype: torch.dtype, shared: bool) -> nn.Module:
    """-> what makes of the memory (B, S, M) the one that the decoder's step then wants."""
    if type(decoder) is LuongDecoder:
        _look_up(decoder, [(decoder.cell, "project")], dtype)
    elif isinstance(decoder, BahdanauDecoder | FixedVectorDecoder) and type(decoder) in _FOLDED:
        _look_up(decoder, [(decoder.cell, "project"), (decoder.readout, "word")], dtype)
        if shared:
            joined = join([(decoder, "context"), (decoder.readout, "context")])
            return Product(joined.weight, None, dtype)
    return nn.Identity()


def _look_up(decoder: Decoder, users: list[tuple[nn.Module, str]], dtype: torch.dtype) -> None:
    """Makes the embedding a table of what `users`, products by module and name, make of each word."""
    words = decoder.embedding.weight
    if _fits(words, users, dtype):
        joined = join(users)
        decoder.add_module("embedding", Table(Product(joined.weight, joined.bias, dtype), words))


def _look_up_directions(encoder: Encoder, dtype: torch.dtype) -> None:
    """Lets the lowest cells take words by their ids, each from a table of its own: to read backwards only ids turn."""
    words, cells = encoder.embedding.weight, encoder.cells[0]
    if _fits(words, [(cell, "project") for cell in cells], dtype):
        for cell in cells:
            product = linear(cell, "project")
            cell.add_module("project", Table(Product(product.weight, product.bias, dtype), words))
        encoder.add_module("embedding", nn.Identity())


def _fits(words: Tensor, users: list[tuple[nn.Module, str]], dtype: torch.dtype) -> bool:
    width = sum(linear(module, name).out_features for module, name in users)
    return len(words) * width * dtype.itemsize <= MOST_TABLE_BYTES


def _replace(module: nn.Module, dtype: torch.dtype) -> None:
    """Replaces every part within that is known."""
    for name, part in module.named_children():
        if isinstance(part, nn.Linear):
            part = Product(part.weight, part.bias, dtype)
        elif isinstance(part, Cell) and type(part) in PREPARED:
            part = PREPARED[type(part)](part, dtype)
        elif isinstance(part, AdditiveAttention) and type(part) in (AdditiveAttention, ConcatAttention):
            part = PreparedAdditive(part, dtype)
        elif type(part) is CoverageAttention:
            part = PreparedCoverage(part, dtype)
        module.add_module(name, part)
        _replace(part, dtype)
