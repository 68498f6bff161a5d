"""The paths of a command: each key is declared once, `~` is expanded, no output is an input or another output."""

import fnmatch
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, get_args

STREAM = "-"
STDIN, STDOUT = "/dev/stdin", "/dev/stdout"
RUN_FILES = (
    "config.yaml",
    "train.log",
    "metrics.jsonl",
    "curves.png",
    ".lock",
    "tensorboard/*",
    *("checkpoints/*", "checkpoints/*/*", "checkpoints/*/*/*"),
)
CACHE_FILES = ("encoded-*", "tokenizer-*/*")


class Use(Enum):
    """The use of a path. A prefix means the files PREFIX.SRC and PREFIX.TGT; a run means its folder or a checkpoint."""

    input = "input"
    prefix = "prefix"
    run = "run"
    output = "output"
    folder = "folder"


class PathKey(NamedTuple):
    """The properties of a key whose value is a path, for the schema.

    contents: the files that are written in an output folder, or read in a run, as patterns with `*` for any text. dash:
    `-` means standard output. stream: null means it too (for an input: standard input). words: values that are not
    paths. read_only: an output folder that may be read-only if all its files exist.
    """

    use: Use
    contents: tuple[str, ...] = ()
    dash: bool = False
    stream: bool = False
    words: tuple[str, ...] = ()
    read_only: bool = False


def path_key(use: Use, default: Any = None, **about: Any) -> Any:
    """A dataclass field whose value is a path, or with `default=list` a list of paths."""
    metadata = {"path": PathKey(use, **about)}
    return (
        field(default_factory=list, metadata=metadata) if default is list else field(default=default, metadata=metadata)
    )


class NamedPath(NamedTuple):
    """A path with its key. files: for a prefix, the files that it means."""

    key: str
    value: str
    about: PathKey
    files: tuple[str, ...] = ()

    @property
    def written(self) -> bool:
        return self.about.use in (Use.output, Use.folder)

    def __str__(self) -> str:
        return self.key if self.value in (STDIN, STDOUT) else f"{self.key}={self.value}"


def prepare_paths(config: Any) -> None:
    """Expands `~` in every path of a configuration, in place, and checks all paths. Raises ValueError in one line."""
    for section, name, key, about in _declared(config):
        value = getattr(section, name)
        if isinstance(value, str) and value not in about.words:
            setattr(section, name, os.path.expanduser(value))
        elif isinstance(value, list):
            if others := [each for each in value if not isinstance(each, str)]:
                raise ValueError(f"{key}={value!r}: {others[0]!r} is no path; give a list of paths")
            setattr(section, name, [os.path.expanduser(each) for each in value])
    check_paths(config)


def check_paths(config: Any, more: Sequence[NamedPath] = ()) -> None:
    """Raises ValueError if a path of `config`, or one of `more` from the command, is not usable.

    These are: an output that is also an input or another output, under any name; an output that cannot be written; a
    path that is not UTF-8 under a key whose value is saved in files.
    """
    paths = [*named_paths(config), *more]
    reading = [path for path in paths if path.value in (STREAM, STDIN) and path.about.use is Use.input]
    if len(reading) > 1:
        raise ValueError(f"{reading[0]} and {reading[1]} both read standard input: give one of them a file")
    for path in paths:
        _check_name(path)
    for number, path in enumerate(paths):
        if path.written:
            for other in paths[:number] + paths[number + 1 :]:
                _check_apart(path, other)
    for path in paths:
        if path.written and path.value not in (STREAM, STDOUT) and not path.about.read_only:
            _check_writable(path)


def named_paths(config: Any) -> list[NamedPath]:
    """Every path that is set in a configuration, including standard input and output if they are used."""
    found = []
    for section, name, key, about in _declared(config):
        value = getattr(section, name)
        for each in value if isinstance(value, list) else [value]:
            if each and each not in about.words:
                languages = [getattr(section, side, None) for side in ("src", "tgt")]
                found.append(NamedPath(key, each, about, _files(each, languages) if about.use is Use.prefix else ()))
        if not value and about.stream:
            stream = ("standard input", STDIN) if about.use is Use.input else ("standard output", STDOUT)
            found.append(NamedPath(*stream, about))
    return found


def path_of_error(error: OSError, config: Any) -> str:
    """The file of an error with the key of its path; "" if the error has no file name."""
    if error.filename is None:
        return ""
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
    best = None
    for path in named_paths(config) if config is not None else []:
        if path.value == name:
            return str(path)
        if path.about.use is not Use.input and os.path.abspath(name).startswith(os.path.abspath(path.value) + os.sep):
            best = path if best is None or len(path.value) > len(best.value) else best
    return f"{name} (in {best})" if best else name


def reads(key: str, *files: Path) -> NamedPath:
    """Files that a command reads besides those of its configuration, with the key for messages."""
    return NamedPath(key, str(files[0]), PathKey(Use.input), tuple(map(str, files)))


def writes(key: str, folder: Path, contents: tuple[str, ...]) -> NamedPath:
    """The files that a command writes in a folder of its own choice, with the key that changes the folder."""
    return NamedPath(key, str(folder), PathKey(Use.folder, contents))


def _declared(config: Any, prefix: str = "") -> Iterator[tuple[Any, str, str, PathKey]]:
    """For each key whose value is a path: its section, its name there, its dotted key, and its PathKey."""
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            yield from _declared(value, f"{prefix}{each.name}.")
        elif "path" in each.metadata:
            yield config, each.name, f"{prefix}{each.name}", each.metadata["path"]


