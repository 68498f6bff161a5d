"""Checkpoints on disk: a folder is complete or absent; reading a checkpoint executes no code."""

from nmt.checkpoint.optimizer import pack_optimizer, unpack_optimizer
from nmt.checkpoint.reading import check_fit, read, read_calibration, read_config, read_update, verify
from nmt.checkpoint.snapshot import FORMAT, Snapshot
from nmt.checkpoint.writing import delete, hard_link, named, recover, resolve, write, write_calibration

__all__ = [
    "FORMAT",
    "Snapshot",
    "check_fit",
    "delete",
    "hard_link",
    "named",
    "pack_optimizer",
    "read",
    "read_calibration",
    "read_config",
    "read_update",
    "recover",
    "resolve",
    "unpack_optimizer",
    "verify",
    "write",
    "write_calibration",
]
