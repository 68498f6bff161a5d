"""What people look at: scores, alignments, pictures."""
