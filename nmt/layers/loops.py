"""The reference loops over steps, as in the papers, differentiated by autograd.

A model is constructed with its loops: `ReferenceLoops`, or a subclass that computes the same numbers faster.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.hard import Marginal, Positions, marginal_nll
from nmt.attention.scores import Attention, AttentionOutput, AttentionState, Source
from nmt.layers.cells import Cell
from nmt.layers.dropout import Dropout
from nmt.layers.loss import ConsistentLoss, Loss, PassWeights, consistent_cross_entropy, cross_entropy
from nmt.layers.stack import stack_output, step_upper_cells


class BahdanauOutputs(NamedTuple):
    """Time-major: states (T + 1, B, state_size), the initial state first; contexts (T, B, M), weights (T, B, S)."""

    states: Tensor
    contexts: Tensor
    weights: Tensor


class LuongOutputs(NamedTuple):
    """Time-major: attentional (T, B, H), Luong's h~; weights (T, B, S); hidden (T, B, H), the states that are
    queries.
    """

    attentional: Tensor
    weights: Tensor
    hidden: Tensor


class LuongStep(NamedTuple):
    """states: the cells' new states, (N, state_size) each; attentional (N, H), attention's state, weights (N, S);
    hidden (N, H), the state that is the query."""

    states: tuple[Tensor, ...]
    attentional: Tensor
    attention: AttentionState
    weights: Tensor
    hidden: Tensor


class LuongLayers(NamedTuple):
    """The recurrent layers of Luong's decoder. cells: bottom first; input_feed: None without input feeding; residual:
    whether a layer's input is added to its output."""

    cells: tuple[Cell, ...]
    dropout: Dropout
    attention: Attention
    input_feed: nn.Module | None
    combine: nn.Linear
    residual: bool = False

    def step(
        self,
        projected: Tensor,
        states: Sequence[Tensor],
        attentional: Tensor,
        attention: AttentionState,
        source: Source,
    ) -> LuongStep:
        """projected (N, gates * H): the bottom cell's product with the words; the rest: from the previous LuongStep."""
        if self.input_feed is not None:
            projected = projected + self.input_feed(attentional)
        bottom = self.cells[0].step(projected, states[0])
        states = step_upper_cells(self.cells, self.dropout, bottom, states, residual=self.residual)
        hidden = stack_output(self.cells, states, residual=self.residual)
        attended = self.attention.step(hidden, source, attention)
        return LuongStep(states, self.attend(attended.context, hidden), attended.state, attended.weights, hidden)

    def attend(self, context: Tensor, hidden: Tensor) -> Tensor:
        """context (..., M), hidden (..., H) -> h~ (..., H) = tanh(W_c [c; h]).  # Luong et al. (2015), eq. 5"""
        return torch.tanh(self.combine(torch.cat((context, hidden), -1))).to(hidden.dtype)


class StepModel(Protocol):
    """The methods of a model that search uses: see `Seq2Seq.encode` and `Seq2Seq.step`."""

    def encode(self, src: Tensor, src_lengths: Tensor, /) -> tuple[Any, Any]: ...

    def step(self, tokens: Tensor, state: Any, source: Any, /) -> tuple[Tensor, Any, Tensor]: ...


