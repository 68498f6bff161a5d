"""The tokenizer of both sides: saved in a folder, loaded from it, or created from .model files of the user."""

import hashlib
import json
from pathlib import Path

from nmt.data.tokenizer.subwords import Subwords

_VERSION = 1  # of the ids and of normalize(): increase it if either changes for the same model, so that digests change


class Tokenizer:
    """Subwords of both sides; `src` and `tgt` are the same object if they share one model."""

    def __init__(self, src: Subwords, tgt: Subwords):
        self.src = src
        self.tgt = src if tgt.model == src.model else tgt

    @property
    def joint(self) -> bool:
        """Whether an id is the same piece on both sides. Their normalization may differ."""
        return self.src is self.tgt or self.src.vocabulary == self.tgt.vocabulary

    @classmethod
    def from_files(cls, src_model: str | Path, tgt_model: str | Path) -> "Tokenizer":
        """A tokenizer from the user's SentencePiece models, with any ids of special pieces; the same file twice is
        joint.

        Raises ValueError for a file that is missing or not a SentencePiece model.
        """
        src = _read(Path(src_model))
        return cls(src, src if Path(src_model) == Path(tgt_model) else _read(Path(tgt_model)))

    def save(self, folder: str | Path) -> None:
        """Writes joint.model, or src.model and tgt.model, and tokenizer.json into a folder; creates it if needed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        sides = {"joint": self.src} if self.src is self.tgt else {"src": self.src, "tgt": self.tgt}
        for name, subwords in sides.items():
            (folder / f"{name}.model").write_bytes(subwords.model)
        (folder / "tokenizer.json").write_text(json.dumps({"version": _VERSION, "models": list(sides)}) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Loads the result of `save`; raises ValueError if the folder is incomplete, damaged or of another version."""
        folder = Path(folder)
        try:
            about = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
            version, names = about["version"], about["models"]
        except OSError as error:
            raise ValueError(f"{folder} holds no tokenizer: cannot read its tokenizer.json") from error
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{folder / 'tokenizer.json'} is damaged") from error
        if version != _VERSION:
            raise ValueError(
                f"{folder} holds a tokenizer of version {version}, but this program reads version {_VERSION}"
            )
        if names not in (["joint"], ["src", "tgt"]):
            raise ValueError(f"{folder / 'tokenizer.json'} is damaged: it names the models {names}")
        models = [_read(folder / f"{name}.model") for name in names]
        return cls(models[0], models[-1])

    def digest(self) -> str:
        """A hash, in hexadecimal, that changes if any ids change."""
        total = hashlib.sha256(f"tokenizer {_VERSION}".encode())
        for subwords in (self.src, self.tgt):
            total.update(hashlib.sha256(subwords.model).digest())
        return total.hexdigest()


def _read(path: Path) -> Subwords:
    try:
        return Subwords(path.read_bytes(), str(path))
    except OSError as error:
        raise ValueError(f"cannot read the SentencePiece model {path}: {error.strerror}") from error
