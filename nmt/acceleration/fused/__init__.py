"""The loops over steps, fused: the results of ``nmt.layers.loops`` with a hand-written backward."""

from nmt.acceleration.fused.loops import FusedLoops

__all__ = ["FusedLoops"]
