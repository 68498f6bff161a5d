"""Attentional RNN translation: train, evaluate, translate, and look at the alignments."""

import os

__version__ = "0.1.0"

if os.name != "posix":
    raise ImportError("nmt needs a POSIX system, such as Linux, for its locks and signals; on Windows try WSL")
