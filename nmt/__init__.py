"""Attentional RNN translation: train, evaluate, translate, and look at the alignments."""
