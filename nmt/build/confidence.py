"""Calibrates the confidence of a run on its validation set."""

from collections.abc import Sequence

import numpy as np
import torch

from nmt import checkpoint
from nmt.analysis.alignment import word_attention
from nmt.analysis.confidence import (
    Calibration,
    attention_received,
    fit_isotonic,
    fit_temperature,
    low_quantile,
    right_words,
    support,
)
from nmt.build.runs import Loaded, load_translator
from nmt.build.search import build_translator
from nmt.config.schema import CalibrateConfig, ModelKind, TrainConfig
from nmt.corpus import Pair
from nmt.decoding.forced import force_decode
from nmt.decoding.word_scores import word_log_probs

# A temperature is one number, for which some thousand words are enough; each evaluation is a forced decoding.
TEMPERATURE_PAIRS = 200
# The time of calibrating on a sentence, as a multiple of the time of validating on one: 5.3 on Multi30k, on a CPU.
CALIBRATION_COST = 6.0
FLAGGED = 0.01  # the share of the words of the validation set that is flagged


def calibration_of(loaded: Loaded) -> Calibration | None:
    """The calibration of an opened run; None if it has none, or is an ensemble. Raises ValueError if it is damaged."""
    if len(loaded.folders) > 1:
        return None
    found = checkpoint.read_calibration(loaded.folder)
    try:
        return None if found is None else Calibration.from_dict(found)
    except ValueError as error:
        raise ValueError(f"{loaded.folder}: calibration {error}") from None


def why_uncalibrated(loaded: Loaded) -> str:
    """The message for a run without calibration."""
    if len(loaded.folders) > 1:
        return "confidence is not calibrated: an ensemble has no calibration, so it is the probability of its words"
    return (
        f"confidence is not calibrated: {loaded.folder} has no calibration, so it is the probability of its words; "
        "python -m nmt.calibrate checkpoint=RUN makes one"
    )


def calibrates(config: TrainConfig) -> bool:
    """Whether a run is calibrated when it is finished."""
    return config.trainer.calibrate and config.model.kind is ModelKind.translator


def calibration_cost(config: TrainConfig, sentences: int, ranks: int) -> float:
    """The estimated time of calibrating a run, as a multiple of the time of a validation; 0 if it is not calibrated.

    sentences: the number in the validation set. ranks: the number that share a validation; calibrating is done by one.
    """
    if not calibrates(config):
        return 0.0
    validated = min(sentences, config.trainer.valid_sentences or sentences)
    return CALIBRATION_COST * ranks * min(sentences, CalibrateConfig.sentences) / max(1, validated)


def calibrate(place: str, device: torch.device, pairs: Sequence[Pair]) -> Calibration:
    """Fits the calibration of the checkpoint of `checkpoint=place` and writes it there. Only for the owner of the run's
    lock. Raises ValueError and OSError."""
    loaded = load_translator(place, device)
    found = fit_calibration(loaded, pairs)
    checkpoint.write_calibration(loaded.folder, found.to_dict())
    return found


def describe_calibration(calibration: Calibration) -> str:
    """The calibration in one line."""
    return f"confidence calibrated on {calibration.words:,} words, temperature {calibration.temperature:.2f}"


def fit_calibration(loaded: Loaded, pairs: Sequence[Pair]) -> Calibration:
    """The calibration of a model on a validation set, translated with the search options of its validations.

    The temperature is fitted to the likelihood of the references. Raises ValueError if nothing is translated.
    """
    model, tokenizer, decode = loaded.model, loaded.tokenizer, loaded.config.decode
    options = {"batch_size": decode.batch_size}
    some = pairs[:TEMPERATURE_PAIRS]
    references = list(force_decode(model, tokenizer, some, batch_size=decode.batch_size, score=False))

    def nll(temperature: float) -> float:
        return -float(
            sum(
                np.nansum(each)
                for each in word_log_probs(model, tokenizer, references, temperature=temperature, **options)
            )
        )

    temperature = fit_temperature(nll)
    translator = build_translator(model, tokenizer, decode, beam=loaded.config.trainer.valid_beam)
    found = [nbest[0] for nbest in translator.translate([pair.src for pair in pairs])]
    log_probs = np.concatenate(word_log_probs(model, tokenizer, found, temperature=temperature, **options))
    right = np.concatenate(
        [right_words(each.tgt_words, pair.tgt.split()) for each, pair in zip(found, pairs, strict=True)]
    ).astype(bool)
    known = np.isfinite(log_probs)
    probabilities, confidences = fit_isotonic(np.exp(log_probs[known]), right[known])
    weights = [word_attention(each).weights for each in found if each.weights.size]
    return Calibration(
        temperature,
        tuple(probabilities.tolist()),
        tuple(confidences.tolist()),
        low_quantile([attention_received(each) for each in weights], FLAGGED),
        low_quantile([support(each) for each in weights], FLAGGED),
        int(known.sum()),
    )
