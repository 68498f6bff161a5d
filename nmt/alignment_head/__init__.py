"""An alignment head on top of a trained translator, which links the words of given translations."""

from nmt.alignment_head.model import AlignmentHeadOptions, TranslatorWithHead

__all__ = ["AlignmentHeadOptions", "TranslatorWithHead"]
