"""The inputs, the state and the outputs of attention."""

from typing import NamedTuple

from torch import Tensor


class Source(NamedTuple):
    """The values that are constant over the decoding steps of a batch.

    memory (B, S, M): encoder outputs, or their projections for several heads; keys (B, S, A): the projections that
    queries are matched with; mask (B, S): True on real tokens.
    """

    memory: Tensor
    keys: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> "Source":
        """The source of the sentences `rows` (R,)."""
        return Source(*(field.index_select(0, rows) for field in self))


class AttentionState(NamedTuple):
    """The state of attention between steps, for N hypotheses; a part that is not used has width 0.

    coverage (N, S): the sum of the weights so far; position (N, P): the number of steps taken (local_m, P = 1) or the
    centers of the Gaussians (gaussian, P = K).
    """

    coverage: Tensor
    position: Tensor

    def select(self, rows: Tensor) -> "AttentionState":
        """The state of the hypotheses `rows` (R,) alone, in that order."""
        return AttentionState(*(field.index_select(0, rows) for field in self))

    def unflatten(self, batch: int) -> "AttentionState":
        """(N, .) -> (B, Q, .), with N = B * Q."""
        return AttentionState(*(field.unflatten(0, (batch, len(field) // batch)) for field in self))

    def for_single_position(self) -> "AttentionState":
        """The same for sources of one position, whose weight is one whatever was attended to before."""
        return self._replace(coverage=self.coverage[:, :1])


class AttentionOutput(NamedTuple):
    """The output of attention: context (B, Q, M) and weights (B, Q, S)."""

    context: Tensor
    weights: Tensor


class AttentionStep(NamedTuple):
    """One step of N hypotheses: context (N, M), weights (N, S), and the state of the next step."""

    context: Tensor
    weights: Tensor
    state: AttentionState
