"""What a validation finds: the likelihood of the references, and the BLEU of real translations."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from nmt.analysis.alignment import AlignmentScores, by_piece, word_attention
from nmt.analysis.attention_stats import AttentionStats, AttentionSums, attention_stats, attention_sums
from nmt.analysis.metrics import METRICS, Scorer
from nmt.analysis.segmentation import without_spaces
from nmt.data.batches import Batches
from nmt.decoding.batching import WINDOW_WEIGHTS
from nmt.decoding.forced import log_probs_by_steps
from nmt.decoding.translator import Translation, Translator
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed


class Likelihood(NamedTuple):
    """nll: summed negative log-likelihood in nats, never smoothed; tokens: how many, EOS included."""

    nll: float
    tokens: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nll / max(1, self.tokens)


class ValidationResult(NamedTuple):
    """loss in nats a token; scores of the translations, by metric of METRICS; samples: a few sentences as (source,
    reference, Translation); health of the attention of all translations, None where the model has none; alignment: an
    aligner's scores against gold links, None where there are none."""

    loss: float
    scores: dict[str, float]
    samples: list[tuple[str, str, Translation]]
    attention_stats: AttentionStats | None = None
    alignment: AlignmentScores | None = None

    @property
    def bleu(self) -> float:
        """In per cent."""
        return self.scores["bleu"]

    @property
    def aer(self) -> float:
        """The alignment error rate in per cent."""
        assert self.alignment, "the validation set has no gold links"
        return 100 * self.alignment.aer

    def numbers(self, seconds: float) -> dict[str, float]:
        """For the log: loss, perplexity, metrics, `seconds`, and attention_... where the model has attention; aer,
        precision and recall in per cent where there are gold links."""
        perplexity = math.exp(min(self.loss, 700.0))
        numbers = {"loss": self.loss, "perplexity": perplexity, **self.scores, "seconds": seconds}
        if self.attention_stats:
            numbers |= {f"attention_{name}": number for name, number in self.attention_stats._asdict().items()}
        if self.alignment:
            numbers |= {name: 100 * number for name, number in self.alignment._asdict().items()}
        return numbers


class ValidationInterrupted(Exception):
    """A validation that somebody asked to stop; raised on all ranks, whichever was asked."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


@torch.inference_mode()
def likelihood(
    model, batches: Batches, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
) -> Likelihood:
    """The model's likelihood of a corpus, shared out over the ranks; dropout is off while it is measured.

    stopped: asked before each batch. Raises ValidationInterrupted.
    """
    training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device.device)
    for rows in batches.epoch(0)[distributed.rank :: distributed.size]:
        if stopped():
            sums[2] = 1
            break
        batch = batches.collate(rows).to(device.device)
        sums[1] += len(batch.token_positions)
        with device.autocast():
            if batch.src.shape[1] * batch.tgt_in.numel() > WINDOW_WEIGHTS:  # the weights of attention are so many
                sums[0] -= log_probs_by_steps(model, batch.src, batch.tgt_in, batch.tgt_out).sum()
                continue
            loss = model.loss(batch)
        sums[0] += loss.nll  # on the device, which nobody waits for here
    model.train(training)
    nll, tokens, stops = distributed.sum(sums).tolist()
    if stops:
        raise ValidationInterrupted
    return Likelihood(nll, int(tokens))


def distributed_translate(
    model,
    translator: Translator,
    lines: list[str],
    device: Device,
    distributed: Distributed,
    stopped: Callable[[], bool] = never,
    *,
    attention: bool = False,
    prefixes: Sequence[str] | None = None,
) -> list[Translation]:
    """The best translation of each line by `translator`, whose model is `model`, on every rank; the work is shared out.

    prefixes: how the translation of each line begins. attention: of all lines; without it only those that this rank
    translated have theirs, and the others (T, 0). Raises ValidationInterrupted.
    """
    training = model.training
    model.eval()
    own: list[Translation] = []
    with device.autocast():
        # What asks to stop waits for one batch, not for a window of 32.
        mine = lines[distributed.rank :: distributed.size]
        begun = None if prefixes is None else prefixes[distributed.rank :: distributed.size]
        for best in translator.translate(_until(mine, stopped), prefixes=begun, window=4 * translator.batch_size):
            own.append(best[0])
    model.train(training)
    shares = distributed.gather(own if attention else [each._replace(weights=each.weights[:, :0]) for each in own])
    if sum(map(len, shares)) < len(lines):
        raise ValidationInterrupted
    shares[distributed.rank] = own
    return [shares[row % distributed.size][row // distributed.size] for row in range(len(lines))]


def _until(lines: list[str], stopped: Callable[[], bool]) -> Iterator[str]:
    for line in lines:
        if stopped():
            return
        yield line


@dataclass
class Validator:
    """A validation set: `batches` for the likelihood of all of it, `src` and `references` for the metrics.

    tokenizer: BLEU's. Raises ValueError for one that does not work here.
    """

    batches: Batches
    src: list[str]
    references: list[str]
    tokenizer: str
    translator: Translator
    samples: int = 3
    scorers: dict[str, Scorer] = field(init=False)
    pieces: bool = field(init=False)  # attention is measured by piece, as the text has no spaces

    def __post_init__(self):
        self.scorers = {name: metric.build(self.tokenizer) for name, metric in METRICS.items() if metric.validated}
        self.pieces = without_spaces(self.src) or without_spaces(self.references)

    def validate(
        self, model, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
    ) -> ValidationResult:
        """Translates and scores with `model` as it is, in the precision of training; every rank finds the same.

        Where the loss is not finite nothing is translated, as search has nothing to choose by. Raises
        ValidationInterrupted.
        """
        loss = likelihood(model, self.batches, device, distributed, stopped).loss
        if not math.isfinite(loss):
            return ValidationResult(loss, dict.fromkeys(self.scorers, 0.0), [])
        found = distributed_translate(model, self.translator, self.src, device, distributed, stopped)
        texts = [translation.text for translation in found]
        scores = {
            name: scorer.score(scorer.statistics(texts, self.references).sum(axis=0))
            for name, scorer in self.scorers.items()
        }
        mine = range(distributed.rank, len(self.src), distributed.size)
        samples = [(self.src[row], self.references[row], found[row]) for row in mine[: self.samples]]
        # Of the other ranks' translations the weights are not here, so their sums come instead.
        own = (found[row] for row in mine if found[row].weights.size)
        sums = attention_sums(word_attention(by_piece(each) if self.pieces else each) for each in own)
        total = AttentionSums(*distributed.sum(torch.tensor(sums, dtype=torch.float64, device=device.device)).tolist())
        return ValidationResult(loss, scores, samples, attention_stats(total) if total.tgt_words else None)
