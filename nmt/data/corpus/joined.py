"""A stress set of long sentences, made of a test set: neighbours joined into one."""

import hashlib
from collections.abc import Iterator
from itertools import islice

from nmt.data.corpus.pairs import Corpus, Pair


class Joined(Corpus):
    """Each sentence alone, then every two neighbours as one sentence, every three, and so on up to `most`.

    Of long sentences there are few in any test set, so this shows how a translator does as they grow; but it is no text
    that anybody wrote, and no score on it says how good a translator is. A rest of fewer neighbours is left out.
    """

    def __init__(self, corpus: Corpus, most: int):
        self.name = f"{corpus.name}-joined-{most}"
        self.blank = corpus.blank
        self._corpus = corpus
        self._most = most

    @property
    def about(self) -> str:
        """What it is, to stand beside every number that comes of it."""
        return f"stress set, 1 to {self._most} neighbouring sentences joined into one"

    def __iter__(self) -> Iterator[Pair]:
        for size in range(1, self._most + 1):
            pairs = iter(self._corpus)
            while len(group := list(islice(pairs, size))) == size:
                yield Pair(*(" ".join(side) for side in zip(*group, strict=True)))

    def digest(self) -> str:
        return hashlib.sha256(repr(("joined", 1, self._most, self._corpus.digest())).encode()).hexdigest()
