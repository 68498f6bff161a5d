"""What a validation of an alignment head finds: the cross-entropy with given links, and their error rate."""

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
    """A validation set with links: `batches` hold its sure links between pieces, `gold` all links between words."""

    batches: Batches
    pairs: Sequence[Pair]
    gold: Gold
    tokenizer: Tokenizer

    def validate(
        self, model, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
    ) -> ValidationResult:
        """With `model` as it is; every rank finds the same. loss: in nats a target piece. Raises
        ValidationInterrupted."""
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
        """The cross-entropy of all of it, in nats, and its target pieces; the work is shared out over the ranks."""
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
        """In float32, as nmt.align does it; the pairs are shared out over the ranks."""
        own = []
        mine = self.pairs[distributed.rank :: distributed.size]
        for aligned in force_decode(model.translator, self.tokenizer, mine, score=False, head=model):
            if stopped():
                break
            own.append(word_links(aligned))
        return score_shares(self.gold, own, distributed)
