"""Lower-cased Moses tokens, of which much of the literature reports BLEU, of Multi30k above all."""

from collections.abc import Callable


def moses_tokens(language: str) -> Callable[[str], str]:
    """What makes of a line its lower-cased tokens, with a space between two, by the rules of a language.

    As the scripts lowercase.perl, normalize-punctuation.perl and tokenizer.perl do, in this order; the last one escapes
    (&apos;). language: a code of ISO 639-1 or -3, with script and region or without.
    Raises ValueError where the package is not installed.
    """
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ImportError:
        raise ValueError("metrics=bleu_moses needs the package sacremoses: pip install sacremoses") from None
    code = primary_language(language)
    normalizer, tokenizer = MosesPunctNormalizer(code), MosesTokenizer(code)
    return lambda line: str(tokenizer.tokenize(normalizer.normalize(line.lower()), return_str=True))


def primary_language(language: str) -> str:
    """The shortest code of a language alone: de of deu, de_DE and de-Latn; what is no code stays as it is."""
    import langcodes  # reads its tables, and most commands can do without

    try:
        return langcodes.Language.get(language).language or language
    except ValueError:
        return language
