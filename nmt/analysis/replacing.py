"""Replacing the results in a folder together: the old ones remain until the new ones are complete."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nmt.runtime.atomic import remove_abandoned, temporary


@contextmanager
def replacing(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A hidden folder inside `folder` to write into. At the end the written files are moved to `folder`.

    names: of all possible results, files and folders of heatmaps. Those that were not written are deleted from
    `folder`; files with other names are unchanged. The last name is deleted first and moved last: if it exists, the
    results are complete. After an error or Ctrl-C `folder` is unchanged. The next process deletes the remains of a
    killed one. Raises OSError if `folder` cannot be written.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder, "partial-")
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, missing)
        partial = stack.enter_context(temporary(folder / "partial", folder=True))
        yield partial
        _move(partial, folder, names)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def _move(partial: Path, folder: Path, names: Sequence[str]) -> None:
    """Replaces the files in `folder` by those in `partial`."""
    (folder / names[-1]).unlink(missing_ok=True)
    for name in names:
        new, place = partial / name, folder / name
        if place.is_dir():
            for picture in place.glob("*.png"):
                picture.unlink()
        if new.is_dir():
            place.mkdir(exist_ok=True)
            for picture in new.iterdir():
                picture.replace(place / picture.name)
        elif new.exists():
            new.replace(place)
        elif place.is_dir():
            with contextlib.suppress(OSError):  # not empty
                place.rmdir()
        else:
            place.unlink(missing_ok=True)
