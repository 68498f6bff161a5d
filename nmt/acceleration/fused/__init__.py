"""The loops over steps, fused: what ``nmt.layers.loops`` computes step by step, with a hand-written backward."""

from nmt.acceleration.fused.loops import FusedLoops

__all__ = ["FusedLoops"]
