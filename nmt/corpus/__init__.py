"""Parallel corpora: pairs of sentences, read in a stream and checked, from files or from the `datasets` library."""

from nmt.corpus.concatenated import ConcatenatedCorpus
from nmt.corpus.files import FileCorpus, read_files, read_pair
from nmt.corpus.hub import HubCorpus, read_hub
from nmt.corpus.pairs import Corpus, EmptyLines, Pair
from nmt.corpus.spooled import Spooled, can_be_reread

__all__ = [
    "ConcatenatedCorpus",
    "Corpus",
    "EmptyLines",
    "FileCorpus",
    "HubCorpus",
    "Pair",
    "Spooled",
    "can_be_reread",
    "read_files",
    "read_hub",
    "read_pair",
]