class ReferenceLoops:
    """All computations of a model over all steps at once. The loops have no parameters: layers are arguments."""

    def linear(self, layer: nn.Module, inputs: Tensor) -> Tensor:
        """layer(inputs), for all steps at once."""
        return layer(inputs)

    def run_cell(self, cell: Cell, projected: Tensor, start: Tensor) -> Tensor:
        """All states of a cell over a sequence, the initial state first.

        projected (T, B, gates * H), start (B, state_size) -> (T + 1, B, state_size).
        """
        states = [start]
        for step in projected:
            states.append(cell.step(step, states[-1]))
        return torch.stack(states)

    def outputs(self, cell: Cell, inputs: Tensor, start: Tensor) -> Tensor:
        """The outputs of a cell over a sequence: inputs (T, B, X), start (B, state_size) -> (T + 1, B, H), the output
        of `start` first."""
        return cell.output(self.run_cell(cell, self.linear(cell.project, inputs), start))

    def run_directions(
        self, cells: Sequence[Cell], inputs: Tensor, lengths: Tensor, mask: Tensor
    ) -> tuple[Tensor, ...]:
        """One layer of the encoder: the forward cell and optionally the backward cell, each from a state of zeros.

        inputs (B, S, X), lengths (B,), mask (B, S) -> outputs (B, S, H) of each cell: 0 on padding.
        """
        outputs = [self._outputs_from_zeros(cells[0], inputs)]
        for backward in cells[1:]:
            positions = reversed_positions(lengths, inputs.shape[1])
            reversed_outputs = self._outputs_from_zeros(backward, gather_positions(inputs, positions))
            outputs.append(gather_positions(reversed_outputs, positions))
        return tuple(output * mask.unsqueeze(2) for output in outputs)

    def bahdanau(
        self, cell: Cell, attention: Attention, context: nn.Module, projected: Tensor, start: Tensor, source: Source
    ) -> BahdanauOutputs:
        """Attends, then updates the state: projected (T, B, gates * H), the cell's product with the words; start
        (B, state_size); context: the layer for the context's product in the gates."""
        states, contexts, weights, attention_state = [start], [], [], attention.initial_state(source.memory)
        for projected_step in projected:
            attended = attention.step(cell.output(states[-1]), source, attention_state)
            attention_state = attended.state
            contexts.append(attended.context)
            weights.append(attended.weights)
            states.append(cell.step(projected_step + context(attended.context), states[-1]))
        return BahdanauOutputs(torch.stack(states), torch.stack(contexts), torch.stack(weights))

    def conditional_gru(
        self, cells: tuple[Cell, Cell], attention: Attention, projected: Tensor, start: Tensor, source: Source
    ) -> BahdanauOutputs:
        """Updates the state with the word, attends, updates the state with the context.

        projected (T, B, gates * H): the first cell's product with the words; start (B, state_size). The returned states
        are those after the second cell."""
        first, second = cells
        states, contexts, weights, attention_state = [start], [], [], attention.initial_state(source.memory)
        for projected_step in projected:
            query = first.step(projected_step, states[-1])
            attended = attention.step(first.output(query), source, attention_state)
            attention_state = attended.state
            contexts.append(attended.context)
            weights.append(attended.weights)
            states.append(second.step(second.project(attended.context), query))
        return BahdanauOutputs(torch.stack(states), torch.stack(contexts), torch.stack(weights))

    def luong(
        self, layers: LuongLayers, projected: Tensor, states: Sequence[Tensor], attentional: Tensor, source: Source
    ) -> LuongOutputs:
        """Updates the state, then attends, and feeds h~ to the next step.

        projected (T, B, gates * H): the bottom cell's product with the words; states (B, state_size) of each cell and
        attentional (B, H): before the first step."""
        attention_state, steps = layers.attention.initial_state(source.memory), []
        for projected_step in projected:
            steps.append(layers.step(projected_step, states, attentional, attention_state, source))
            states, attentional, attention_state = steps[-1][:3]
        return LuongOutputs(
            torch.stack([step.attentional for step in steps]),
            torch.stack([step.weights for step in steps]),
            torch.stack([step.hidden for step in steps]),
        )

    def attend_all(self, attention: Attention, hidden: Tensor, source: Source) -> AttentionOutput:
        """Attention of all steps, if no state depends on attention: hidden (T, B, H) -> context (B, T, M), weights
        (B, T, S)."""
        state = attention.initial_state(source.memory)
        if not attention.is_stateful:
            queries = hidden.transpose(0, 1)
            return attention(queries, source, AttentionState(*(queries[..., :0] for _ in state)))
        contexts, weights = [], []
        for query in hidden:
            context, step_weights, state = attention.step(query, source, state)
            contexts.append(context)
            weights.append(step_weights)
        return AttentionOutput(torch.stack(contexts, 1), torch.stack(weights, 1))

    def attend_heads(
        self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        """Dot-product attention of H heads: query (B, H, Q, D), keys, values (B, H, S, D) -> contexts (B, H, Q, D).

        mask: bool, broadcast to (B, H, Q, S), False on excluded positions. causal: query q attends up to position q.
        # Vaswani et al. (2017), eq. 1
        """
        return functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=causal)

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
        """See `nmt.layers.loss.cross_entropy`."""
        return cross_entropy(features, weight, bias, tgt_out, smoothing=smoothing, token_positions=token_positions)

    def marginal_nll(self, positions: Positions, output: nn.Linear, targets: Tensor) -> Marginal:
        """See `nmt.attention.hard.marginal_nll`."""
        return marginal_nll(positions, output.weight, output.bias, targets)

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
        """See `nmt.layers.loss.consistent_cross_entropy`."""
        return consistent_cross_entropy(
            features, weight, bias, tgt_out, weights=weights, smoothing=smoothing, token_positions=token_positions
        )

    def for_inference(self, model: Any, *, fold_memory: bool, rescore_top_k: int) -> StepModel:
        """The object that search uses instead of `model`, a Seq2Seq: here the model itself. For the options see
        `Seq2Seq.for_inference`."""
        return model

    def _outputs_from_zeros(self, cell: Cell, inputs: Tensor) -> Tensor:
        """inputs (B, S, X) -> outputs (B, S, H)."""
        start = cell.weight.new_zeros(len(inputs), cell.state_size)
        return self.outputs(cell, inputs.transpose(0, 1), start)[1:].transpose(0, 1)


def reversed_positions(lengths: Tensor, steps: int) -> Tensor:
    """lengths (B,) -> (B, S): positions that reverse each sentence and leave its padding at the end.

    Gathering with these positions twice restores the sentence.
    """
    positions = torch.arange(steps, device=lengths.device).expand(len(lengths), steps)
    flipped = lengths.unsqueeze(1) - 1 - positions
    return torch.where(flipped >= 0, flipped, positions)


def gather_positions(inputs: Tensor, positions: Tensor) -> Tensor:
    """inputs (B, S, X) gathered at positions (B, S)."""
    rows = positions + inputs.shape[1] * torch.arange(len(inputs), device=inputs.device).unsqueeze(1)
    return inputs.flatten(0, 1).index_select(0, rows.flatten()).view_as(inputs)
