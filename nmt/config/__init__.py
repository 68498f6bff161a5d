"""The configuration: every setting with its type. Only this package, nmt.cli and nmt.build use OmegaConf and Hydra.

nmt.cli converts a composed configuration to plain dataclasses, which all other code receives.
"""
