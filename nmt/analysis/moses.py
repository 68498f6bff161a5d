"""Lower-cased Moses tokens, for the BLEU of much of the literature, especially for Multi30k."""

from collections.abc import Callable


def moses_tokens(language: str) -> Callable[[str], str]:
    """A function from a line to its lower-cased tokens, separated by spaces, by the rules of a language.

    Equivalent to the scripts lowercase.perl, normalize-punctuation.perl and tokenizer.perl, in this order; the last one
    escapes (&apos;). language: a code of ISO 639-1 or -3, with script and region or without. Raises ValueError if the
    package is not installed.
    """
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError:
        raise ValueError("metrics=bleu_moses needs the package sacremoses: pip install sacremoses") from None
    code = primary_language(language)
    normalizer, tokenizer = MosesPunctNormalizer(code), MosesTokenizer(code)
    return lambda line: str(tokenizer.tokenize(normalizer.normalize(line.lower()), return_str=True))


def primary_language(language: str) -> str:
    """The shortest code of a language: de for deu, de_DE and de-Latn; an invalid code is returned unchanged."""
    import langcodes  # reads its tables, and most commands do not need it

    try:
        return langcodes.Language.get(language).language or language
    except ValueError:
        return language
