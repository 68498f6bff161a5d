"""Small tokenizers."""

from nmt.data import tokenizer
from nmt.data.tokenizer import Tokenizer, TokenizerOptions


def train_tokenizer(corpus, *, seed: int = 1, cache=None, **options) -> Tokenizer:
    """A tokenizer with these options in place of the defaults. `corpus` may be a list of pairs."""
    return tokenizer.train_tokenizer(corpus, TokenizerOptions(**options), seed=seed, cache=cache)
