"""The word alignment of a translation, by one model or by the models of both directions."""

from typing import NamedTuple, Protocol

import numpy as np

from nmt.analysis.alignment.linking import Link, links
from nmt.analysis.alignment.merging import WordAttention, drop_punctuation, merge
from nmt.analysis.alignment.symmetrize import Symmetrization, combine, joint_links, mean_links, symmetrize
from nmt.data.symbols import EOS, NAMES


class Alignment(NamedTuple):
    """Links; weights (Tw, Sw) and eos (Tw,) as in WordAttention; eos is None for two directions, which have no common
    one.

    Without links and with weights (Tw, 0) if the pair was too long for stored attention.
    """

    links: list[Link]
    weights: np.ndarray
    eos: np.ndarray | None


class TranslationLike(Protocol):
    """A translation with its attention; see nmt.decoding.translator.Translation."""

    @property
    def text(self) -> str: ...
    @property
    def log_prob(self) -> float: ...
    @property
    def src_words(self) -> list[str]: ...
    @property
    def tgt_words(self) -> list[str]: ...
    @property
    def src_pieces(self) -> list[str]: ...
    @property
    def tgt_pieces(self) -> list[str]: ...
    @property
    def weights(self) -> np.ndarray: ...
    @property
    def link_weights(self) -> np.ndarray | None: ...
    @property
    def src_word_of(self) -> list[int]: ...
    @property
    def tgt_word_of(self) -> list[int]: ...


class _Pieces(NamedTuple):
    """A translation whose words are its pieces."""

    text: str
    log_prob: float
    src_words: list[str]
    tgt_words: list[str]
    src_pieces: list[str]
    tgt_pieces: list[str]
    weights: np.ndarray
    src_word_of: list[int]
    tgt_word_of: list[int]
    link_weights: np.ndarray | None


def by_piece(translation: TranslationLike) -> TranslationLike:
    """The translation with its pieces as words, without the end of sentence: for text without spaces."""
    src_words, src_word_of = _as_words(translation.src_pieces)
    tgt_words, tgt_word_of = _as_words(translation.tgt_pieces)
    return _Pieces(
        translation.text,
        translation.log_prob,
        src_words,
        tgt_words,
        translation.src_pieces,
        translation.tgt_pieces,
        translation.weights,
        src_word_of,
        tgt_word_of,
        translation.link_weights,
    )


def _as_words(pieces: list[str]) -> tuple[list[str], list[int]]:
    """The pieces without the end of sentence, and the index of each piece among them, or -1."""
    words = pieces[:-1] if pieces[-1:] == [NAMES[EOS]] else pieces
    return words, [*range(len(words)), -1][: len(pieces)]


def word_attention(translation: TranslationLike) -> WordAttention:
    """Attention of target words over source words, pieces merged on both sides.

    Punctuation attached to a target word is ignored when its subwords are merged. A source word has the sum of the
    weights of its pieces. Without stored attention (the model has none, or the line is too long) the weights are (Tw,
    0), and eos is 1.
    """
    return _by_word(translation, translation.weights)


def _by_word(translation: TranslationLike, weights: np.ndarray) -> WordAttention:
    if not weights.size:
        return no_attention(len(translation.tgt_words))
    return merge(
        weights,
        drop_punctuation(translation.tgt_pieces, translation.tgt_word_of),
        translation.src_word_of,
        len(translation.tgt_words),
        len(translation.src_words),
    )


def no_attention(n_tgt: int) -> WordAttention:
    """The attention of `n_tgt` words without stored attention: weights (Tw, 0) for any length of the source."""
    return WordAttention(np.zeros((n_tgt, 0), np.float32), np.ones(n_tgt, np.float32))


def word_links(translation: TranslationLike) -> list[Link]:
    """The links of a translation's words; none for an empty translation."""
    return align(translation).links


def align(translation: TranslationLike, *, threshold: float | None = None) -> Alignment:
    """The alignment by one model, by its alignment head if it has one; threshold: see `links`."""
    of_links = translation.weights if translation.link_weights is None else translation.link_weights
    weights, eos = _by_word(translation, of_links)
    return Alignment(links(weights, threshold=threshold) if weights.size else [], weights, eos)


def align_both(
    forward: TranslationLike, backward: TranslationLike, how: Symmetrization, *, threshold: float | None = None
) -> Alignment:
    """The alignment by two models, the second of which translates in the other direction.

    Each direction gives links, with `threshold`, and `how` combines them; joint and mean give links from both matrices,
    with `threshold`. The weights are the mean of both directions with mean, otherwise their geometric mean. If one
    translation has no attention, because the pair is too long, there are neither links nor weights.
    """
    if not (forward.weights.size and backward.weights.size):
        return Alignment([], no_attention(len(forward.tgt_words)).weights, None)
    there, back = align(forward, threshold=threshold), align(backward, threshold=threshold)
    weights = combine(there.weights, back.weights)
    if how is Symmetrization.joint:
        found = joint_links(there.weights, back.weights, threshold=threshold)
    elif how is Symmetrization.mean:
        found = mean_links(there.weights, back.weights, threshold=threshold)
        weights = (there.weights + back.weights.T) / 2
    else:
        found = symmetrize(there.links, [(src, tgt) for tgt, src in back.links], how)
    return Alignment(found, weights, None)
