"""The languages of the models: codes and names, and selecting the model for a request."""

from collections.abc import Sequence

from nmt.server.errors import Refusal
from nmt.server.models import PairModel


class Directions:
    """The models by source and target language. Raises ValueError if two have the same languages."""

    def __init__(self, models: Sequence[PairModel]):
        self._models = {(each.src, each.tgt): each for each in models}
        if len(self._models) < len(models):
            pairs = [(each.src, each.tgt) for each in models]
            src, tgt = next(pair for pair in pairs if pairs.count(pair) > 1)
            raise ValueError(f"checkpoint= names two runs that translate {src} to {tgt}: leave one of them out")

    def sources(self) -> list[str]:
        return sorted({src for src, _ in self._models})

    def describe(self) -> list[dict]:
        """For each source language: code, English name, and the codes of its target languages."""
        return [
            {"code": code, "name": name_of(code), "targets": sorted(tgt for src, tgt in self._models if src == code)}
            for code in self.sources()
        ]

    def find(self, source: str, target: str) -> PairModel:
        """The model for a request. "auto" selects the only source language for that target language.

        The code of an unknown variant selects the language without the variant: en-US selects en. Raises Refusal if no
        model fits, or if "auto" is ambiguous.
        """
        codes = {code for pair in self._models for code in pair}
        tgt = _match(target, codes)
        if source == "auto":
            fitting = [src for src, other in self._models if other == tgt]
            if len(fitting) != 1:
                raise Refusal(400, "auto is not supported: this server does not detect languages; name the source")
            return self._models[fitting[0], tgt]
        src = _match(source, codes)
        if (src, tgt) not in self._models:
            pairs = ", ".join(f"{one} to {other}" for one, other in sorted(self._models))
            raise Refusal(400, f"{src} to {tgt} is not supported: the models translate {pairs}")
        return self._models[src, tgt]


def _match(wanted: str, codes: set[str]) -> str:
    """The code among `codes` that equals `wanted` or that `wanted` is a variant of. Raises Refusal if there is none."""
    lower = {code.lower().replace("_", "-"): code for code in codes}
    name = wanted.lower().replace("_", "-")
    found = lower.get(name) or lower.get(name.split("-")[0])
    if found is None:
        raise Refusal(400, f"{wanted} is not supported")
    return found


def name_of(code: str) -> str:
    """The English name of a language; for an invalid code the code itself."""
    import langcodes  # slow to import

    try:
        language = langcodes.Language.get(code)
        return language.display_name() if language.is_valid() else code
    except ValueError:
        return code
