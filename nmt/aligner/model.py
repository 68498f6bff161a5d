"""The aligner: both directions in one module."""

from torch import Tensor, nn

from nmt.aligner.direction import AlignerOptions, Direction, Tables
from nmt.aligner.hmm import log_likelihood
from nmt.aligner.vocabulary import Vocabulary
from nmt.data.batches import Batch
from nmt.layers.loss import Loss


class Aligner(nn.Module):
    """`forward_direction` models the target given the source, `backward_direction` the source given the target."""

    can_be_captured = False  # in a CUDA graph, as the vocabularies of batches differ in size

    def __init__(self, src: Vocabulary, tgt: Vocabulary, options: AlignerOptions):
        super().__init__()
        self.forward_direction = Direction(len(src.unigram), tgt.unigram, tgt.continues, options)
        self.backward_direction = Direction(len(tgt.unigram), src.unigram, src.continues, options)

    @property
    def device(self):
        return self.forward_direction.null.device

    def log_likelihoods(
        self, src: Tensor, src_lengths: Tensor, tgt: Tensor, tgt_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """src (B, S), tgt (B, T), lengths (B,), EOS included -> log p(tgt | src) and log p(src | tgt), (B,) each.

        EOS is neither predicted nor aligned.
        """
        src, tgt, src_lengths, tgt_lengths = src[:, :-1], tgt[:, :-1], src_lengths - 1, tgt_lengths - 1
        return (
            self.forward_direction.log_likelihood(src, src_lengths, tgt, tgt_lengths),
            self.backward_direction.log_likelihood(tgt, tgt_lengths, src, src_lengths),
        )

    def table_likelihoods(
        self, tables: tuple[Tables, Tables], src: Tensor, src_lengths: Tensor, tgt: Tensor, tgt_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `log_likelihoods`, but from the precomputed tables of both directions, in eval mode."""
        src, tgt, src_lengths, tgt_lengths = src[:, :-1], tgt[:, :-1], src_lengths - 1, tgt_lengths - 1
        there = self.forward_direction.lattice(tables[0], src, src_lengths, tgt, tgt_lengths)
        back = self.backward_direction.lattice(tables[1], tgt, tgt_lengths, src, src_lengths)
        return log_likelihood(there), log_likelihood(back)

    def loss(self, batch: Batch, _smoothing: float = 0.0, _guidance: float = 0.0) -> Loss:
        """objective: the sum of the negative log-likelihoods of both directions; nll: their mean."""
        there, back = self.log_likelihoods(batch.src, batch.src_lengths, batch.tgt_out, batch.tgt_lengths)
        objective = -(there.sum() + back.sum())
        return Loss(objective, objective.detach() / 2, len(batch.token_positions))

    def after_update(self, nll: float) -> None:
        """Does nothing: there is no state besides the weights."""
