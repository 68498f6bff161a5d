"""A synthetic set of long sentences, made of a test set: neighbors joined into one."""

import hashlib
from collections.abc import Iterator
from itertools import islice

from nmt.data.corpus.pairs import Corpus, Pair


class ConcatenatedCorpus(Corpus):
    """Each sentence alone, then every two neighbors as one sentence, every three, and so on up to `max_size`.

    Of long sentences there are few in any test set, so this shows how a translator does as they grow; but it is no text
    that anybody wrote, and no score on it says how good a translator is. A rest of fewer neighbors is left out.
    """

    def __init__(self, corpus: Corpus, max_size: int):
        self.name = f"{corpus.name}-concat-{max_size}"
        self.empty_lines = corpus.empty_lines
        self._corpus = corpus
        self._max_size = max_size

    @property
    def about(self) -> str:
        """What it is, to stand beside every number that comes of it."""
        return f"synthetic set, 1 to {self._max_size} neighboring sentences joined into one"

    def __iter__(self) -> Iterator[Pair]:
        for size in range(1, self._max_size + 1):
            pairs = iter(self._corpus)
            while len(group := list(islice(pairs, size))) == size:
                yield Pair(*(" ".join(side) for side in zip(*group, strict=True)))

    def digest(self) -> str:
        return hashlib.sha256(repr(("joined", 1, self._max_size, self._corpus.digest())).encode()).hexdigest()
