"""A checkpoint on disk: a folder that is whole or absent, and that nothing has to be executed to read."""

from nmt.training.checkpoint.optimizer import pack_optimizer, unpack_optimizer
from nmt.training.checkpoint.placing import discard, link, named, recover, standing, write
from nmt.training.checkpoint.reading import check_fit, read, read_config, read_update, verify
from nmt.training.checkpoint.snapshot import FORMAT, Snapshot

__all__ = [
    "FORMAT",
    "Snapshot",
    "check_fit",
    "discard",
    "link",
    "named",
    "pack_optimizer",
    "read",
    "read_config",
    "read_update",
    "recover",
    "standing",
    "unpack_optimizer",
    "verify",
    "write",
]
