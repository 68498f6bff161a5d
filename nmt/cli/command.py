"""Runs a command: its flags, its configuration, each job of a sweep, and its exit code."""

import argparse
import contextlib
import os
import re
import sys
import tempfile
import typing
import warnings
from collections.abc import Callable, Iterator

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nmt.cli.errors import explain, unknown_key
from nmt.cli.keys import CONFIGS, FROM_CHECKPOINT, keys_under
from nmt.config.paths import prepare_paths, text_keys
from nmt.config.streams import drop_output, flush_output, settle_closed_streams
from nmt.config.unused import refuse_unused
from nmt.runtime.memory import out_of_memory

_UNREADABLE = re.compile(r"[~!#&;<>^`]|[^\x00-\x7f]")
_NO_TEXT = re.compile(r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[+-]?[\d_]+)?|[+-]?(inf|nan)|true|false", re.IGNORECASE)
# Of a value: texts in quotes; these, or what is between separators; what Hydra takes literally after a backslash.
_QUOTED = re.compile(r"""'(?:\\.|[^'])*'|"(?:\\.|[^"])*\"""")
_ELEMENT = re.compile(rf"""{_QUOTED.pattern}|(?:\\.|[^][,'"\\])+|\\""")
_ESCAPED = re.compile(r"\\([\\()\[\]{},:= \t])")


def run_command(name: str, main: Callable[..., float | None], schema: type) -> None:
    """Reads the command line with configs/NAME.yaml and calls main(config, overrides), once for each job of --multirun.

    The result of main is returned to Hydra, whose sweeper may optimize it; it is None for a job with an error. A user
    error (ValueError, OSError, any error of Hydra) is one line on standard error and exit code 2; Ctrl-C is exit code
    130. NMT_TRACEBACK=1 prints the traceback.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    warnings.filterwarnings("ignore", category=UserWarning, module="hydra")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra's errors reach the handlers below
    refused = 0
    config: typing.Any = None
    settle_closed_streams()

    # Errors are reported here, inside Hydra, which would otherwise add lines, and drop the rest of a sweep.
    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)
    def enter(composed: DictConfig) -> float | None:
        nonlocal refused, config
        config, found = None, None
        try:
            overrides = OmegaConf.to_container(HydraConfig.get().overrides.task)  # as typed: a=${b} is not resolved
            assert isinstance(overrides, list)
            _check_keys(composed, schema)
            config = OmegaConf.to_object(composed)
            if not getattr(config, "resume", None):  # the settings of a resumed run are known once it is opened
                refuse_unused(config, overrides)
            prepare_paths(config)
            found = main(config, overrides)
            flush_output()  # at exit, an error for a full disk or a closed pipe could not be handled
        except BrokenPipeError:
            drop_output()
            sys.exit(0)
        except Exception as error:
            _report(error, schema, config)
            refused += 1
            return None
        return found

    try:
        with _read_flags(schema):
            try:
                enter()
            finally:
                with contextlib.suppress(OSError) if refused else contextlib.nullcontext():
                    flush_output()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        drop_output()
        sys.exit(0)
    except Exception as error:
        _report(error, schema, config)
        refused += 1
    if refused:
        sys.exit(2)


def _check_keys(composed: DictConfig, schema: type) -> None:
    """Raises ValueError for a key that `+key=value` added or `~key` removed: Hydra accepts both."""
    for key, section in _sections(composed):
        legal = keys_under(schema, key)
        for name in map(str, section):
            if name not in legal:
                raise ValueError(unknown_key(f"{key}.{name}" if key else name, schema))
        if gone := [f"{key}.{name}" if key else name for name in legal if name not in section]:
            raise ValueError(f"~{gone[0]}: this key cannot be taken away; set it, or leave it as it is")


def _sections(composed: DictConfig, key: str = "") -> Iterator[tuple[str, DictConfig]]:
    yield key, composed
    for name in composed:
        child = composed._get_node(name)
        if isinstance(child, DictConfig) and OmegaConf.get_type(child) is not dict:
            yield from _sections(child, f"{key}.{name}" if key else str(name))


def _report(error: Exception, schema: type, config: typing.Any = None) -> None:
    """Prints the message of a user error; raises all other errors."""
    mistake = isinstance(error, (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError))
    if not (mistake or out_of_memory(error)) or os.environ.get("NMT_TRACEBACK"):
        raise error
    print(f"error: {explain(error, schema, config)}", file=sys.stderr)


@contextlib.contextmanager
def _read_flags(schema: type) -> Iterator[None]:
    """Raises an error for unknown flags and for settings that a checkpoint determines; moves Hydra's files of a sweep.

    The configuration of each job of a sweep is in its run folder, so Hydra's folders are redundant. A sweeper's own
    results are kept if hydra.sweep.dir= gives a folder.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> typing.NoReturn:
        raise ValueError(f"{message}; settings are written key=value, without dashes: see --help")

    parser = get_args_parser()
    parser.error = refuse  # pyright: ignore[reportAttributeAccessIssue]
    flags: argparse.Namespace = parser.parse_args()
    for override in flags.overrides:
        key = re.split("[=@]", override.lstrip("+~"))[0].replace("/", ".")
        if key.split(".")[0] in FROM_CHECKPOINT and not keys_under(schema, key.split(".")[0]):
            raise ValueError(unknown_key(key, schema))
    texts = set(text_keys(schema))
    quoted = {each: _quote_text(each) for each in flags.overrides if each.partition("=")[0].lstrip("+") in texts}
    sys.argv = [quoted.get(word, word) for word in sys.argv]
    with contextlib.ExitStack() as stack:
        if flags.multirun and not any(each.startswith("hydra.sweep.dir=") for each in flags.overrides):
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="nmt-"))
            words = [each in flags.overrides or each in quoted.values() for each in sys.argv]
            # Next to another override: argparse accepts only consecutive ones, before or after --multirun.
            at = words.index(True) if True in words else len(sys.argv)
            sys.argv = [*sys.argv[:at], f"hydra.sweep.dir={scratch}", *sys.argv[at:]]
        yield


def _quote_text(override: str) -> str:
    """Turns key=~/x into key='~/x', also in a list: Hydra requires quotes for tildes and letters outside of ASCII.
    Without quotes it would take 2026_01 and 1.50 for the numbers 202601 and 1.5."""
    key, _, value = override.partition("=")
    if value.startswith("{") or re.match(r"\w+\(", value, re.ASCII):  # or a function of Hydra's, such as range(1,5)
        return override
    if re.search("['\"]", _QUOTED.sub("", value)):  # Hydra reports it
        return override

    def quote(match: re.Match[str]) -> str:
        text = match[0].strip()
        if _QUOTED.fullmatch(text) or not (_UNREADABLE.search(text) or _NO_TEXT.fullmatch(text)):
            return match[0]
        literal = _ESCAPED.sub(r"\1", text)
        return match[0].replace(text, f"'{literal}'")

    return f"{key}={_ELEMENT.sub(quote, value)}"
