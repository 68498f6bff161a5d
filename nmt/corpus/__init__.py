"""Parallel corpora: pairs of sentences, read strictly and as a stream, from files or from the `datasets` library."""

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
