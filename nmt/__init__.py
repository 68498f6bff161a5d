"""Attentional RNN translation: train, evaluate, translate, align.

From Python: `nmt.load`, `nmt.word_attention`, `nmt.word_links`, `nmt.draw_heatmap`; see nmt.api.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmt.api import TrainedModel, Translation, draw_heatmap, load, word_attention, word_links

__version__ = "0.2.0"
__all__ = ["TrainedModel", "Translation", "__version__", "draw_heatmap", "load", "word_attention", "word_links"]

if os.name != "posix":
    raise ImportError("nmt needs a POSIX system, such as Linux, for its locks and signals; on Windows try WSL")


def __getattr__(name: str) -> Any:
    """Imports nmt.api at the first use of one of its names: its import is slow, and the commands do not need it."""
    if name not in __all__:
        raise AttributeError(f"module 'nmt' has no attribute {name!r}")
    from nmt import api

    return getattr(api, name)
