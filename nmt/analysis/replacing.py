"""Replacing the results in a folder together: the old ones stay until the new ones are complete."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nmt.runtime.atomic import remove_abandoned, temporary


@contextmanager
def replacing(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Gives a hidden folder inside `folder` to write into. At the end the files written are moved to `folder`.

    names: of all that such results can consist of, files and folders of pictures. A name that was not written goes from
    `folder`, and what has no such name stays there. The last name goes first and comes last: where it is, all is whole.
    After an error or Ctrl-C `folder` is as before. What a killed process left behind is deleted by the next one.
    Raises OSError where `folder` cannot be written.
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
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


def _move(partial: Path, folder: Path, names: Sequence[str]) -> None:
    """Puts what is in `partial` in the places of what is in `folder`."""
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
            with contextlib.suppress(OSError):  # it holds something else
                place.rmdir()
        else:
            place.unlink(missing_ok=True)
