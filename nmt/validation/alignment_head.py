"""The validation of an alignment head: the cross-entropy with given links, and the alignment error rate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from nmt.alignment_head import TranslatorWithHead
from nmt.analysis.alignment import AlignmentScores, Gold, word_links
from nmt.corpus import Pair
from nmt.data.batches import Batches
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.forced import force_decode
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.validation.alignment import score_shares
from nmt.validation.translation import Likelihood, ValidationInterrupted, ValidationResult, never


@dataclass
class HeadValidator:
    """A validation set with links: the sure ones between pieces in `batches`, all between words in `gold`."""

    batches: Batches
    pairs: Sequence[Pair]
    gold: Gold
    tokenizer: Tokenizer

    def validate(
        self, model, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
    ) -> ValidationResult:
        """Validates `model`; the result is the same on every rank. The loss is in nats per target piece.

        Raises ValidationInterrupted if it is stopped.
        """
        training = model.training
        model.eval()
        loss = self._likelihood(model, device, distributed, stopped).loss
        scores = self._scores(model, distributed, stopped)
        model.train(training)
        return ValidationResult(loss, {}, [], alignment=scores)

    @torch.inference_mode()
    def _likelihood(
        self, model: TranslatorWithHead, device: Device, distributed: Distributed, stopped: Callable[[], bool]
    ) -> Likelihood:
        """The summed cross-entropy, in nats, and the number of target pieces; the work is divided among the ranks."""
        sums = torch.zeros(3, dtype=torch.float64, device=device.device)
        for rows in self.batches.epoch(0)[distributed.rank :: distributed.size]:
            if stopped():
                sums[2] = 1
                break
            batch = self.batches.collate(rows).to(device.device)
            with device.autocast():
                loss = model.loss(batch)
            sums[0] += loss.nll
            sums[1] += loss.tokens
        nll, pieces, stops = distributed.sum(sums).tolist()
        if stops:
            raise ValidationInterrupted
        return Likelihood(nll, int(pieces))

    def _scores(
        self, model: TranslatorWithHead, distributed: Distributed, stopped: Callable[[], bool]
    ) -> AlignmentScores:
        """The scores of the links, in float32 as in nmt.align; the pairs are divided among the ranks."""
        own = []
        mine = self.pairs[distributed.rank :: distributed.size]
        for aligned in force_decode(model.translator, self.tokenizer, mine, score=False, head=model):
            if stopped():
                break
            own.append(word_links(aligned))
        return score_shares(self.gold, own, distributed)
