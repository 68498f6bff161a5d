"""Word alignments out of attention: pieces merged to words, links, link files, error rate, matrices on disk.

A link joins a source word and a target word, both counted from 0, source first, as in Pharaoh's `i-j`.
"""

from nmt.analysis.alignment.error_rate import Agreement, alignment_error_rate
from nmt.analysis.alignment.formats import GoldLinks, LinkFiles, parse_pharaoh, pharaoh, read_links
from nmt.analysis.alignment.gold import Gold, read_gold, read_gold_and_links
from nmt.analysis.alignment.linking import NOTICED, Link, links
from nmt.analysis.alignment.matrices import AttentionWriter
from nmt.analysis.alignment.merging import WordAttention, merge, without_marks
from nmt.analysis.alignment.symmetrise import Symmetrise, agreed, combine, symmetrise
from nmt.analysis.alignment.translated import (
    Alignment,
    Translated,
    align,
    align_both,
    by_piece,
    no_attention,
    word_attention,
    word_links,
)

__all__ = [
    "NOTICED",
    "Agreement",
    "Alignment",
    "AttentionWriter",
    "Gold",
    "GoldLinks",
    "Link",
    "LinkFiles",
    "Symmetrise",
    "Translated",
    "WordAttention",
    "agreed",
    "align",
    "align_both",
    "alignment_error_rate",
    "by_piece",
    "combine",
    "links",
    "merge",
    "no_attention",
    "parse_pharaoh",
    "pharaoh",
    "read_gold",
    "read_gold_and_links",
    "read_links",
    "symmetrise",
    "without_marks",
    "word_attention",
    "word_links",
]
