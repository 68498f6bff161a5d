"""Word alignments out of attention: pieces merged to words, links, link files, error rate, matrices on disk.

A link joins a source word and a target word, both counted from 0, source first, as in Pharaoh's `i-j`.
"""

from nmt.analysis.alignment.error_rate import Agreement, alignment_error_rate
from nmt.analysis.alignment.formats import GoldLinks, parse_pharaoh, pharaoh, read_links
from nmt.analysis.alignment.linking import NOTICED, Link, links
from nmt.analysis.alignment.matrices import AttentionWriter
from nmt.analysis.alignment.merging import WordAttention, merge

__all__ = [
    "NOTICED",
    "Agreement",
    "AttentionWriter",
    "GoldLinks",
    "Link",
    "WordAttention",
    "alignment_error_rate",
    "links",
    "merge",
    "parse_pharaoh",
    "pharaoh",
    "read_links",
]
