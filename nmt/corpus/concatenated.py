"""A test set of long sentences: neighboring sentences of a test set, concatenated."""

import hashlib
from collections.abc import Iterator
from itertools import islice

from nmt.corpus.pairs import Corpus, Pair


class ConcatenatedCorpus(Corpus):
    """Every single sentence, then every two neighbors as one sentence, every three, and so on up to `max_size`.

    Test sets have few long sentences, so this shows how quality depends on length. It is not natural text, so a score
    on it does not measure translation quality. An incomplete group at the end is left out.
    """

    def __init__(self, corpus: Corpus, max_size: int):
        self.name = f"{corpus.name}-concat-{max_size}"
        self.empty_lines = corpus.empty_lines
        self._corpus = corpus
        self._max_size = max_size

    @property
    def about(self) -> str:
        """A description, to be printed with every score."""
        return f"synthetic set, 1 to {self._max_size} neighboring sentences joined into one"

    def __iter__(self) -> Iterator[Pair]:
        for size in range(1, self._max_size + 1):
            pairs = iter(self._corpus)
            while len(group := list(islice(pairs, size))) == size:
                yield Pair(*(" ".join(side) for side in zip(*group, strict=True)))

    def digest(self) -> str:
        return hashlib.sha256(repr(("joined", 1, self._max_size, self._corpus.digest())).encode()).hexdigest()
