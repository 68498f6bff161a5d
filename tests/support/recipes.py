"""Diffs without line numbers, as CONTRIBUTING.md prints them, and applying them to a copy of the source."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Edit(NamedTuple):
    """One hunk: `old` stands exactly once in the file and becomes `new`; of a new file `old` is empty."""

    path: str
    old: str
    new: str


def read_edits(diff: str) -> Iterator[Edit]:
    """The hunks of a diff whose headers are `--- PATH` or `--- PATH (new)`; `@@` alone begins a hunk."""
    for part in re.split(r"^--- ", diff, flags=re.M)[1:]:
        header, _, body = part.partition("\n")
        path = header.removesuffix(" (new)")
        hunks = [body] if path != header else re.split(r"^@@\n", body, flags=re.M)[1:]
        assert hunks, f"{path}: no hunk"
        for hunk in hunks:
            lines = hunk.splitlines()
            assert all(line[:1] in "+- " for line in lines), hunk
            old, new = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != left_out) for left_out in ("+", "-"))
            yield Edit(path, old, new)


def apply_edits(root: Path, diff: str) -> None:
    """Changes the files under `root` as `diff` says. Raises AssertionError where it does not fit them."""
    for path, old, new in read_edits(diff):
        file = root / path
        if not old:
            assert not file.exists(), f"{path} is there already"
            file.write_text(new, encoding="utf-8")
            continue
        text = file.read_text(encoding="utf-8")
        # A line of context may be the start of a longer line, so that an example need not repeat all of it.
        old, new = old.removesuffix("\n"), new.removesuffix("\n")
        found = list(re.finditer(rf"^{re.escape(old)}", text, re.M))
        assert len(found) == 1, f"{path}: not exactly once: {old!r}"
        file.write_text(text[: found[0].start()] + new + text[found[0].end() :], encoding="utf-8")
