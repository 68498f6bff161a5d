"""Attention: scores, what normalizes them, the positions they see, and what is made of the weights."""
