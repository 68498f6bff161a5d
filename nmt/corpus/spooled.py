"""A copy of a corpus whose source can be read only once, such as a pipe."""

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nmt.corpus.pairs import Corpus, Pair


def can_be_reread(path: Path) -> bool:
    """Whether `path` gives the same content each time it is opened: False for pipes, terminals and missing files.

    Always False for /dev/stdin and /dev/fd/N: on some systems reading continues where the last reader ended.
    """
    return path.is_file() and path.absolute().parts[1] != "dev"


class Spooled(Corpus):
    """Reads a corpus once, and copies it to an unnamed temporary file that is deleted when the process ends.

    It can be iterated any number of times, also by several iterators at once. Memory has only a few pairs. Raises the
    errors of iterating the corpus; OSError with the folder for temporary files if it is full.
    """

    def __init__(self, corpus: Corpus):
        self.name = corpus.name
        self.empty_lines = corpus.empty_lines
        try:
            with tempfile.TemporaryFile() as copy:
                for pair in corpus:
                    copy.write(f"{pair.src}\n{pair.tgt}\n".encode())
                copy.flush()
                # The map remains valid after the file is closed. An empty file cannot be mapped.
                self._bytes = mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ) if copy.tell() else b""
        except OSError as error:
            if error.filename:  # an error of the corpus: the copy has no name
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
