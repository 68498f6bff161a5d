"""A model prepared for search: the same equations, with everything precomputed that depends only on the weights.

The plain `encode` and `step` run, and remain the reference: their parts are replaced by faster parts with equal
results. Weights are cast and packed once. Products with embeddings are precomputed in a table. With several hypotheses
per sentence the memory is projected once. Energies are computed with exponentials. Parts of other types are not
replaced.
"""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from nmt.acceleration.inference.attention import INFERENCE_SCORES
from nmt.acceleration.inference.bahdanau import InferenceBahdanau, can_be_fused
from nmt.acceleration.inference.cells import INFERENCE_CELLS
from nmt.acceleration.inference.encoder import InferenceLoops
from nmt.acceleration.inference.linear import PackedLinear, ProjectedEmbedding, fuse_linears, get_linear
from nmt.acceleration.inference.output import OutputLayer
from nmt.acceleration.matmul import matmul_dtype
from nmt.attention.scores import AdditiveAttention, Source
from nmt.layers.cells import Cell
from nmt.model.decoder import (
    BahdanauDecoder,
    ConditionalGRUDecoder,
    Decoder,
    FixedVectorDecoder,
    LuongDecoder,
    RecurrentDecoder,
    State,
    Step,
)
from nmt.model.encoder import Encoder
from nmt.model.transformer_encoder import TransformerEncoder

# Larger embedding tables are not precomputed. For 6,000 words and 256 and 512 units both sides take 86 MB in float32.
MAX_TABLE_BYTES = 2**28

Part = TypeVar("Part", bound=nn.Module)


class InferenceModel:
    """`encode` and `step` of a model in eval mode; invalid after its weights change.

    Products run in the current autocast type; states, energies, softmax and sums in float32 (or wider).
    fold_memory: for steps with several rows per sentence. With one hypothesis per sentence, folding costs as much as it
    saves in batches, and saves time for a single short sentence.
    rescore_top_k: the number of largest logits of a row that are computed in float32 in any case.
    predict: the function of the model that computes logits from a step of the decoder and the output layer.
    """

    def __init__(
        self,
        encoder: Encoder | TransformerEncoder,
        decoder: Decoder,
        output: nn.Linear,
        predict: Callable[[Decoder, nn.Module, Step, Source], Tensor],
        *,
        fold_memory: bool,
        rescore_top_k: int,
    ):
        dtype = matmul_dtype(output.weight, output.weight)
        self._kind = output.weight.device.type
        with self._inference_mode():
            self._encoder = encoder
            if self._kind == "cpu":  # on a GPU launches take the time, and a layer is one call of cuDNN or few kernels
                self._encoder = _copy(encoder)
                if isinstance(self._encoder, Encoder):
                    self._encoder.loops = InferenceLoops()
                    _project_source_embedding(self._encoder, dtype)
                _replace(self._encoder, dtype)
            self._decoder = _copy(decoder)
            self._fold_memory, context = _prepare_decoder(self._decoder, dtype, fold_memory)
            _replace(self._decoder, dtype)
            self._decoder_step: Callable[..., Step] = self._decoder.step
            if can_be_fused(decoder):
                self._decoder_step = InferenceBahdanau(decoder, self._decoder, context, dtype).step
            self._output = OutputLayer(output, dtype, rescore_top_k)
            self._predict = predict

    def encode(self, src: Tensor, src_lengths: Tensor) -> tuple[Source, State]:
        """Computes Seq2Seq.encode; the memory (B, S, .) may have another width."""
        with torch.inference_mode():
            encoded = self._encoder(src, src_lengths)
        with self._inference_mode():
            source = self._decoder.source(encoded)
            return source._replace(memory=self._fold_memory(source.memory)), self._decoder.init_state(encoded)

    def step(self, tokens: Tensor, state: State, source: Source) -> tuple[Tensor, State, Tensor]:
        """Computes Seq2Seq.step."""
        with self._inference_mode():
            step = self._decoder_step(tokens, state, source)
            return self._predict(self._decoder, self._output, step, source), step.state, step.weights

    def _inference_mode(self) -> AbstractContextManager:
        if torch.is_inference_mode_enabled() and not torch.is_autocast_enabled(self._kind):
            return nullcontext()  # the other context takes longer at each step than a small product
        return _exact_inference_mode(self._kind)


