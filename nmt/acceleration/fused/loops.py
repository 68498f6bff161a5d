"""The loops of ``nmt.layers.loops``, fused: the same results from hand-written backward passes and kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nmt.acceleration.fused import consistency, cudnn, loss, marginal
from nmt.acceleration.fused.attend_all import AttendAll
from nmt.acceleration.fused.bahdanau import BahdanauLoop
from nmt.acceleration.fused.cells import FusedCell, FusedGRU, FusedGRUResetAfter, FusedLSTM
from nmt.acceleration.fused.conditional_gru import ConditionalGRULoop
from nmt.acceleration.fused.linear import linear
from nmt.acceleration.fused.luong import LuongLoop
from nmt.acceleration.fused.run_cell import RunCell
from nmt.acceleration.fused.scores import ScoreWeights
from nmt.acceleration.inference import InferenceModel
from nmt.acceleration.kernels import Kernel, is_enabled
from nmt.acceleration.matmul import matmul_dtype
from nmt.attention.energies import dot_energies
from nmt.attention.hard import Marginal, Positions
from nmt.attention.scores import (
    AdditiveAttention,
    Attention,
    AttentionOutput,
    ConcatAttention,
    CoverageAttention,
    DotAttention,
    GeneralAttention,
    ScaledDotAttention,
    Source,
)
from nmt.layers.cells import Cell, GRUCell, GRUResetAfterCell, LSTMCell
from nmt.layers.dropout import DropoutMask
from nmt.layers.loops import BahdanauOutputs, LuongLayers, LuongOutputs, ReferenceLoops
from nmt.layers.loss import ConsistentLoss, Loss, PassWeights
from nmt.model.seq2seq import Seq2Seq

_FUSED_CELLS: dict[type[Cell], type[FusedCell]] = {
    GRUCell: FusedGRU,
    GRUResetAfterCell: FusedGRUResetAfter,
    LSTMCell: FusedLSTM,
}
_ADDITIVE_SCORES = (AdditiveAttention, ConcatAttention, CoverageAttention)
_FUSED_SCORES = (*_ADDITIVE_SCORES, DotAttention, ScaledDotAttention, GeneralAttention)


class FusedLoops(ReferenceLoops):
    """One autograd function for each loop. Cells and scores without a fused version run on the reference loops.

    On a GPU the enabled kernels are used: see ``nmt.acceleration.kernels``.
    """

    def linear(self, layer: nn.Module, inputs: Tensor) -> Tensor:
        return linear(layer, inputs) if type(layer) is nn.Linear else super().linear(layer, inputs)

    def run_cell(self, cell: Cell, projected: Tensor, start: Tensor) -> Tensor:
        if not is_fused(cell):
            return super().run_cell(cell, projected, start)
        dtype = matmul_dtype(projected, start)
        with torch.autocast(projected.device.type, enabled=False):
            states = RunCell.apply(
                _fused_cell(cell, projected, dtype), dtype, projected, start, None, cell.weight, _bias(cell)
            )
        return states.to(start.dtype)

    def outputs(self, cell: Cell, inputs: Tensor, start: Tensor) -> Tensor:
        dtype = matmul_dtype(inputs, start)
        if not cudnn.is_supported(cell, inputs, matmul_dtype(inputs, inputs)):
            return super().outputs(cell, inputs, start)
        with torch.autocast(inputs.device.type, enabled=False):
            hidden = cudnn.run(cell, inputs, start, dtype)
        return torch.cat((cell.output(start).unsqueeze(0), hidden.to(start.dtype)))

    def run_directions(
        self, cells: Sequence[Cell], inputs: Tensor, lengths: Tensor, mask: Tensor
    ) -> tuple[Tensor, ...]:
        """All directions in one loop: the backward direction has flipped time; its state stays zero on the padding at
        its begin, so sentences need not be reversed one by one. cuDNN runs one direction at a time."""
        if not is_fused(cells[0]) or cudnn.is_supported(cells[0], inputs, matmul_dtype(inputs, inputs)):
            return super().run_directions(cells, inputs, lengths, mask)
        projected = [self.linear(cell.project, inputs).transpose(0, 1) for cell in cells]
        step_mask = mask.t().unsqueeze(2).to(inputs.dtype)
        flipped = [step_mask, step_mask.flip(0)][: len(cells)]
        projected[1:] = [part.flip(0) for part in projected[1:]]
        outputs = run_side_by_side(cells, torch.stack(projected), torch.stack(flipped)).unbind(0)
        return outputs[0].transpose(0, 1), *(output.flip(0).transpose(0, 1) for output in outputs[1:])

    def bahdanau(
        self, cell: Cell, attention: Attention, context: nn.Module, projected: Tensor, start: Tensor, source: Source
    ) -> BahdanauOutputs:
        if not is_fused(cell, attention):
            return super().bahdanau(cell, attention, context, projected, start, source)
        dtype = matmul_dtype(projected, start)
        with torch.autocast(projected.device.type, enabled=False):
            states, contexts, weights = BahdanauLoop.apply(
                *(_fused_cell(cell, projected, dtype), attention.normalizer, dtype, projected, start),
                *(source.memory, _keys(attention, source), source.mask),
                *(cell.weight, _bias(cell), context.weight),
                *_score_weights(attention),
            )
        return BahdanauOutputs(states.to(start.dtype), contexts.to(start.dtype), weights)

    def conditional_gru(
        self, cells: tuple[Cell, Cell], attention: Attention, projected: Tensor, start: Tensor, source: Source
    ) -> BahdanauOutputs:
        first, second = cells
        if not (is_fused(first, attention) and is_fused(second)):
            return super().conditional_gru(cells, attention, projected, start, source)
        dtype = matmul_dtype(projected, start)
        with torch.autocast(projected.device.type, enabled=False):
            states, contexts, weights = ConditionalGRULoop.apply(
                *(_fused_cell(first, projected, dtype), attention.normalizer, dtype, projected, start),
                *(source.memory, _keys(attention, source), source.mask),
                *(first.weight, _bias(first), second.weight, _bias(second)),
                *(second.project.weight, second.project.bias),
                *_score_weights(attention),
            )
        return BahdanauOutputs(states.to(start.dtype), contexts.to(start.dtype), weights)

    def luong(
        self, layers: LuongLayers, projected: Tensor, states: Sequence[Tensor], attentional: Tensor, source: Source
    ) -> LuongOutputs:
        cells, attention = layers.cells, layers.attention
        fused = all(is_fused(cell, attention) for cell in cells)
        if layers.input_feed is None or layers.residual or not fused:
            return super().luong(layers, projected, states, attentional, source)
        dtype = matmul_dtype(projected, attentional)
        by_layer: list[Tensor | None] = []
        for cell, start in zip(cells, states, strict=True):
            by_layer += [cell.weight, _bias(cell), start]
        upper = cells[1:]
        for cell in upper:
            by_layer += [cell.project.weight, cell.project.bias]
        drops, dropout = None, layers.dropout
        if dropout.training and dropout.probability and upper:
            shape = torch.Size((len(upper), len(projected), *attentional.shape))
            drawn = DropoutMask(shape, dropout.probability, attentional.device)
            drops = drawn.mask.to(attentional.dtype).mul_(drawn.scale)
        with torch.autocast(projected.device.type, enabled=False):
            outputs, weights, top_states = LuongLoop.apply(
                *(_fused_cell(cells[0], projected, dtype), attention.normalizer, dtype, projected, attentional),
                *(source.memory, _keys(attention, source), source.mask),
                *(layers.input_feed.weight, layers.combine.weight, *_score_weights(attention), drops, *by_layer),
            )
        hidden = cells[-1].output(top_states[1:]).to(states[-1].dtype)
        return LuongOutputs(outputs[1:].to(attentional.dtype), weights, hidden)

    def attend_all(self, attention: Attention, hidden: Tensor, source: Source) -> AttentionOutput:
        """Computes additive scores without the (B, T, S, A) tensor of terms. A dot product is a single product
        anyway."""
        if type(attention) not in _ADDITIVE_SCORES:
            return super().attend_all(attention, hidden, source)
        dtype = matmul_dtype(source.keys, hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            contexts, weights = AttendAll.apply(
                *(attention.normalizer, dtype, hidden, source.memory, source.keys, source.mask),
                *_score_weights(attention),
            )
        return AttentionOutput(contexts.to(hidden.dtype).transpose(0, 1), weights.transpose(0, 1))

    def attend_heads(
        self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        """In half precision on a CPU, two products and a softmax in float32, because the backward of torch's function
        takes five times as long; otherwise as the reference."""
        if query.device.type != "cpu" or query.dtype.itemsize > 2:
            return super().attend_heads(query, keys, values, mask, causal=causal)
        energies = dot_energies(query.flatten(0, 1), keys.flatten(0, 1)).unflatten(0, query.shape[:2])
        energies *= query.shape[3] ** -0.5
        if causal:
            mask = torch.ones(energies.shape[2:], dtype=torch.bool).tril()
        if mask is not None:
            energies = energies.masked_fill(~mask, float("-inf"))
        return energies.softmax(3).to(values.dtype) @ values

    def cross_entropy(
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        tgt_out: Tensor,
        *,
        smoothing: float = 0.0,
        token_positions: Tensor | None = None,
    ) -> Loss:
        return loss.cross_entropy(features, weight, bias, tgt_out, smoothing=smoothing, token_positions=token_positions)

    def marginal_nll(self, positions: Positions, output: nn.Linear, targets: Tensor) -> Marginal:
        return marginal.marginal_nll(positions, output.weight, output.bias, targets)

    def consistent_cross_entropy(
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        tgt_out: Tensor,
        *,
        weights: PassWeights,
        smoothing: float = 0.0,
        token_positions: Tensor | None = None,
    ) -> ConsistentLoss:
        return consistency.consistent_cross_entropy(
            features, weight, bias, tgt_out, weights=weights, smoothing=smoothing, token_positions=token_positions
        )

    def for_inference(self, model: Seq2Seq, *, fold_memory: bool, rescore_top_k: int) -> InferenceModel:
        return InferenceModel(
            model.encoder,
            model.decoder,
            model.output,
            model.predict,
            fold_memory=fold_memory,
            rescore_top_k=rescore_top_k,
        )


def is_fused(cell: Cell, attention: Attention | None = None) -> bool:
    """Whether there are fused versions of this cell and of this score."""
    return (
        type(cell) in _FUSED_CELLS and not cell.transitions and (attention is None or type(attention) in _FUSED_SCORES)
    )


def run_side_by_side(cells: Sequence[Cell], projected: Tensor, step_mask: Tensor) -> Tensor:
    """Runs cells of one type side by side, each on its own sequence, from states of zeros.

    projected (D, T, B, gates * H); step_mask (D, T, B, 1): 0 if a cell's step is padding, else 1 -> outputs (D, T, B,
    H).
    """
    cell = cells[0]
    dtype = matmul_dtype(projected, step_mask)
    start = step_mask.new_zeros(len(cells), projected.shape[2], cell.state_size)
    weight = torch.stack([cell.weight for cell in cells])
    biases = [bias for bias in map(_bias, cells) if bias is not None]
    bias = torch.stack(biases) if biases else None
    with torch.autocast(projected.device.type, enabled=False):
        states = RunCell.apply(_fused_cell(cell, projected, dtype), dtype, projected, start, step_mask, weight, bias)
    return cell.output(states[:, 1:]).to(step_mask.dtype)


def _fused_cell(cell: Cell, like: Tensor, dtype: torch.dtype) -> type[FusedCell]:
    """The fused cell for products in `dtype` on the device of `like`."""
    if type(cell) is GRUCell and is_enabled(Kernel.triton, like, dtype):
        from nmt.acceleration.fused.triton_cells import TritonGRU  # triton is not installed everywhere

        return TritonGRU
    return _FUSED_CELLS[type(cell)]


def _bias(cell: Cell) -> Tensor | None:
    return cell.candidate_bias if isinstance(cell, GRUResetAfterCell) else None


def _keys(attention: Attention, source: Source) -> Tensor:
    """The keys of a plain dot product, with a score's scale applied once for each sentence."""
    if isinstance(attention, ScaledDotAttention):
        return source.keys.to(torch.promote_types(source.keys.dtype, torch.float32)) * attention.size**-0.5
    return source.keys


def _score_weights(attention: Attention) -> ScoreWeights:
    if not isinstance(attention, AdditiveAttention):
        return ScoreWeights()
    coverage_weight = attention.coverage_weight if isinstance(attention, CoverageAttention) else None
    return ScoreWeights(attention.query.weight, attention.v, coverage_weight)
