"""The validation of an aligner: the likelihood of both directions, and the error rate if there are gold links."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from nmt.aligner import Aligner
from nmt.aligner.pairs import PairAligner
from nmt.analysis.alignment import AlignmentScores, Gold, Link
from nmt.corpus import Pair
from nmt.data.batches import Batches
from nmt.data.tokenizer import Tokenizer
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.validation.translation import Likelihood, ValidationInterrupted, ValidationResult, never


@torch.inference_mode()
def alignment_likelihood(
    model: Aligner, batches: Batches, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
) -> Likelihood:
    """The likelihood of a corpus, summed over both directions: in nats, and the pieces of both sides without EOS.

    The work is divided among the ranks; `model` is in eval mode. Raises ValidationInterrupted if it is stopped.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=device.device)
    with device.autocast():
        tables = model.forward_direction.tables(), model.backward_direction.tables()
        for rows in batches.epoch(0)[distributed.rank :: distributed.size]:
            if stopped():
                sums[2] = 1
                break
            batch = batches.collate(rows).to(device.device)
            there, back = model.table_likelihoods(
                tables, batch.src, batch.src_lengths, batch.tgt_out, batch.tgt_lengths
            )
            sums[0] -= there.double().sum() + back.double().sum()
            sums[1] += (batch.src_lengths - 1).sum() + (batch.tgt_lengths - 1).sum()
    nll, pieces, stops = distributed.sum(sums).tolist()
    if stops:
        raise ValidationInterrupted
    return Likelihood(nll, int(pieces))


@dataclass
class AlignmentValidator:
    """A validation set: `batches` for the likelihood, and `pairs`, its text, for the links if there are gold links."""

    batches: Batches
    pairs: Sequence[Pair]
    gold: Gold | None
    tokenizer: Tokenizer

    def validate(
        self, model, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
    ) -> ValidationResult:
        """Validates `model`; the result is the same on every rank. Raises ValidationInterrupted if it is stopped."""
        training = model.training
        model.eval()
        loss = alignment_likelihood(model, self.batches, device, distributed, stopped).loss
        scores = self._scores(model, distributed, stopped) if self.gold else None
        model.train(training)
        return ValidationResult(loss, {}, [], alignment=scores)

    def _scores(self, model: Aligner, distributed: Distributed, stopped: Callable[[], bool]) -> AlignmentScores:
        """The scores of the links, in float32 as in nmt.align; the pairs are divided among the ranks."""
        assert self.gold
        own = []
        mine = self.pairs[distributed.rank :: distributed.size]
        for aligned in PairAligner(model, self.tokenizer).align(mine):
            if stopped():
                break
            own.append(aligned.links)
        return score_shares(self.gold, own, distributed)


def score_shares(gold: Gold, own: list[list[Link]], distributed: Distributed) -> AlignmentScores:
    """The scores of links that are divided among the ranks. Raises ValidationInterrupted if a share is incomplete.

    own: the links of this rank, of the pairs rank, rank + size, rank + 2 size and so on.
    """
    shares = distributed.gather(own)
    if sum(map(len, shares)) < len(gold.links):
        raise ValidationInterrupted
    return gold.score([shares[row % len(shares)][row // len(shares)] for row in range(len(gold.links))])
