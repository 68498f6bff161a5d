"""Training SentencePiece on a bounded, deterministic sample of a corpus; the result is cached by content."""

import hashlib
import io
import random
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import Enum
from itertools import chain
from pathlib import Path

import sentencepiece

from nmt.corpus import Corpus, Pair
from nmt.data.symbols import BOS, EOS, NAMES, PAD, UNK
from nmt.data.tokenizer.normalization import SPACE, Normalization, normalizer, with_normalization
from nmt.data.tokenizer.subwords import Subwords
from nmt.data.tokenizer.tokenizer import Tokenizer
from nmt.runtime.atomic import remove_abandoned, written_beside

_THREADS = 4  # fixed, because the sums of the EM steps depend on the number of threads
_MOST_BYTES = 4192  # of a line, SentencePiece's max_sentence_length: it silently leaves out longer lines
_MOST_CHARACTERS = _MOST_BYTES // 4  # never more than _MOST_BYTES in UTF-8
_RESERVED = str.maketrans("\0\u2585", "  ")  # characters whose lines SentencePiece leaves out


class ModelType(Enum):
    """SentencePiece's model types."""

    unigram = "unigram"
    bpe = "bpe"
    word = "word"
    char = "char"


@dataclass
class TokenizerOptions:
    """The settings tokenizer.*

    Sizes count the four special ids and, with byte fallback, 256 bytes; for ModelType.char they are a maximum, because
    the text determines the number of characters. Raises ValueError for values that SentencePiece does not accept.
    """

    model_type: ModelType = ModelType.unigram
    joint: bool = False  # one vocabulary for both sides, of vocab_size
    vocab_size: int = 8000
    src_vocab_size: int | None = None  # None: vocab_size
    tgt_vocab_size: int | None = None
    character_coverage: float = 1.0
    byte_fallback: bool = True
    src_normalization: Normalization = Normalization.nmt_nfkc  # for models trained here; others have their own
    tgt_normalization: Normalization = Normalization.identity  # so that output has the characters of the training text
    input_sentence_size: int = 20_000  # the maximum number of pairs for training

    def __post_init__(self):
        if self.input_sentence_size < 1:
            raise ValueError(
                f"tokenizer.input_sentence_size={self.input_sentence_size}: training needs at least one sentence"
            )
        if not 0.98 <= self.character_coverage <= 1:
            raise ValueError(f"tokenizer.character_coverage={self.character_coverage}: SentencePiece takes 0.98 to 1")


def train_tokenizer(
    corpus: Corpus, options: TokenizerOptions, *, seed: int, cache: str | Path | None = None
) -> Tokenizer:
    """Trains one vocabulary for both sides (joint), or one for each.

    Each side's text is normalized by its own rule, also in a joint vocabulary. Training uses at most
    `input_sentence_size` pairs, sampled uniformly from the corpus with `seed`, and is deterministic to the byte.
    Results are stored in `cache`, keyed by the content of the corpus and the options.

    Raises ValueError with the setting and the limit for a size that is too large or too small for the text, and if
    there is no text.
    """
    if cache is None:
        return _train_both(corpus, options, seed)
    kept = Path(cache) / f"tokenizer-{_key(corpus, options, seed)}"
    remove_abandoned(kept.parent, "tokenizer-")
    with suppress(ValueError):  # missing or damaged: trained again
        return Tokenizer.load(kept)
    tokenizer = _train_both(corpus, options, seed)
    with written_beside(kept, folder=True) as beside:
        tokenizer.save(beside)
    return tokenizer


def _key(corpus: Corpus, options: TokenizerOptions, seed: int) -> str:
    """A hash of all inputs of the result."""
    own = [
        getattr(value, "value", value) for value in (getattr(options, each.name) for each in fields(TokenizerOptions))
    ]
    key = repr(("tokenizer", 3, sentencepiece.__version__, corpus.digest(), own, seed))
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _train_both(corpus: Corpus, options: TokenizerOptions, seed: int) -> Tokenizer:
    rules = (options.src_normalization, options.tgt_normalization)
    pairs = _draw(corpus, options.input_sentence_size, seed)
    texts = [_trainable(pairs, side, rule) for side, rule in enumerate(rules)]
    if options.joint:
        both = chain.from_iterable(chain.from_iterable(lines) for lines in zip(*texts, strict=True))
        models = [_train(both, options, options.vocab_size, "tokenizer.vocab_size")] * 2
    else:
        src_size, tgt_size = (size or options.vocab_size for size in (options.src_vocab_size, options.tgt_vocab_size))
        models = [
            _train(chain.from_iterable(texts[0]), options, src_size, "tokenizer.src_vocab_size"),
            _train(chain.from_iterable(texts[1]), options, tgt_size, "tokenizer.tgt_vocab_size"),
        ]
    src, tgt = (Subwords(with_normalization(model, rule)) for model, rule in zip(models, rules, strict=True))
    return Tokenizer(src, tgt)


