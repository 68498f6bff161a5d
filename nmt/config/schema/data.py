"""The settings data.* and tokenizer.*"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from nmt.analysis.segmentation import TOKENIZERS
from nmt.bounds import at_least, one_of, positive_int
from nmt.config.paths import CACHE_FILES, Use, path_key
from nmt.corpus import EmptyLines
from nmt.data.tokenizer import TokenizerOptions


class DataKind(Enum):
    """The source of a corpus."""

    demo = "demo"
    files = "files"
    hub = "hub"


@dataclass
class DataConfig:
    """The settings data.*"""

    kind: DataKind = DataKind.demo
    src: str | None = None
    tgt: str | None = None
    # A prefix, a split or a list; checked below, because OmegaConf has no such union.
    train: Any = path_key(Use.prefix)
    valid: str | None = path_key(Use.prefix)
    test: str | None = path_key(Use.prefix)
    name: str | None = path_key(Use.input)
    config: str | None = None
    empty_lines: EmptyLines = EmptyLines.error
    max_length: int | None = None
    bleu_tokenizer: str | None = None  # one of TOKENIZERS; None: the default for the target language
    cache: str = path_key(Use.folder, "data/cache", contents=CACHE_FILES, read_only=True)

    def __post_init__(self):
        if self.train is not None:
            parts = [self.train] if isinstance(self.train, str) else self.train
            if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
                raise ValueError(
                    f"data.train={self.train!r}: give a path without its language suffix, or a list of such"
                )
            self.train = parts
        at_least(1, data__max_length=self.max_length)
        one_of(TOKENIZERS, data__bleu_tokenizer=self.bleu_tokenizer)


@dataclass
class TokenizerConfig(TokenizerOptions):
    """The training of the tokenizer, or SentencePiece models of the user."""

    model: str | None = path_key(Use.input)
    src_model: str | None = path_key(Use.input)
    tgt_model: str | None = path_key(Use.input)

    def __post_init__(self):
        positive_int(
            tokenizer__vocab_size=self.vocab_size,
            tokenizer__src_vocab_size=self.src_vocab_size,
            tokenizer__tgt_vocab_size=self.tgt_vocab_size,
        )
        at_least(1, tokenizer__input_sentence_size=self.input_sentence_size)
        super().__post_init__()
