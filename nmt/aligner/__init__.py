"""A neural hidden Markov word aligner: its equations, its model of both directions, and the alignment of pairs."""

from nmt.aligner.model import Aligner, AlignerOptions, Vocabulary

__all__ = ["Aligner", "AlignerOptions", "Vocabulary"]
