"""Training SentencePiece on a bounded, repeatable sample of a corpus; the result is cached by content."""

import hashlib
import io
import random
import re
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from itertools import chain
from pathlib import Path

import sentencepiece

from nmt.data.cache import remove_abandoned, written_beside
from nmt.data.corpus import Corpus, Pair
from nmt.data.symbols import BOS, EOS, NAMES, PAD, UNK
from nmt.data.tokenizer.normalization import SPACE, Normalization, normalizer, with_normalization
from nmt.data.tokenizer.subwords import Subwords
from nmt.data.tokenizer.tokenizer import Tokenizer

_THREADS = 4  # the sums of the EM steps depend on how they are split, so the number is the same on every machine
_MOST_BYTES = 4192  # of a line, SentencePiece's max_sentence_length: it leaves out longer ones, and says nothing
_MOST_CHARACTERS = _MOST_BYTES // 4  # as many are never too long
_RESERVED = str.maketrans("\0\u2585", "  ")  # it leaves out what has one of these, too


class ModelType(Enum):
    """SentencePiece's model types."""

    unigram = "unigram"
    bpe = "bpe"
    word = "word"
    char = "char"


def train_tokenizer(
    corpus: Corpus,
    *,
    model_type: ModelType,
    joint: bool,
    src_vocab_size: int,
    tgt_vocab_size: int,
    character_coverage: float,
    byte_fallback: bool,
    input_sentence_size: int,
    seed: int,
    cache: str | Path | None = None,
    src_normalization: Normalization = Normalization.nmt_nfkc,
    tgt_normalization: Normalization = Normalization.identity,
) -> Tokenizer:
    """One vocabulary for both sides (joint: of `src_vocab_size` ids, which `tgt_vocab_size` must equal or be 0) or one
    for each.

    Each side's text is normalized by its own rule, in one vocabulary as in two. Training sees at most
    `input_sentence_size` pairs, drawn evenly from the whole corpus by `seed`, and gives the same bytes each time. Sizes
    count the four special ids and, with byte fallback, 256 bytes; for ModelType.char they are a ceiling, since the text
    decides how many characters there are. In `cache` results are kept by the content of the corpus and options.

    Raises ValueError, naming the setting and the limit, for a size the text cannot fill or that is too small for it;
    and where there is no text.
    """
    if joint and tgt_vocab_size not in (0, src_vocab_size):
        raise ValueError(
            f"a joint tokenizer has one size, but was given {src_vocab_size} and {tgt_vocab_size}; try "
            "tokenizer.vocab_size=N"
        )
    if input_sentence_size < 1:
        raise ValueError(f"tokenizer.input_sentence_size={input_sentence_size}: training needs at least one sentence")
    options = (
        model_type.value,
        joint,
        src_vocab_size,
        tgt_vocab_size,
        character_coverage,
        byte_fallback,
        input_sentence_size,
        seed,
    )
    rules = (src_normalization, tgt_normalization)
    kept = None
    if cache is not None:
        key = repr(
            ("tokenizer", 2, sentencepiece.__version__, corpus.digest(), options, [rule.value for rule in rules])
        )
        kept = Path(cache) / f"tokenizer-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        remove_abandoned(kept.parent, "tokenizer-")
        with suppress(ValueError):  # not there yet, or damaged: then it is made anew
            return Tokenizer.load(kept)

    pairs = _draw(corpus, input_sentence_size, seed)
    texts = [_trainable(pairs, side, rule) for side, rule in enumerate(rules)]
    if joint:
        both = chain.from_iterable(chain.from_iterable(lines) for lines in zip(*texts, strict=True))
        models = [
            _train(both, model_type, src_vocab_size, character_coverage, byte_fallback, "tokenizer.vocab_size")
        ] * 2
    else:
        sides = zip(
            texts,
            (src_vocab_size, tgt_vocab_size),
            ("tokenizer.src_vocab_size", "tokenizer.tgt_vocab_size"),
            strict=True,
        )
        models = [
            _train(chain.from_iterable(text), model_type, vocab_size, character_coverage, byte_fallback, setting)
            for text, vocab_size, setting in sides
        ]
    src, tgt = (Subwords(with_normalization(model, rule)) for model, rule in zip(models, rules, strict=True))
    tokenizer = Tokenizer(src, tgt)
    if kept is not None:
        with written_beside(kept, folder=True) as beside:
            tokenizer.save(beside)
    return tokenizer


def _draw(corpus: Iterable[Pair], input_sentence_size: int, seed: int) -> list[Pair]:
    """At most `input_sentence_size` pairs, each as likely as any other (a reservoir: one pass, bounded memory)."""
    rng = random.Random(seed)
    drawn: list[Pair] = []
    for number, pair in enumerate(corpus):
        if number < input_sentence_size:
            drawn.append(pair)
        elif (place := int(rng.random() * (number + 1))) < input_sentence_size:
            drawn[place] = pair
    return drawn


def _trainable(pairs: list[Pair], side: int, rule: Normalization) -> list[list[str]]:
    """Each line of a side as SentencePiece can learn from it: normalized, and cut where it is longer than it takes."""
    normalize = normalizer(rule)
    lines = [_cut(normalize(pair[side].translate(_RESERVED))) for pair in pairs]
    if not any(lines):
        which = ("source", "target")[side]
        raise ValueError(f"data.train: its {which} side is blank, so there is nothing to train a tokenizer on")
    return lines


def _cut(line: str) -> list[str]:
    """The line in parts that SentencePiece takes, cut at spaces where there are any; nothing of a blank one."""
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


def _train(
    text: Iterable[str],
    model_type: ModelType,
    vocab_size: int,
    character_coverage: float,
    byte_fallback: bool,
    setting: str,
) -> bytes:
    """The content of a .model file; `text` is normalized already."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text),
            model_writer=model,
            model_type=model_type.value,
            normalization_rule_name=Normalization.identity.value,
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            num_threads=_THREADS,
            minloglevel=3,
        )
    except (RuntimeError, OSError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(_explain(f"{error}", model_type, vocab_size, byte_fallback, setting)) from error
    return model.getvalue()


def _explain(message: str, model_type: ModelType, vocab_size: int, byte_fallback: bool, setting: str) -> str:
    """What SentencePiece's exception means for the person who set the size."""
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
