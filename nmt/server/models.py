"""The models that the server runs: one for each pair of languages."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from nmt.analysis.confidence import Calibration, SentenceConfidence, assess
from nmt.corpus import Pair
from nmt.decoding.forced import force_decode
from nmt.decoding.search import Searchable, SearchOptions
from nmt.decoding.translator import Translation, Translator
from nmt.decoding.word_scores import word_log_probs


class PreparedModel:
    """A model in eval mode with constant weights; it caches the results of `for_inference`."""

    def __init__(self, model: Any):
        self._model = model
        self.training: bool = model.training
        self._ready: dict[tuple[bool, int], Searchable] = {}

    @property
    def device(self):
        return self._model.device

    def for_inference(self, *, fold_memory: bool, rescore_top_k: int) -> Searchable:
        key = fold_memory, rescore_top_k
        if key not in self._ready:
            self._ready[key] = self._model.for_inference(fold_memory=fold_memory, rescore_top_k=rescore_top_k)
        return self._ready[key]


class Explained(NamedTuple):
    """The n best translations of a line, with attention; the log-probabilities (Tw,) of the words of the best one, and
    its confidence if it was requested."""

    nbest: list[Translation]
    log_probs: np.ndarray
    confidence: SentenceConfidence | None = None


class PairModel:
    """Translates and aligns lines of one pair of languages. Its methods are the work functions of the model's thread.

    search.nbest: the number of translations of a line. autocast: returns the context of every computation. calibration:
    of the confidence, None if the model has none. head: `model` with an alignment head, which makes the links.
    """

    def __init__(
        self,
        languages: tuple[str, str],
        model: Any,
        tokenizer: Any,
        search: SearchOptions,
        *,
        batch_size: int,
        autocast: Callable[[], AbstractContextManager],
        calibration: Calibration | None = None,
        head: Any = None,
    ):
        self.src, self.tgt = languages
        self.nbest, self.batch_size = search.nbest, batch_size
        self.has_attention: bool = model.has_attention
        self._model, self._tokenizer, self._autocast, self._head = model, tokenizer, autocast, head
        self._calibration = calibration
        prepared = PreparedModel(model)
        # With a single short sentence, the usual request, folding the memory reads the fewest weights.
        options: dict[str, Any] = {"batch_size": batch_size, "fold_memory": True}
        self._plain = Translator(prepared, tokenizer, search, attention=False, **options)
        self._attending = Translator(prepared, tokenizer, search, attention=True, head=head, **options)

    def translate(self, lines: list[str]) -> list[list[Translation]]:
        """The n best translations of each line, without attention."""
        with self._autocast():
            return list(self._plain.translate(lines))

    def translate_with_links(self, lines: list[str]) -> list[list[Translation]]:
        """The n best translations of each line, with attention."""
        with self._autocast():
            return list(self._attending.translate(lines))

    def explain(self, lines: list[str]) -> list[Explained]:
        """As `translate_with_links`, with the log-probability of each word of the best translation."""
        found = self.translate_with_links(lines)
        return list(map(Explained, found, self._word_log_probs([nbest[0] for nbest in found])))

    def explain_with_confidence(self, lines: list[str]) -> list[Explained]:
        """As `explain`, with the confidence of the best translation."""
        found = self.explain(lines)
        best = [each.nbest[0] for each in found]
        temperature = self._calibration.temperature if self._calibration else 1.0
        scores = self._word_log_probs(best, temperature) if temperature != 1.0 else [each.log_probs for each in found]
        return [
            each._replace(confidence=assess(one, log_probs, self._calibration))
            for each, one, log_probs in zip(found, best, scores, strict=True)
        ]

    def align(self, pairs: list[Pair]) -> list[Explained]:
        """The given pairs by forced decoding, in the form of translations by search."""
        with self._autocast():
            options = {"batch_size": self.batch_size, "head": self._head}
            forced = list(force_decode(self._model, self._tokenizer, pairs, **options))
        return [Explained([each], score) for each, score in zip(forced, self._word_log_probs(forced), strict=True)]

    def _word_log_probs(self, translations: Sequence[Translation], temperature: float = 1.0) -> list[np.ndarray]:
        options = {"batch_size": self.batch_size, "temperature": temperature}
        with self._autocast():
            return word_log_probs(self._model, self._tokenizer, translations, **options)
