"""Settings of search without effect, which depend on the search options of the run's validations."""

from nmt.attention.hard import AttentionChoice
from nmt.config.schema import DecodeConfig, DecodeOverrides, ModelConfig
from nmt.config.unused.rule import shown
from nmt.decoding.options import LengthPenalty


def refuse_unused_search(overrides: DecodeOverrides, decode: DecodeConfig, model: ModelConfig) -> None:
    """Raises ValueError for settings in `overrides` that have no effect in a search with the options `decode` and this
    model."""
    asked = overrides.given()
    if "hard_attention" in asked and model.attention.choice is not AttentionChoice.hard:
        raise ValueError(
            f"decode.hard_attention={decode.hard_attention.value} has no effect: this model was trained with "
            f"model.attention.choice={model.attention.choice.value}; leave decode.hard_attention out"
        )
    if "length_penalty_alpha" in asked and decode.length_penalty is not LengthPenalty.gnmt:
        raise ValueError(
            f"decode.length_penalty_alpha={decode.length_penalty_alpha} has no effect: it needs "
            f"decode.length_penalty=gnmt, and this is {decode.length_penalty.value}; give that too, or leave "
            "decode.length_penalty_alpha out"
        )
    for key in ("length_penalty", "length_penalty_alpha", "coverage_penalty"):
        if key in asked and decode.beam == 1 and not decode.sampling:
            raise ValueError(
                f"decode.{key}={shown(asked[key])} has no effect: decode.beam=1 has one hypothesis and nothing to "
                f"compare; try a wider beam, or leave decode.{key} out"
            )
        if key in asked and decode.sampling and decode.nbest == 1:
            raise ValueError(
                f"decode.{key}={shown(asked[key])} has no effect: it is part of a score, and decode.sampling=true "
                f"draws one translation without comparing scores; leave decode.{key} out"
            )
    for key in ("temperature", "top_k", "top_p", "sampling_seed"):
        if key in asked and not decode.sampling:
            raise ValueError(
                f"decode.{key}={shown(asked[key])} has no effect: it needs decode.sampling=true; give that too, or "
                f"leave decode.{key} out"
            )
    if "diverse_beam_strength" in asked and decode.diverse_beam_groups == 1:
        raise ValueError(
            f"decode.diverse_beam_strength={decode.diverse_beam_strength} has no effect: it needs "
            "decode.diverse_beam_groups above 1; give that too, or leave decode.diverse_beam_strength out"
        )
