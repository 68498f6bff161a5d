"""A copy of a corpus whose source can be read only once, such as a pipe."""

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nmt.corpus.pairs import Corpus, Pair


def can_be_reread(path: Path) -> bool:
    """Whether `path` gives the same content each time it is opened: False for pipes, terminals and what is not there.

    /dev/stdin and /dev/fd/N are False whatever they are: on some systems reading continues where the last reader ended.
    """
    return path.is_file() and path.absolute().parts[1] != "dev"


class Spooled(Corpus):
    """Reads a corpus once, and copies it to a file without a name that ends with this process.

    It can then be iterated any number of times, also by several iterators at once. Memory holds a few pairs. Raises
    what iterating the corpus raises; OSError naming the folder for temporary files if there is no room in it.
    """

    def __init__(self, corpus: Corpus):
        self.name = corpus.name
        self.empty_lines = corpus.empty_lines
        try:
            with tempfile.TemporaryFile() as copy:
                for pair in corpus:
                    copy.write(f"{pair.src}\n{pair.tgt}\n".encode())
                copy.flush()
                # The map outlives the handle. An empty file cannot be mapped.
                self._bytes = mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ) if copy.tell() else b""
        except OSError as error:
            if error.filename:  # of the corpus: the copy has no name
                raise
            raise OSError(
                f"{tempfile.gettempdir()}: {error.strerror}; {corpus.name} is a pipe, which is copied there since it "
                "is read twice: set TMPDIR to a folder with more room, or give a file"
            ) from None

    def __iter__(self) -> Iterator[Pair]:
        begin = 0
        while begin < len(self._bytes):
            middle = self._bytes.find(b"\n", begin)
            end = self._bytes.find(b"\n", middle + 1)
            yield Pair(self._bytes[begin:middle].decode("utf-8"), self._bytes[middle + 1 : end].decode("utf-8"))
            begin = end + 1

    def digest(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()