@contextmanager
def _exact_inference_mode(kind: str):
    with torch.inference_mode(), torch.autocast(kind, enabled=False):
        yield


def _copy(module: Part) -> Part:
    """A copy of all parts that shares the weights."""
    return copy.deepcopy(module, {id(weight): weight for weight in module.parameters()})


class _OfMemory(NamedTuple):
    """The projections of the memory (B, S, M), once for each sentence, and of a step's context (N, .) before the
    decoder splits it; `InferenceBahdanau` uses both, other decoders only the first."""

    memory: nn.Module = nn.Identity()
    context: nn.Module = nn.Identity()


def _prepare_decoder(decoder: Decoder, dtype: torch.dtype, fold_memory: bool) -> _OfMemory:
    if isinstance(decoder, RecurrentDecoder) and not isinstance(decoder.cell.project, nn.Linear):
        return _OfMemory()  # a normalized product has no table, and is not folded into another part
    one_product = can_be_fused(decoder)  # before the parts are replaced
    if type(decoder) is LuongDecoder:
        _project_embedding(decoder, [(decoder.cell, "project")], dtype)
    elif type(decoder) in (BahdanauDecoder, ConditionalGRUDecoder, FixedVectorDecoder):
        assert isinstance(decoder, BahdanauDecoder | ConditionalGRUDecoder | FixedVectorDecoder), decoder
        _project_embedding(decoder, [(decoder.cell, "project"), (decoder.readout, "word")], dtype)
        whole = not decoder.context_width  # the context is used only in products of the readout and the bottom cell
        fold_memory &= whole and (isinstance(decoder, FixedVectorDecoder) or decoder.attention.heads == 1)
        if fold_memory or one_product:
            gates = (
                (decoder.transition, "project") if isinstance(decoder, ConditionalGRUDecoder) else (decoder, "context")
            )
            fused = fuse_linears([gates, (decoder.readout, "context")], keep_biases=True)
            product = PackedLinear(fused.weight, None, dtype)
            return _OfMemory(memory=product) if fold_memory else _OfMemory(context=product)
    return _OfMemory()


def _project_embedding(decoder: Decoder, users: list[tuple[nn.Module, str]], dtype: torch.dtype) -> None:
    """Replaces the embedding by a table of the products `users`, by module and name, for each word."""
    embeddings = decoder.embedding.weight
    if _fits(embeddings, users, dtype):
        fused = fuse_linears(users)
        decoder.add_module("embedding", ProjectedEmbedding(PackedLinear(fused.weight, fused.bias, dtype), embeddings))


def _project_source_embedding(encoder: Encoder, dtype: torch.dtype) -> None:
    """Replaces the input products of the bottom cells by tables indexed by ids; backward, only the ids are reversed."""
    embeddings, cells = encoder.embedding.weight, encoder.cells[0]
    if all(isinstance(cell.project, nn.Linear) for cell in cells) and _fits(
        embeddings, [(cell, "project") for cell in cells], dtype
    ):
        for cell in cells:
            packed = get_linear(cell, "project")
            cell.add_module("project", ProjectedEmbedding(PackedLinear(packed.weight, packed.bias, dtype), embeddings))
        encoder.add_module("embedding", nn.Identity())


def _fits(embeddings: Tensor, users: list[tuple[nn.Module, str]], dtype: torch.dtype) -> bool:
    width = sum(get_linear(module, name).out_features for module, name in users)
    return len(embeddings) * width * dtype.itemsize <= MAX_TABLE_BYTES


def _replace(module: nn.Module, dtype: torch.dtype) -> None:
    """Replaces all parts of known types, recursively."""
    for name, part in module.named_children():
        if isinstance(part, nn.Linear):
            part = PackedLinear(part.weight, part.bias, dtype)
        elif isinstance(part, Cell) and type(part) in INFERENCE_CELLS:
            part = INFERENCE_CELLS[type(part)](part, dtype)
        elif isinstance(part, AdditiveAttention) and type(part) in INFERENCE_SCORES:
            part = INFERENCE_SCORES[type(part)](part, dtype)
        module.add_module(name, part)
        _replace(part, dtype)
