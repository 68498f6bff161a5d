"""The validation of a translator: the likelihood of the references, and the metrics of translations by search."""

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
    """nll: summed negative log-likelihood in nats, without label smoothing; tokens: their number, EOS included."""

    nll: float
    tokens: int

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nll / max(1, self.tokens)


class ValidationResult(NamedTuple):
    """The results of a validation.

    loss: in nats per token. scores: of the translations, by their names in METRICS. samples: a few sentences as
    (source, reference, Translation). attention_stats: of all translations, None if the model has no attention.
    alignment: the scores of links, None if there are no gold links.
    """

    loss: float
    scores: dict[str, float]
    samples: list[tuple[str, str, Translation]]
    attention_stats: AttentionStats | None = None
    alignment: AlignmentScores | None = None

    @property
    def bleu(self) -> float:
        """BLEU, 0 to 100."""
        return self.scores["bleu"]

    @property
    def aer(self) -> float:
        """The alignment error rate in percent."""
        assert self.alignment, "the validation set has no gold links"
        return 100 * self.alignment.aer

    def numbers(self, seconds: float) -> dict[str, float]:
        """The numbers for the log: loss, perplexity, metrics and `seconds`; attention_... if the model has attention;
        aer, precision and recall in percent if there are gold links."""
        perplexity = math.exp(min(self.loss, 700.0))
        numbers = {"loss": self.loss, "perplexity": perplexity, **self.scores, "seconds": seconds}
        if self.attention_stats:
            numbers |= {f"attention_{name}": number for name, number in self.attention_stats._asdict().items()}
        if self.alignment:
            numbers |= {name: 100 * number for name, number in self.alignment._asdict().items()}
        return numbers


class ValidationInterrupted(Exception):
    """The validation was stopped; raised on all ranks if it is stopped on any."""


def never() -> bool:
    """Never stops a validation."""
    return False


@torch.inference_mode()
def likelihood(
    model, batches: Batches, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
) -> Likelihood:
    """The likelihood of a corpus under the model, without dropout; the work is divided among the ranks.

    stopped: called before each batch; if it returns true, the function raises ValidationInterrupted.
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
            if batch.src.shape[1] * batch.tgt_in.numel() > WINDOW_WEIGHTS:  # the number of attention weights
                sums[0] -= log_probs_by_steps(model, batch.src, batch.tgt_in, batch.tgt_out).sum()
                continue
            loss = model.loss(batch)
        sums[0] += loss.nll  # on the device, without a synchronization
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
    """The best translation of each line, on every rank; the work is divided among the ranks.

    translator: its model is `model`. prefixes: the beginning of the translation of each line. attention: whether each
    rank has the weights of all translations; if not, it has those of its own share, and the others are (T, 0).
    stopped: called before each line is read. Raises ValidationInterrupted if it is stopped.
    """
    training = model.training
    model.eval()
    own: list[Translation] = []
    with device.autocast():
        # A small window, as a request to stop takes effect between windows only; by default a window has 32 batches.
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
    """A validation set: `batches` for the likelihood, `src` and `references` for the metrics.

    tokenizer: of BLEU. Raises ValueError if it is not available here.
    """

    batches: Batches
    src: list[str]
    references: list[str]
    tokenizer: str
    translator: Translator
    samples: int = 3
    scorers: dict[str, Scorer] = field(init=False)
    pieces: bool = field(init=False)  # attention_stats are over pieces, for text without spaces

    def __post_init__(self):
        self.scorers = {name: metric.build(self.tokenizer) for name, metric in METRICS.items() if metric.validated}
        self.pieces = without_spaces(self.src) or without_spaces(self.references)

    def validate(
        self, model, device: Device, distributed: Distributed, stopped: Callable[[], bool] = never
    ) -> ValidationResult:
        """Translates and scores with `model`, in the precision of training; the result is the same on every rank.

        If the loss is not finite, nothing is translated and all scores are 0. Raises ValidationInterrupted if it is
        stopped.
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
        # The weights of the other ranks' translations are not on this rank: sums are exchanged instead.
        own = (found[row] for row in mine if found[row].weights.size)
        sums = attention_sums(word_attention(by_piece(each) if self.pieces else each) for each in own)
        total = AttentionSums(*distributed.sum(torch.tensor(sums, dtype=torch.float64, device=device.device)).tolist())
        return ValidationResult(loss, scores, samples, attention_stats(total) if total.tgt_words else None)
