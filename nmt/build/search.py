"""A translator from an opened run and the options of a command."""

from dataclasses import replace

from nmt.build.runs import Loaded
from nmt.config.schema import DecodeConfig, DecodeOverrides
from nmt.config.unused import refuse_unused_search
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.ensemble import Ensemble
from nmt.decoding.translator import Translator
from nmt.model.seq2seq import Seq2Seq


def translator_of(loaded: Loaded, overrides: DecodeOverrides) -> Translator:
    """The translator of an opened run; what `overrides` leaves null is as the run's validations have it.

    Raises ValueError for what can have no effect.
    """
    translator = build_translator(loaded.model, loaded.tokenizer, decoding_of(loaded, overrides))
    translator.head = loaded.head
    return translator


def decoding_of(loaded: Loaded, overrides: DecodeOverrides) -> DecodeConfig:
    """How an opened run decodes; what `overrides` leaves null is as its validations have it.

    Raises ValueError for what can have no effect.
    """
    decode = overrides.over(loaded.config.decode)
    refuse_unused_search(overrides, decode, loaded.config.model)
    if decode.coverage_penalty:
        loaded.require_attention(f"decode.coverage_penalty={decode.coverage_penalty}")
    loaded.model.predict_by(decode.hard_attention)
    return decode


def build_translator(
    model: Seq2Seq | Ensemble, tokenizer: Tokenizer, decode: DecodeConfig, *, beam: int | None = None
) -> Translator:
    """beam: in place of decode.beam, for the best translation alone."""
    search = decode
    if beam is not None:
        search = replace(decode, beam=beam, nbest=1, sampling=False, diverse_beam_groups=1)
    return Translator(model, tokenizer, search, batch_size=decode.batch_size)
