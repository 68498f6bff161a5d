"""What a validation finds: the likelihood of the references, and the BLEU of real translations."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from nmt.analysis.metrics import bleu
from nmt.data.batches import Batches
from nmt.decoding.translator import Translation, Translator
from nmt.training.device import Device, Ranks


class Likelihood(NamedTuple):
    """nll: summed negative log-likelihood in nats, never smoothed; tokens: how many, EOS included."""

    nll: float
    tokens: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nll / max(1, self.tokens)


class Finding(NamedTuple):
    """loss in nats a token; bleu in per cent; samples: a few sentences as (source, reference, Translation)."""

    loss: float
    bleu: float
    samples: list[tuple[str, str, Translation]]


@torch.inference_mode()
def likelihood(model, batches: Batches, device: Device, ranks: Ranks) -> Likelihood:
    """The model's likelihood of a corpus, shared out over the ranks; dropout is off while it is measured."""
    training = model.training
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    for rows in batches.epoch(0)[ranks.rank :: ranks.size]:
        batch = batches.collate(rows).to(device.device)
        with device.autocast():
            loss = model.loss(batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out)
        sums += torch.tensor([float(loss.nll), float(loss.tokens)], dtype=torch.float64)
    model.train(training)
    nll, tokens = ranks.sum(sums.to(device.device)).tolist()
    return Likelihood(nll, int(tokens))


@dataclass
class Validator:
    """A validation set: `batches` for the likelihood of all of it, `src` and `references` for BLEU."""

    batches: Batches
    src: list[str]
    references: list[str]
    tgt_language: str
    translator: Translator
    samples: int = 3

    def validate(self, model, device: Device, ranks: Ranks) -> Finding:
        """Translates and scores with `model` as it is; the work is shared out over the ranks, all of which get all of it."""
        loss = likelihood(model, self.batches, device, ranks).loss
        training = model.training
        model.eval()
        mine = range(ranks.rank, len(self.src), ranks.size)
        with device.autocast():
            found = [nbest[0] for nbest in self.translator.translate(self.src[row] for row in mine)]
        model.train(training)
        texts = [""] * len(self.src)
        shares = ranks.gather([translation.text for translation in found])
        for rank, share in enumerate(shares):
            texts[rank :: ranks.size] = share
        samples = [(self.src[row], self.references[row], found[k]) for k, row in enumerate(mine) if k < self.samples]
        return Finding(loss, bleu(texts, self.references, tgt=self.tgt_language).score, samples)
