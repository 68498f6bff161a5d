"""A neural hidden Markov word aligner: its equations, its model of both directions, and the alignment of pairs."""

from nmt.aligner.direction import AlignerOptions
from nmt.aligner.model import Aligner
from nmt.aligner.vocabulary import Vocabulary, untrained_vocabulary, vocabularies

__all__ = ["Aligner", "AlignerOptions", "Vocabulary", "untrained_vocabulary", "vocabularies"]
