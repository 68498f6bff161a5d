"""A corpus of the `datasets` library: a name on the hub, a local folder, or parquet, JSON, CSV and TSV files."""

import glob
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.corpus.heading import find_columns
from nmt.corpus.pairs import Corpus, EmptyLines, Pair
from nmt.corpus.rows import SUFFIXES, TextFile, as_text, digests, no_columns, read_rows, suffix_of, text_file
from nmt.runtime.hashing import file_sha256

if TYPE_CHECKING:  # importing the library takes seconds, and plain files do not need it
    import pyarrow
    from datasets import Dataset

_ROWS = 4096  # rows per access: the library's overhead per row becomes negligible, with a few MB at most

_ROWS_VERSION = 1  # of the result of `read_rows`


def read_hub(
    path: str,
    config: str | None,
    split: str,
    src: str,
    tgt: str,
    *,
    empty_lines: EmptyLines = EmptyLines.error,
    key: str = "data.train",
    cache: Path | None = None,
) -> "HubCorpus":
    """The pairs of one split (`train`, or a slice like `train[:1000]`), memory-mapped by the library.

    `path` is a dataset's name, a folder of data files, a folder written by `save_to_disk`, or one data file (its only
    split has any name). Rows are `{"translation": {SRC: ..., TGT: ...}}` or have flat columns SRC and TGT. Values are
    read as text: see `read_rows`. `key` is the setting of the split, for messages; `cache` the folder of the library's
    copies (default: its own).

    Raises ValueError, in one line, for any error of the library: no network, no such dataset, config, split or column.
    """
    split = split.strip()
    try:
        dataset = _Loader(path, config, split, src, tgt, cache).load()
    except Exception as error:  # the library raises any error of its storage, network and parsers
        if (ours := _ours(error)) is not None:
            raise ValueError(f"{ours} ({key})") from error
        said = " ".join(f"{error}".split()) or "no reason given"
        where = f"data.name={path}" + (f" data.config={config}" if config else "")
        hint = "; without a network, a local folder or file will do: data.name=PATH" if "reach" in said else ""
        raise ValueError(f"cannot read {where} {key}={split}: {type(error).__name__}: {said[:400]}{hint}") from error
    name = re.sub(r"[^\w.]+", "-", f"{Path(path).stem}-{split}").strip("-")
    return HubCorpus(name, dataset, src, tgt, empty_lines, f"{path} ({split})")


class HubCorpus(Corpus):
    """Pairs from a loaded split; created by `read_hub`."""

    def __init__(self, name: str, dataset: "Dataset", src: str, tgt: str, empty_lines: EmptyLines, place: str):
        self.name = name
        self.empty_lines = empty_lines
        self._languages = (src, tgt)
        self._place = place
        self._digest: str | None = None
        columns = dataset.column_names
        self._nested = "translation" in columns
        names = _fields(dataset.features["translation"]) if self._nested else columns
        found = find_columns(names, src, tgt)
        if found is None:
            raise no_columns(place, sorted(names), src, tgt)
        self._columns = (names[found[0]], names[found[1]])
        if len(dataset) == 0:
            raise ValueError(f"{place} is empty")
        wanted = ["translation"] if self._nested else list(dict.fromkeys(self._columns))
        self._dataset = dataset.select_columns(wanted)

    def __iter__(self) -> Iterator[Pair]:
        row = 0
        for table in self._tables():
            sides = [self._side(table, column) for column in self._columns]
            for values in zip(*sides, strict=True):
                places = [f"{self._place}, row {row}, column {language!r}" for language in self._languages]
                texts = [_one_line(as_text(value, place)) for value, place in zip(values, places, strict=True)]
                yield self._check_blank(Pair(*texts), *places)
                row += 1

    def digest(self) -> str:
        if self._digest is None:
            total = hashlib.sha256(repr(("hub", 2, self._languages, self._columns, self._nested)).encode())
            for table in self._tables():
                for batch in table.combine_chunks().to_batches():
                    total.update(memoryview(batch.serialize()))
            self._digest = total.hexdigest()
        return self._digest

    def _tables(self) -> "Iterator[pyarrow.Table]":
        return self._dataset.with_format("arrow").iter(batch_size=_ROWS)  # type: ignore[return-value]

    def _side(self, table: "pyarrow.Table", column: str) -> list:
        if not self._nested:
            return table.column(column).to_pylist()
        return [row and row.get(column) for row in table.column("translation").to_pylist()]


def _fields(feature: object) -> list[str]:
    """The languages of a `translation` column, for all types of its feature."""
    languages = getattr(feature, "languages", None)
    if languages:
        return list(languages)
    return list(feature) if isinstance(feature, dict) else []


def _one_line(text: str | None) -> str:
    """The text as one line: line ends become spaces, and None a blank line."""
    return "" if text is None else text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def _ours(error: BaseException | None) -> "_Refused | None":
    """The error of this module in the chain of causes: the library may have wrapped it."""
    while error is not None and not isinstance(error, _Refused):
        error = error.__cause__
    return error


class _Refused(ValueError):
    """An error of this module about a file."""


