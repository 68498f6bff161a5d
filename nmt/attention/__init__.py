"""Attention: scores, normalizers, local windows, several heads and hard attention."""
