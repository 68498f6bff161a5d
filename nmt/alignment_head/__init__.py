"""A module on top of a trained translator that links the words of given translations."""

from nmt.alignment_head.model import AlignmentHeadOptions, TranslatorWithHead

__all__ = ["AlignmentHeadOptions", "TranslatorWithHead"]
