"""The equations and the reference loops, and nothing else."""
