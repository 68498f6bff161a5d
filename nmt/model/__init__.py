"""Encoders and decoders as in the papers, and the sequence-to-sequence models."""
