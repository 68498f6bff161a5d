"""Local attention: only the source positions inside a window get weight."""

from enum import Enum

import torch
from torch import Tensor, nn

from nmt.attention.scores import Attention, AttentionOutput, AttentionState, Source

# The values of ``model.attention.extent``; `global` is a keyword, so it cannot be a name in a class body.
Extent = Enum("Extent", {"global": "global", "local_m": "local_m", "local_p": "local_p"})
GLOBAL = Extent["global"]

# The window is cut out of sources that are longer than this many windows. In shorter sources all positions are computed
# and masked, because copying the window would cost as much as it saves.
_MIN_WINDOWS = 2


class LocalAttention(Attention):
    """Applies another attention to the 2 D + 1 positions around a center; all other positions get exactly 0.

    Subclasses compute the center. attention: a score, or several heads, which share the window; window: D.
    # Luong et al. (2015), 3.2
    """

    def __init__(self, attention: Attention, window: int):
        super().__init__()
        self.attention = attention
        self.window = window
        self.size, self.heads, self.uses_coverage = attention.size, attention.heads, attention.uses_coverage

    def source(self, memory: Tensor, mask: Tensor) -> Source:
        return self.attention.source(memory, mask)

    def project_keys(self, memory: Tensor) -> Tensor:
        return self.attention.project_keys(memory)

    def centers(self, hidden: Tensor, last: Tensor, position: Tensor) -> Tensor:
        """hidden (B, Q, H), last (B, 1): the last real position, position (B, Q, P) -> centers (B, Q) in [0, last]."""
        raise NotImplementedError

    def favor_center(self, weights: Tensor, distances: Tensor) -> Tensor:
        """weights (B, Q, heads, W), distances (B, Q, W) from the center -> weights of the same shape."""
        return weights

    def forward(self, hidden: Tensor, source: Source, state: AttentionState) -> AttentionOutput:
        lengths = source.mask.sum(1).view(-1, 1, 1)
        centers = self.centers(hidden, lengths.squeeze(2) - 1, state.position).unsqueeze(2)
        positions, width = source.mask.shape[1], 2 * self.window + 1
        if torch.compiler.is_exporting() or positions <= _MIN_WINDOWS * width:  # a graph has one form for all lengths
            distances = torch.arange(positions, device=centers.device) - centers
            inside = source.mask.unsqueeze(1) & (distances.detach().abs() <= self.window)
            return self._attend(hidden, source._replace(mask=inside), state, distances)
        # At the ends of the source the window is moved inside the source; positions too far from the center are masked.
        first = (centers.detach() - self.window).ceil().long().clamp(0, positions - width)
        places = first + torch.arange(width, device=centers.device)  # (B, Q, W)
        distances = places - centers
        inside = (places < lengths) & (distances.detach().abs() <= self.window)
        cut = Source(_cut(source.memory, places), _cut(source.keys, places), inside.flatten(0, 1))
        coverage = state.coverage.gather(2, places) if self.uses_coverage else state.coverage
        cut_state = AttentionState(*(part.flatten(0, 1).unsqueeze(1) for part in (coverage, state.position)))
        rows = places.shape[:2]
        context, weights = self._attend(
            hidden.flatten(0, 1).unsqueeze(1), cut, cut_state, distances.flatten(0, 1).unsqueeze(1)
        )
        weights = weights.squeeze(1).unflatten(0, rows)
        everywhere = weights.new_zeros(*rows, positions).scatter(2, places, weights)
        return AttentionOutput(context.squeeze(1).unflatten(0, rows), everywhere)

    def _attend(self, hidden: Tensor, source: Source, state: AttentionState, distances: Tensor) -> AttentionOutput:
        """As `forward`, inside the window source.mask (B, Q, S); distances (B, Q, S): from the center."""
        weights = self.attention.weights(hidden, source, state).unflatten(1, (hidden.shape[1], self.heads))
        weights = self.favor_center(weights, distances)
        return self.attention.attend(weights.flatten(1, 2), source.memory)


def _cut(sequence: Tensor, places: Tensor) -> Tensor:
    """sequence (B, S, X) at places (B, Q, W) -> (B * Q, W, X)."""
    rows = places + sequence.shape[1] * torch.arange(len(sequence), device=places.device).view(-1, 1, 1)
    return sequence.flatten(0, 1).index_select(0, rows.flatten()).view(-1, places.shape[2], sequence.shape[2])


class MonotonicLocalAttention(LocalAttention):
    """local-m: the center of step t is position t, or the last position if the source is shorter.

    # Luong et al. (2015), 3.2
    """

    position_width = 1  # the number of steps taken

    def centers(self, hidden: Tensor, last: Tensor, position: Tensor) -> Tensor:
        return position.squeeze(2).minimum(last)

    def next_position(self, hidden: Tensor, position: Tensor) -> Tensor:
        return position + 1


class PredictiveLocalAttention(LocalAttention):
    """local-p: the center is predicted, p = (S - 1) sigmoid(v_p . tanh(W_p h)), and weights are multiplied by a
    Gaussian around it, exp(-(s - p)^2 / (2 sigma^2)) with sigma = D / 2.  # Luong et al. (2015), eq. 9 and 10

    Positions count from 0, so the factor is S - 1 instead of the paper's S, and the center is always inside the source.
    renormalize: divide the weights by their sum, which is below one as published.
    """

    def __init__(self, attention: Attention, window: int, query_size: int, renormalize: bool = False):
        super().__init__(attention, window)
        self.renormalize = renormalize
        self.predict = nn.Linear(query_size, query_size, bias=False)
        self.v = nn.Linear(query_size, 1, bias=False)

    def centers(self, hidden: Tensor, last: Tensor, position: Tensor) -> Tensor:
        return last * predicted_center(self.v(torch.tanh(self.predict(hidden))).squeeze(2))

    def favor_center(self, weights: Tensor, distances: Tensor) -> Tensor:
        weights = weights * gaussian(distances, self.window / 2).unsqueeze(2)
        return weights / weights.sum(3, keepdim=True) if self.renormalize else weights


def predicted_center(logit: Tensor) -> Tensor:
    """sigmoid, at least in float32: 16 bits are too few to distinguish positions."""
    return logit.to(torch.promote_types(logit.dtype, torch.float32)).sigmoid()


def gaussian(distances: Tensor, sigma: float) -> Tensor:
    """exp(-distance^2 / (2 sigma^2)).  # Luong et al. (2015), eq. 10"""
    return (-distances.square() / (2 * sigma**2)).exp()


def limit_to_window(
    attention: Attention, extent: Extent, window: int, query_size: int, renormalize: bool = False
) -> Attention:
    """`attention` itself for the extent `global`; otherwise limited to D = `window` positions on each side of a
    center.
    """
    match extent.value:
        case "global":
            return attention
        case "local_m":
            return MonotonicLocalAttention(attention, window)
        case "local_p":
            return PredictiveLocalAttention(attention, window, query_size, renormalize)
        case _:
            raise ValueError(f"model.attention.extent={extent}: legal are {', '.join(e.value for e in Extent)}")
