"""Attentional RNN translation: train, evaluate, translate, align."""

import os

__version__ = "0.2.0"

if os.name != "posix":
    raise ImportError("nmt needs a POSIX system, such as Linux, for its locks and signals; on Windows try WSL")
