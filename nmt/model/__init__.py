"""Encoders and decoders as the papers write them, and the two together."""
