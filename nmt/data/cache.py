"""The folder that caches tokenizers and encoded corpora: error messages that name the folder and its setting."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing_cache(cache: Path) -> Iterator[None]:
    """Raises OSError with the name of the folder and its setting if the block cannot write: libraries name neither."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and cache not in Path(error.filename).parents:
            raise
        raise OSError(
            f"data.cache={cache}: could not be written ({error.strerror or error}); make room, or try data.cache=FOLDER"
        ) from None
