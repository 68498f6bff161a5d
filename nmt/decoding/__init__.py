"""Decoding with a trained model: search, translation of lines, forced decoding."""