def _draw(corpus: Iterable[Pair], input_sentence_size: int, seed: int) -> list[Pair]:
    """A uniform sample of at most `input_sentence_size` pairs (a reservoir: one pass, bounded memory)."""
    rng = random.Random(seed)
    drawn: list[Pair] = []
    for number, pair in enumerate(corpus):
        if number < input_sentence_size:
            drawn.append(pair)
        elif (place := int(rng.random() * (number + 1))) < input_sentence_size:
            drawn[place] = pair
    return drawn


def _trainable(pairs: list[Pair], side: int, rule: Normalization) -> list[list[str]]:
    """The lines of a side for SentencePiece: normalized, and split if they are longer than its limit."""
    normalize = normalizer(rule)
    lines = [_cut(normalize(pair[side].translate(_RESERVED))) for pair in pairs]
    if not any(lines):
        which = ("source", "target")[side]
        raise ValueError(f"data.train: its {which} side is blank, so there is nothing to train a tokenizer on")
    return lines


def _cut(line: str) -> list[str]:
    """The line in parts within SentencePiece's limit, split at spaces if possible; no parts for a blank line."""
    if len(line) <= _MOST_CHARACTERS or len(line.encode()) <= _MOST_BYTES:
        return [line] if line.replace(SPACE, " ").strip() else []
    parts, begin = [], 0
    while begin < len(line):
        end = begin + _MOST_CHARACTERS
        space = line.rfind(" ", begin, end) if end < len(line) else -1
        end = space + 1 if space > begin else end
        parts += _cut(line[begin:end])
        begin = end
    return parts


def _train(text: Iterable[str], options: TokenizerOptions, vocab_size: int, setting: str) -> bytes:
    """The content of a .model file. text: already normalized. setting: the setting that gave the size."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text),
            model_writer=model,
            model_type=options.model_type.value,
            normalization_rule_name=Normalization.identity.value,
            vocab_size=vocab_size,
            character_coverage=options.character_coverage,
            byte_fallback=options.byte_fallback,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            num_threads=_THREADS,
            minloglevel=3,
        )
    except (RuntimeError, OSError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(_explain(str(error), options, vocab_size, setting)) from error
    return model.getvalue()


def _explain(message: str, options: TokenizerOptions, vocab_size: int, setting: str) -> str:
    """SentencePiece's exception as a message about the setting of the size."""
    model_type, byte_fallback = options.model_type, options.byte_fallback
    if most := re.search(r"set it to a value <= (\d+)", message):
        if int(most[1]) > 4 + 256 * byte_fallback:
            return (
                f"{setting}={vocab_size} is more than the text allows for kind {model_type.value}; try "
                f"{setting}={most[1]} or less"
            )
        return (
            f"the text has nothing of which kind {model_type.value} makes pieces; try tokenizer.model_type=bpe with "
            f"{setting}=300"
        )
    elif least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"{setting}={vocab_size} is too small to hold the characters of the text; try {setting}={least[1]} or "
            "more, or a "
            "lower tokenizer.character_coverage"
        )
    elif vocab_size < (reserved := len(NAMES) + 256 * byte_fallback) or "vocab_size) >= (0)" in message:
        what = "the special pieces and 256 bytes" if byte_fallback else "the special pieces"
        return f"{setting}={vocab_size} is too small to hold {what}; try {setting}={reserved + 1} or more"
    said = re.sub(r"^\w+: \S+\(\d+\) \[.*?\](?= |$)", "", " ".join(message.split())).strip() or "it gives no reason"
    return (
        f"SentencePiece could not train a tokenizer of kind {model_type.value} and {setting}={vocab_size}: {said[:300]}"
    )
