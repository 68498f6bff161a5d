"""Parallel corpora: pairs of sentences, read strictly and as a stream, from files or from the `datasets` library."""

from nmt.data.corpus.concatenated import ConcatenatedCorpus
from nmt.data.corpus.files import FileCorpus, read_files, read_pair
from nmt.data.corpus.hub import HubCorpus, read_hub
from nmt.data.corpus.pairs import Corpus, EmptyLines, Pair
from nmt.data.corpus.spooled import Spooled, can_be_reread

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
