"""The folder that caches tokenizers and encoded corpora: its name, and its setting, in errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing_cache(cache: Path) -> Iterator[None]:
    """Names the folder and its setting where the block cannot write there: libraries name neither. Raises OSError."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and cache not in Path(error.filename).parents:
            raise
        raise OSError(
            f"data.cache={cache}: could not be written ({error.strerror or error}); make room, or try data.cache=FOLDER"
        ) from None
