"""Word alignments from attention: pieces merged to words, links, link files, error rate, matrices on disk.

A link joins a source word and a target word, both counted from 0, source first, as in Pharaoh's `i-j`.
"""

from nmt.analysis.alignment.error_rate import AlignmentScores, alignment_error_rate
from nmt.analysis.alignment.extraction import (
    Alignment,
    TranslationLike,
    align,
    align_both,
    by_piece,
    no_attention,
    word_attention,
    word_links,
)
from nmt.analysis.alignment.formats import (
    GoldLinks,
    LinkFiles,
    parse_pharaoh,
    pharaoh,
    pharaoh_with_weights,
    read_links,
)
from nmt.analysis.alignment.gold import Gold, gold_beside, read_gold, read_gold_and_links
from nmt.analysis.alignment.linking import MIN_WEIGHT, Link, links, threshold_links
from nmt.analysis.alignment.matrices import AttentionWriter
from nmt.analysis.alignment.merging import WordAttention, drop_punctuation, merge
from nmt.analysis.alignment.symmetrize import (
    MIN_MEAN_WEIGHT,
    Symmetrization,
    combine,
    joint_links,
    mean_links,
    symmetrize,
)

__all__ = [
    "MIN_MEAN_WEIGHT",
    "MIN_WEIGHT",
    "Alignment",
    "AlignmentScores",
    "AttentionWriter",
    "Gold",
    "GoldLinks",
    "Link",
    "LinkFiles",
    "Symmetrization",
    "TranslationLike",
    "WordAttention",
    "align",
    "align_both",
    "alignment_error_rate",
    "by_piece",
    "combine",
    "drop_punctuation",
    "gold_beside",
    "joint_links",
    "links",
    "mean_links",
    "merge",
    "no_attention",
    "parse_pharaoh",
    "pharaoh",
    "pharaoh_with_weights",
    "read_gold",
    "read_gold_and_links",
    "read_links",
    "symmetrize",
    "threshold_links",
    "word_attention",
    "word_links",
]
