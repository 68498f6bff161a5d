"""Several heads: each has its own weights and its own part of the context."""

from torch import Tensor, nn

from nmt.attention.scores import Attention, AttentionOutput, AttentionState, Source


class MultiHeadAttention(Attention):
    """A score split into heads: head i has A / heads of its units, and M / heads columns of a projected memory.

    The context is the concatenation of the heads' contexts; the returned weights are the mean over the heads. Additive
    scores as in Chen et al. (2018), 3; inner-product scores as in Vaswani et al. (2017), 3.2.2. Their output projection
    is not needed: every layer that reads the context multiplies it by a matrix.

    score: a score of the full width A. Raises ValueError if the widths cannot be divided by the number of heads.
    """

    def __init__(self, score: Attention, heads: int, memory_size: int):
        super().__init__()
        for name, width in (("keys", score.size), ("encoder outputs", memory_size)):
            if not width or width % heads:
                raise ValueError(
                    f"model.attention.heads={heads} cannot divide the {width} units of the {name}: "
                    "try a power of two that does, or model.attention.heads=1"
                )
        self.heads = score.heads = heads
        self.size = score.size
        self.uses_coverage = score.uses_coverage
        self.score = score
        self.value = nn.Linear(memory_size, memory_size, bias=False)

    def source(self, memory: Tensor, mask: Tensor) -> Source:
        return Source(self.value(memory), self.project_keys(memory), mask)

    def project_keys(self, memory: Tensor) -> Tensor:
        return self.score.project_keys(memory)

    def weights(self, hidden: Tensor, source: Source, state: AttentionState) -> Tensor:
        energies = self.score.energies(self.score.project_query(hidden), source.keys, state)
        mask = source.mask if source.mask.dim() == 2 else source.mask.repeat_interleave(self.heads, 1)
        return self.score.normalize(energies.movedim(3, 2).flatten(1, 2), mask)

    def attend(self, weights: Tensor, memory: Tensor) -> AttentionOutput:
        by_head = weights.unflatten(1, (-1, self.heads)).transpose(1, 2)  # (B, heads, Q, S)
        context = by_head.to(memory.dtype) @ memory.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return AttentionOutput(context.transpose(1, 2).flatten(2), by_head.mean(1))
