"""The command line: composes the configuration of a command, and prints an error in one line."""

from nmt.cli.command import run_command
from nmt.cli.errors import explain
from nmt.cli.keys import CONFIGS

__all__ = ["CONFIGS", "explain", "run_command"]