def text_keys(schema: type, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a schema whose values are text: paths, and others."""
    for each in fields(schema):
        if isinstance(each.type, type) and is_dataclass(each.type):
            yield from text_keys(each.type, f"{prefix}{each.name}.")
        elif "path" in each.metadata or each.type in (str, Any) or str in get_args(each.type):
            yield f"{prefix}{each.name}"


def _files(prefix: str, languages: Sequence[str | None]) -> tuple[str, ...]:
    if prefix.endswith((".tsv", ".tsv.gz")):
        return (prefix,)
    return tuple(f"{prefix}.{language}{end}" for language in languages if language for end in ("", ".gz"))


def _check_name(path: NamedPath) -> None:
    if path.value == STREAM and (
        path.about.use is Use.folder or (path.about.use is Use.output and not path.about.dash)
    ):
        raise ValueError(f"{path}: this cannot go to standard output: name a place (./- if it is really called so)")
    if path.about.use not in (Use.input, Use.output):
        check_utf8(path.key, path.value)


def check_text(config: Any, prefix: str = "") -> None:
    """Raises ValueError for a string under any key that cannot be saved in a configuration, or not be read again."""
    for each in fields(config):
        value, key = getattr(config, each.name), f"{prefix}{each.name}"
        if is_dataclass(value):
            check_text(value, f"{key}.")
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                check_utf8(key, text)
                if "${" in text:
                    raise ValueError(f"{key}={text}: a run's configuration cannot hold ${{: rename it, or link to it")


def check_utf8(key: str, value: str) -> None:
    """Raises ValueError for a string that is not valid UTF-8, which cannot be saved in a file."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        shown = os.fsencode(value).decode("utf-8", "backslashreplace")
        raise ValueError(
            f"{key}={shown}: its bytes are not UTF-8, and the files of a run could not hold it: rename it, or make a "
            "link to it (ln -s)"
        ) from None


def _check_writable(path: NamedPath) -> None:
    """Raises ValueError if a file or folder cannot be created, as far as a check without creating it can tell."""
    place = path.value
    if path.about.use is Use.folder:
        while not os.path.lexists(place) and place not in ("", os.sep):
            place = os.path.dirname(place.rstrip(os.sep))
        place = place or "."
        if not os.path.isdir(place):
            what = "" if place == path.value else f"{place} "
            raise ValueError(f"{path}: {what}is a file, and a folder is needed")
    elif os.path.isdir(place):
        raise ValueError(f"{path}: is a folder, and a file is to be written: give its name too")
    elif not os.path.exists(place):
        place = os.path.dirname(os.path.realpath(place))
        if not os.path.isdir(place):
            raise ValueError(f"{path}: there is no folder {os.path.dirname(path.value) or place}: make it first")
    if not os.access(place, os.W_OK):
        raise ValueError(f"{path}: cannot be written, as {place} is read-only or not yours: try another place")


def _check_apart(path: NamedPath, other: NamedPath) -> None:
    """Raises ValueError if writing the output `path` would change a file of `other`."""
    if all(each.written and each.value in (STREAM, STDOUT) for each in (path, other)):
        raise ValueError(f"{path} and {other} both write standard output: give one of them a file")
    if path.about.contents and path.about.contents == other.about.contents and other.written:
        return  # two keys for one folder, such as run= and resume=
    if not any(_meet(one, two) for one in _regions(path) for two in _regions(other)):
        return
    if other.about.use is Use.run:
        raise ValueError(f"{path} would write among the files of {other}: try another place")
    if path.about.use is Use.folder or other.about.use is Use.folder:
        raise ValueError(f"{path} would write over {other}: try another place")
    named = f"{other.key}= names" if " " not in other.key else f"{other.key} comes from"
    raise ValueError(f"{path} is the file that {named}: try another name")


class _Region(NamedTuple):
    """A file; with contents: these files of a folder."""

    path: str
    contents: tuple[str, ...] = ()

    def samples(self) -> list[str]:
        return [os.path.join(self.path, each.replace("*", "0")) for each in self.contents] or [self.path]


def _regions(path: NamedPath) -> list[_Region]:
    if path.about.use is Use.run:
        place = os.path.realpath(path.value)
        found = [_Region(place, path.about.contents)]
        if os.path.exists(os.path.join(place, "model.safetensors")):
            found.append(_Region(place, ("*",)))
            if os.path.basename(os.path.dirname(place)) == "checkpoints":
                found.append(_Region(os.path.dirname(os.path.dirname(place)), path.about.contents))
        return found
    if path.about.use is Use.folder:
        return [_Region(path.value, path.about.contents)] if path.about.contents else []
    if path.value == STREAM:
        return [_Region(STDIN if path.about.use is Use.input else STDOUT)]
    return [_Region(file) for file in path.files or (path.value,)]


def _meet(one: _Region, two: _Region) -> bool:
    return any(_holds(two, file) for file in one.samples()) or any(_holds(one, file) for file in two.samples())


def _holds(region: _Region, file: str) -> bool:
    if not region.contents:
        return _same(region.path, file)
    inner = os.path.relpath(os.path.realpath(file), os.path.realpath(region.path))
    if any(fnmatch.fnmatchcase(inner, each) for each in region.contents) and not inner.startswith(".."):
        return True
    links = (os.path.join(region.path, each) for p in region.contents for each in glob.iglob(p, root_dir=region.path))
    return os.path.isfile(file) and any(_same(each, file) for each in links)


def _same(one: str, two: str) -> bool:
    """Whether two paths name one file, existing or not; False for special files (/dev/null, a pipe)."""
    try:
        first, second = os.stat(one), os.stat(two)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(two)
    return stat.S_ISREG(first.st_mode) and os.path.samestat(first, second)
