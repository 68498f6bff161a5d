"""The equations, and nothing else."""
