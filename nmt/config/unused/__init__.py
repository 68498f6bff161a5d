"""Settings without effect: if one is given on the command line, an error says what to do instead.

Defaults are allowed: a preset or an experiment may set a key of one optimizer or decoder while another is selected.
Settings of null or false are allowed too.
"""

from nmt.config.unused.commands import (
    ALIGN_BY_ALIGNER,
    ALIGN_BY_HEAD,
    ALIGN_BY_TRANSLATOR,
    TRANSLATE_WITH_HEAD,
    TRANSLATE_WITHOUT_PENALTY,
)
from nmt.config.unused.finetuning import is_inherited, refuse_other_model
from nmt.config.unused.given import given
from nmt.config.unused.refusal import refuse_unused
from nmt.config.unused.search import refuse_unused_search

__all__ = [
    "ALIGN_BY_ALIGNER",
    "ALIGN_BY_HEAD",
    "ALIGN_BY_TRANSLATOR",
    "TRANSLATE_WITHOUT_PENALTY",
    "TRANSLATE_WITH_HEAD",
    "given",
    "is_inherited",
    "refuse_other_model",
    "refuse_unused",
    "refuse_unused_search",
]
