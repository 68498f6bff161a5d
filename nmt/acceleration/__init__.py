"""Faster computation of the results of nmt.model."""
