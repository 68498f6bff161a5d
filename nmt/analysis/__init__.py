"""Scores, alignments, heatmaps and reports."""
