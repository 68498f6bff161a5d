"""Configuration: every knob, typed, and the only place that knows OmegaConf and Hydra.

A composed configuration becomes plain dataclasses once, at the door, and there is no config library beyond it.
"""
