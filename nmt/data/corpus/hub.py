"""A corpus of the `datasets` library: a name on the hub, a local folder, or parquet, JSON and CSV files."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.data.corpus.pairs import Blank, Corpus, Pair

if TYPE_CHECKING:  # the library takes seconds to import, and nobody should wait for it who reads plain files
    import pyarrow
    from datasets import Dataset

_FORMATS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv"}
_ROWS = 4096  # rows fetched at once: enough to make the library's cost a row vanish, a few MB at most


def read_hub(
    path: str,
    config: str | None,
    split: str,
    src: str,
    tgt: str,
    *,
    blank: Blank = Blank.error,
    key: str = "data.train",
    cache: Path | None = None,
) -> "HubCorpus":
    """The pairs of one split (`train`, or a slice of it: `train[:1000]`), memory-mapped by the library.

    `path` is a dataset's name, a folder of data files, a folder written by `save_to_disk`, or one data file (whose only
    split has whatever name is asked for). Rows are `{"translation": {SRC: ..., TGT: ...}}` or have flat columns SRC and
    TGT. `key` is the setting, for messages, that gave the split; `cache` the folder of the library's copies (default:
    its own).

    Raises ValueError, in one line, whatever the library says: no network, no such dataset, config, split or column.
    """
    split = split.strip()
    try:
        dataset = _load(path, config, split, cache)
    except Exception as error:  # the library raises whatever its storage, network and parsers raise
        said = " ".join(f"{error}".split()) or "no reason given"
        where = f"data.name={path}" + (f" data.config={config}" if config else "")
        hint = "; without a network, a local folder or file will do: data.name=PATH" if "reach" in said else ""
        raise ValueError(f"cannot read {where} {key}={split}: {type(error).__name__}: {said[:400]}{hint}") from error
    name = re.sub(r"[^\w.]+", "-", f"{Path(path).stem}-{split}").strip("-")
    return HubCorpus(name, dataset, src, tgt, blank, f"{path} ({split})")


class HubCorpus(Corpus):
    """Pairs from a loaded split; made by `read_hub`."""

    def __init__(self, name: str, dataset: "Dataset", src: str, tgt: str, blank: Blank, place: str):
        self.name = name
        self.blank = blank
        self._languages = (src, tgt)
        self._place = place
        self._digest: str | None = None
        columns = dataset.column_names
        self._nested = "translation" in columns
        names = _fields(dataset.features["translation"]) if self._nested else columns
        for language in (src, tgt):
            if language not in names:
                what = "languages" if self._nested else "columns"
                raise ValueError(f"{place} has no {language!r}; its {what} are: {', '.join(sorted(names)) or 'none'}")
        if len(dataset) == 0:
            raise ValueError(f"{place} is empty")
        self._dataset = dataset.select_columns(["translation"] if self._nested else list(dict.fromkeys((src, tgt))))

    def __iter__(self) -> Iterator[Pair]:
        row = 0
        for table in self._tables():
            sides = [self._side(table, language) for language in self._languages]
            for src, tgt in zip(*sides, strict=True):
                pair = Pair(_one_line(src), _one_line(tgt))
                places = [f"{self._place}, row {row}, {language!r}" for language in self._languages]
                yield self._check_blank(pair, *places)
                row += 1

    def digest(self) -> str:
        if self._digest is None:
            total = hashlib.sha256(repr(("hub", 1, self._languages, self._nested)).encode())
            for table in self._tables():
                for batch in table.combine_chunks().to_batches():
                    total.update(memoryview(batch.serialize()))
            self._digest = total.hexdigest()
        return self._digest

    def _tables(self) -> "Iterator[pyarrow.Table]":
        return self._dataset.with_format("arrow").iter(batch_size=_ROWS)  # type: ignore[return-value]

    def _side(self, table: "pyarrow.Table", language: str) -> list[str | None]:
        if not self._nested:
            return table.column(language).to_pylist()
        return [row and row.get(language) for row in table.column("translation").to_pylist()]


def _fields(feature: object) -> list[str]:
    """The languages of a `translation` column, however its feature is declared."""
    languages = getattr(feature, "languages", None)
    if languages:
        return list(languages)
    return list(feature) if isinstance(feature, dict) else []


def _one_line(text: str | None) -> str:
    """A pair is one line a side: line ends inside a text become spaces, and nothing at all is a blank line."""
    return "" if text is None else str(text).replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def _load(path: str, config: str | None, split: str, cache: Path | None) -> "Dataset":
    import datasets

    folder = Path(path)
    cache_dir = None if cache is None else str(cache)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _from_disk(folder, split)
    if folder.suffix in _FORMATS and (folder.is_file() or "*" in path):
        files = {split.partition("[")[0]: path}
        loaded = datasets.load_dataset(_FORMATS[folder.suffix], data_files=files, split=split, cache_dir=cache_dir)
    else:
        loaded = datasets.load_dataset(path, config, split=split, cache_dir=cache_dir)
    assert isinstance(loaded, datasets.Dataset)
    return loaded


def _from_disk(folder: Path, split: str) -> "Dataset":
    """A split, a slice of one or a sum of such, of what `save_to_disk` wrote."""
    import datasets

    loaded = datasets.load_from_disk(str(folder))
    parts = loaded if isinstance(loaded, datasets.DatasetDict) else {re.split(r"[\[+]", split)[0]: loaded}
    sizes = {str(name): len(part) for name, part in parts.items()}
    try:
        slices = datasets.ReadInstruction.from_spec(split).to_absolute(sizes)
    except (KeyError, ValueError, AssertionError) as error:
        raise ValueError(f"no split {split!r}; it has: {', '.join(sizes)}") from error
    chosen = []
    for piece in slices:
        end = sizes[piece.splitname] if piece.to is None else piece.to
        chosen.append(parts[piece.splitname].select(range(piece.from_ or 0, end)))
    return datasets.concatenate_datasets(chosen)
