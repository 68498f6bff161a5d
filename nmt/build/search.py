"""Search and forced decoding from an opened run and the options of a command."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from nmt.attention.hard import AttentionChoice
from nmt.build.runs import Loaded
from nmt.config.schema import DecodeConfig, DecodeOverrides, LinksFrom
from nmt.config.unused import refuse_unused_search
from nmt.corpus import Pair
from nmt.data.tokenizer import Tokenizer
from nmt.decoding import forced
from nmt.decoding.ensemble import Ensemble
from nmt.decoding.translator import Translation, Translator
from nmt.model.seq2seq import Seq2Seq


def translator_of(loaded: Loaded, overrides: DecodeOverrides) -> Translator:
    """The translator of an opened run; values that are null in `overrides` are those of the run's validations.

    Raises ValueError for an option that has no effect.
    """
    translator = build_translator(loaded.model, loaded.tokenizer, decoding_of(loaded, overrides))
    translator.head = loaded.head
    return translator


def force_decode(
    loaded: Loaded,
    pairs: Iterable[Pair],
    *,
    links_from: LinksFrom | None = None,
    batch_size: int = 64,
    score: bool = True,
    skip: int = 0,
) -> Iterator[Translation]:
    """Translations of given pairs by an opened run; see `nmt.decoding.forced.force_decode`.

    links_from: the source of their weights; None: the alignment head if the run has one, otherwise attention. Raises
    ValueError if the run does not have it.
    """
    loaded.require_links_from(links_from)
    return forced.force_decode(
        loaded.model,
        loaded.tokenizer,
        pairs,
        batch_size=batch_size,
        score=score,
        posterior=links_from is LinksFrom.posterior,
        head=loaded.head if links_from in (None, LinksFrom.head) else None,
        skip=skip,
    )


def decoding_of(loaded: Loaded, overrides: DecodeOverrides) -> DecodeConfig:
    """The decoding options of an opened run; values that are null in `overrides` are those of the run's validations.

    Raises ValueError for an option that has no effect.
    """
    decode, configs = overrides.over(loaded.config.decode), (loaded.config, *loaded.others)
    hard = [each.model for each in configs if each.model.attention.choice is AttentionChoice.hard]
    refuse_unused_search(overrides, decode, (hard or [loaded.config.model])[0])
    if decode.coverage_penalty:
        loaded.require_attention(f"decode.coverage_penalty={decode.coverage_penalty}")
    asked = overrides.given().get("hard_attention")
    loaded.model.predict_by(*(asked or own.decode.hard_attention for own in configs))
    return decode


def build_translator(
    model: Seq2Seq | Ensemble, tokenizer: Tokenizer, decode: DecodeConfig, *, beam: int | None = None
) -> Translator:
    """beam: replaces decode.beam, for the best translation only."""
    search = decode
    if beam is not None:
        search = replace(decode, beam=beam, nbest=1, sampling=False, diverse_beam_groups=1)
    return Translator(model, tokenizer, search, batch_size=decode.batch_size)