@dataclass
class _Loader:
    """Loads a split."""

    path: str
    config: str | None
    split: str
    src: str
    tgt: str
    cache: Path | None

    def load(self) -> "Dataset":
        import datasets

        folder = Path(self.path)
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            loaded = datasets.load_from_disk(self.path)
            whole = not isinstance(loaded, datasets.DatasetDict)
            return self._slices({self._names()[0]: loaded} if whole else {str(k): v for k, v in loaded.items()})
        if suffix_of(self.path) in (*SUFFIXES, ".parquet"):
            return self._load_file()
        if folder.is_file():
            legal = ", ".join((*SUFFIXES, ".parquet"))
            raise _Refused(f"{self.path}: a file of no known kind; legal are {legal}, with .gz or without")
        local = sorted(each for each in folder.rglob("*") if each.is_file()) if folder.is_dir() else []
        cache = self._cache_of(local) if local else self._cache
        builder = datasets.load_dataset_builder(self.path, self.config, cache_dir=cache)
        if (texts := _text_files(builder, cache)) is not None:
            missing = [name for name in self._names() if name not in texts]
            if missing:
                raise _Refused(f"{self.path} has no split {missing[0]!r}; it has: {', '.join(texts)}")
            return self._slices({name: self._read(texts[name], name) for name in dict.fromkeys(self._names())})
        loaded = datasets.load_dataset(self.path, self.config, split=self.split, cache_dir=cache)
        assert isinstance(loaded, datasets.Dataset)
        return loaded

    @property
    def _cache(self) -> str | None:
        return None if self.cache is None else str(self.cache)

    def _cache_of(self, files: list[Path]) -> str:
        """A cache for the content of local files, which the library recognizes by their place and time alone."""
        from datasets.config import HF_DATASETS_CACHE

        content = hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()
        return str(Path(self._cache or HF_DATASETS_CACHE) / content)

    def _names(self) -> list[str]:
        """The names of the splits: `train` and `valid` for `train[:9]+valid`."""
        return [part.partition("[")[0].strip() for part in self.split.split("+")]

    def _load_file(self) -> "Dataset":
        import datasets

        paths = [self.path] if Path(self.path).is_file() else sorted(glob.glob(self.path))
        if missing := [path for path in paths or [self.path] if not Path(path).is_file()]:
            raise _Refused(f"data.name={missing[0]}: no such file")
        name = self._names()[0]
        if suffix_of(self.path) == ".parquet":
            cache = self._cache_of(list(map(Path, paths)))
            loaded = datasets.load_dataset("parquet", data_files={name: paths}, split=name, cache_dir=cache)
            assert isinstance(loaded, datasets.Dataset)
        else:
            loaded = self._read([text_file(Path(path)) for path in paths], name)
        return self._slices({name: loaded})

    def _read(self, files: "list[TextFile]", name: str) -> "Dataset":
        """The rows of text files, in the library's cache."""
        import datasets

        text = datasets.Value("string")
        # The library recognizes existing results by these arguments: the content must be among them.
        content = (_ROWS_VERSION, *digests(files))
        known = {"files": tuple(files), "src": self.src, "tgt": self.tgt, "content": content}
        loaded = datasets.Dataset.from_generator(
            _rows,
            features=datasets.Features({"src": text, "tgt": text}),
            gen_kwargs=known,
            split=datasets.NamedSplit(name),
            cache_dir=self._cache,  # type: ignore[arg-type]
        )
        assert isinstance(loaded, datasets.Dataset)
        return loaded.rename_columns({"src": self.src, "tgt": self.tgt}) if self.src != self.tgt else loaded

    def _slices(self, parts: "dict[str, Dataset]") -> "Dataset":
        """The rows of the split, of a slice, or of a sum of these."""
        import datasets

        sizes = {name: len(part) for name, part in parts.items()}
        try:
            slices = datasets.ReadInstruction.from_spec(self.split).to_absolute(sizes)
        except (KeyError, ValueError, AssertionError) as error:
            raise _Refused(f"{self.path} has no split {self.split!r}; it has: {', '.join(sizes)}") from error
        chosen = []
        for piece in slices:
            end = sizes[piece.splitname] if piece.to is None else piece.to
            chosen.append(parts[piece.splitname].select(range(piece.from_ or 0, end)))
        return datasets.concatenate_datasets(chosen)


def _rows(files: Sequence[TextFile], src: str, tgt: str, content: Sequence) -> Iterator[dict[str, str | None]]:
    row = None
    try:
        for file in files:
            for row in read_rows(file, src, tgt):
                yield row
    except ValueError as error:
        raise _Refused(f"{error}") from error
    if row is None:
        raise _Refused(f"{files[-1].path} is empty")


def _text_files(builder: Any, cache: str | None) -> dict[str, list[TextFile]] | None:
    """The downloaded files of each split, if a dataset consists of CSV, TSV or JSON files read with default options."""
    import datasets

    config = builder.config
    plain = all(getattr(config, key, None) is None for key in ("names", "column_names", "skiprows", "field", "usecols"))
    files = {str(split): [str(each) for each in found] for split, found in (config.data_files or {}).items()}
    kinds = {suffix_of(each) for found in files.values() for each in found}
    if not plain or not kinds or not kinds <= set(SUFFIXES):
        return None
    manager = datasets.DownloadManager(
        dataset_name=builder.dataset_name, download_config=datasets.DownloadConfig(cache_dir=cache)
    )
    separator = getattr(config, "sep", None)
    texts = {}
    for split, found in files.items():
        local = manager.download(found)
        texts[split] = [TextFile(Path(str(each)), separator) for each in local]
    return texts
