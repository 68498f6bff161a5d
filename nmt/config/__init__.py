"""Configuration: every setting, typed, and the only place that knows OmegaConf and Hydra.

A composed configuration becomes plain dataclasses once, in nmt.cli, and there is no config library beyond it.
"""
