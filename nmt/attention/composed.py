"""One attention of four independent parts: a score, heads, a normalizer and an extent."""

from dataclasses import dataclass

from nmt.attention.local import GLOBAL, Extent, limit_to_window
from nmt.attention.multi_head import MultiHeadAttention
from nmt.attention.normalizers import Normalizer
from nmt.attention.scores import Attention, ScoreFunction, build_attention


@dataclass
class AttentionOptions:
    """The settings ``model.attention``.

    size: A of additive, concat and coverage; gaussians: the number of Gaussians of the score gaussian; max_positions:
    the number of positions of the score location; window: D of local_m and local_p; renormalize: divide the weights of
    local_p by their sum.
    """

    score: ScoreFunction = ScoreFunction.additive
    size: int | None = None
    normalizer: Normalizer = Normalizer.softmax
    extent: Extent = GLOBAL
    window: int = 10
    renormalize: bool = False
    heads: int = 1
    gaussians: int = 5
    max_positions: int = 200


def compose_attention(options: AttentionOptions, query_size: int, memory_size: int) -> Attention:
    """The attention module for `options`. Raises ValueError if the widths do not fit."""
    match options.score:
        case ScoreFunction.gaussian:
            size = options.gaussians
        case ScoreFunction.location:
            size = options.max_positions
        case _:
            size = options.size or 0
    attention = build_attention(options.score, query_size, memory_size, size)
    attention.normalizer = options.normalizer
    if options.heads > 1:
        attention = MultiHeadAttention(attention, options.heads, memory_size)
    return limit_to_window(attention, options.extent, options.window, query_size, options.renormalize)
