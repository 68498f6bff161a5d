"""The command line: composes the configuration of a command, and prints an error in one line."""

import argparse
import contextlib
import difflib
import os
import re
import sys
import tempfile
import typing
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nmt.config.paths import named_paths, path_keys, path_of_error, prepare_paths
from nmt.config.streams import drop_output, flush_output, settle_closed_streams
from nmt.config.unused import refuse_unused
from nmt.runtime.memory import out_of_memory

_PACKAGE = Path(__file__).resolve().parent
# The YAML files lie inside the package where it is installed, and beside it in a clone.
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
_UNREADABLE = re.compile(r"[~!#&;<>^`]|[^\x00-\x7f]")
FROM_CHECKPOINT = ("model", "tokenizer")  # determined by the checkpoint where one is given


def run_command(name: str, main: Callable[..., float | None], schema: type) -> None:
    """Reads the command line with configs/NAME.yaml and calls main(config, overrides), once for each job of --multirun.

    What main returns goes to Hydra, whose sweeper may look for the best of it; a job that was refused returns None.
    A person's mistake (ValueError, OSError, anything Hydra refuses) is one line on standard error and exit code 2;
    Ctrl-C is exit code 130. NMT_TRACEBACK=1 shows where it came from.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    warnings.filterwarnings("ignore", category=UserWarning, module="hydra")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that its errors reach the handlers below
    refused = 0
    config: typing.Any = None
    settle_closed_streams()

    # An error is reported here, inside Hydra: it would add its own lines, and drop the rest of a sweep.
    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)
    def enter(composed: DictConfig) -> float | None:
        nonlocal refused, config
        config, found = None, None
        try:
            overrides = OmegaConf.to_container(HydraConfig.get().overrides.task)  # as written: a=${b} stays so
            assert isinstance(overrides, list)
            _check_keys(composed, schema)
            config = OmegaConf.to_object(composed)
            if not getattr(config, "resume", None):  # what a run goes on with is known once it is opened
                refuse_unused(config, overrides)
            prepare_paths(config)
            found = main(config, overrides)
            flush_output()  # here, and not at exit, where a full disk or a reader that has gone could not be answered
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
    """Raises ValueError for a key that `+key=value` added or `~key` took away: Hydra lets both through."""
    for key, section in _sections(composed):
        legal = _keys(schema, key)
        for name in map(str, section):
            if name not in legal:
                raise ValueError(_unknown_key(f"{key}.{name}" if key else name, schema))
        if gone := [f"{key}.{name}" if key else name for name in legal if name not in section]:
            raise ValueError(f"~{gone[0]}: this key cannot be taken away; set it, or leave it as it is")


def _sections(composed: DictConfig, key: str = "") -> Iterator[tuple[str, DictConfig]]:
    yield key, composed
    for name in composed:
        child = composed._get_node(name)
        if isinstance(child, DictConfig) and OmegaConf.get_type(child) is not dict:
            yield from _sections(child, f"{key}.{name}" if key else str(name))


def _report(error: Exception, schema: type, config: typing.Any = None) -> None:
    """The line that says what went wrong, if it is a person's mistake; ours is raised."""
    mistake = isinstance(error, (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError))
    if not (mistake or out_of_memory(error)) or os.environ.get("NMT_TRACEBACK"):
        raise error
    print(f"error: {explain(error, schema, config)}", file=sys.stderr)


@contextlib.contextmanager
def _read_flags(schema: type) -> Iterator[None]:
    """Refuses, in one line, unknown flags and settings that a checkpoint determines; moves Hydra's files of a sweep.

    The configuration of each job of a sweep is in its run folder; Hydra's folders would only repeat it. A sweeper's
    own results stay where hydra.sweep.dir= names a folder.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> typing.NoReturn:
        raise ValueError(f"{message}; settings are written key=value, without dashes: see --help")

    parser = get_args_parser()
    parser.error = refuse  # pyright: ignore[reportAttributeAccessIssue]
    flags: argparse.Namespace = parser.parse_args()
    for override in flags.overrides:
        key = re.split("[=@]", override.lstrip("+~"))[0].replace("/", ".")
        if key.split(".")[0] in FROM_CHECKPOINT and not _keys(schema, key.split(".")[0]):
            raise ValueError(_unknown_key(key, schema))
    quoted = {each: _quote_path(each) for each in flags.overrides if each.partition("=")[0] in path_keys(schema)}
    sys.argv = [quoted.get(word, word) for word in sys.argv]
    with contextlib.ExitStack() as stack:
        if flags.multirun and not any(each.startswith("hydra.sweep.dir=") for each in flags.overrides):
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="nmt-"))
            words = [each in flags.overrides or each in quoted.values() for each in sys.argv]
            # Beside another setting: argparse takes those that stand together, before or after --multirun.
            at = words.index(True) if True in words else len(sys.argv)
            sys.argv = [*sys.argv[:at], f"hydra.sweep.dir={scratch}", *sys.argv[at:]]
        yield


def _quote_path(override: str) -> str:
    """key=~/x as key='~/x', in a list too: Hydra can read neither a tilde nor a letter beyond ASCII without quotes."""
    key, _, value = override.partition("=")
    if not _UNREADABLE.search(value) or re.search("^{|['\"]", value):
        return override
    return f"{key}=" + re.sub(r"[^\[\],]+", lambda part: f"'{part[0].strip()}'" if part[0].strip() else "", value)


def explain(error: BaseException, schema: type, config: typing.Any = None) -> str:
    """What went wrong, in one line, with the legal words, or the key that gave a path, where they are known."""
    if out_of_memory(error):
        return f"not enough memory for this: try smaller sizes, batch.size or decode.batch_size ({_one_line(error)})"
    if isinstance(error, OSError) and error.strerror:
        file = path_of_error(error, config)
        return f"{file}: {error.strerror}" if file else f"{error.strerror}{_outputs(config)}"
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return _one_line(error)
    if isinstance(error, OverrideParseException):
        return _explain_syntax(error)
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 8:
        chain.append(cause)
    message = "\n".join(str(each) for each in chain)
    return (
        _explain_choice(message, schema)
        or _explain_key(message, schema)
        or _explain_value(message, schema)
        or _one_line(error)
    )


def _outputs(config: typing.Any) -> str:
    """The places that a command writes to, for an error that names no file."""
    outputs = [str(path) for path in named_paths(config) if path.written] if config is not None else []
    return f": cannot write in {' or '.join(outputs)}" if outputs else ""


def _explain_syntax(error: OverrideParseException) -> str:
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"{key}: not key=value; see --help for examples"
    quoted = value.replace("'", "\\'")
    return f"{key}={value}: cannot be read; if it is all one text, quote it twice: \"{key}='{quoted}'\""


def _explain_choice(message: str, schema: type) -> str:
    """For a group option that does not exist, and a group chosen in the wrong way."""
    if missing := re.search(
        r"Could not find '([^']+?)'\s+Available options in '([^']+)':(.*?)\n(?:Config|$)", message, re.S
    ):
        options = sorted(word for word in missing[3].split() if word)
        group, _, word = missing[1].rpartition("/")
        plus = "+" if group == "experiment" else ""
        return f"{plus}{group}={word}: no such choice{_closest(word, options)}; legal are {', '.join(options)}"
    if bare := re.search(r"Could not override '([^']+)'\.\s*No match in the defaults list", message):
        if bare[1] == "experiment" and "experiment" not in _keys(schema, "") and _keys(schema, "trainer"):
            return "experiment: write +experiment=NAME, with a plus"
        return _unknown_key(bare[1].replace("/", "."), schema)
    if twice := re.search(r"Multiple values for (\S+)\.", message):
        return f"+{twice[1]}: this group has a choice already; write {twice[1]}=CHOICE, without the plus"
    if several := re.search(r"Ambiguous value for argument '([^=]+)=(.*?)'\n", message):
        key, value = several.groups()
        return f"{key}={value}: more than one value; write {key}=[{value}] for a list, or add --multirun to run each"
    if twice := re.search(r"Could not append to config\. An item is already at '([^']+)'", message):
        return f"+{twice[1]}: the key exists; write {twice[1]}=VALUE, without the plus"
    return ""


def _explain_key(message: str, schema: type) -> str:
    """For a key that is in no schema, at any depth."""
    found = re.search(r"Key '[^']*' (?:is )?not in .*?full_key: (\S+)", message, re.S)
    found = found or re.search(r"Could not (?:override|append|delete)[^']*'([^']+)'", message)
    return _unknown_key(found[1], schema) if found else ""


def _unknown_key(key: str, schema: type) -> str:
    parent, _, last = key.rpartition(".")
    if key.split(".")[0] in FROM_CHECKPOINT and not _keys(schema, key.split(".")[0]):
        return f"{key} cannot be set here: model and tokenizer come from the checkpoint"
    legal = _keys(schema, parent)
    if last in legal:
        return f"{key}: cannot be replaced or taken away whole; set its keys: {', '.join(_under(schema, key))}"
    while parent and not legal:  # the parent may be the word that is wrong
        key = parent
        parent, _, last = key.rpartition(".")
        legal = _keys(schema, parent)
    close = _closest(last, legal)
    if not close:
        leaves = list(_leaves(schema))
        near = difflib.get_close_matches(last, [leaf.rpartition(".")[2] for leaf in leaves], n=1)
        wanted = [leaf for leaf in leaves if near and leaf.rpartition(".")[2] == near[0]]
        close = f", did you mean {' or '.join(wanted[:3])}" if wanted else ""
    return f"{key}: no such key{close}; legal{f' under {parent}' if parent else ''} are {', '.join(legal)}"


def _explain_value(message: str, schema: type) -> str:
    """For a word, a number or a section that does not fit its key."""
    merged = r"In '([^']+)'.*?Merge error: \w+ is not a subclass of (\w+)\. value: ([^\n]*)"
    if merged := re.search(merged, message, re.S):
        section = _section_of(schema, merged[2]) or merged[2]
        return f"{merged[1]}: {merged[3]} stands where the keys of {section} belong"
    if not (at := re.search(r"full_key: (\S+)", message)):
        return ""
    key = at[1]
    if word := re.search(r"Invalid value '([^']*)', expected one of \[([^\]]*)\]", message):
        options = word[2].split(", ")
        return f"{key}={word[1]}: no such word{_closest(word[1], options)}; legal are {', '.join(options)}"
    if "does not support deletion" in message:
        return f"~{key}: this key cannot be taken away; set it, or leave it as it is"
    if truth := re.search(r"Value '(.*?)' is not a valid bool", message):
        return f"{key}={truth[1]}: give true or false"
    if number := re.search(r"Value '(.*?)'.*?could not be converted to (\w+)", message, re.S):
        kinds = {"Float": "a number, such as 0.001 or 1e-3", "Integer": "a whole number"}
        return f"{key}={number[1]}: give {kinds.get(number[2], number[2])}"
    if re.search(r"not Optional|non-optional|Non optional", message):
        return f"{key}=null: this key needs a value"
    if _keys(schema, key):
        group = f", or {key.replace('.', '/')}=CHOICE" if (CONFIGS / key.replace(".", "/")).is_dir() else ""
        return f"{key}: this is a section; set one of its keys: {', '.join(_under(schema, key))}{group}"
    return ""


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = (line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "See https:")))
    return " ".join(shown) or repr(error)


def _keys(schema: type, parent: str) -> list[str]:
    """The keys under the dotted key `parent`, or none if that is no section."""
    for part in parent.split(".") if parent else []:
        found = [f for f in fields(schema) if f.name == part]
        if not found or not (isinstance(found[0].type, type) and is_dataclass(found[0].type)):
            return []
        schema = found[0].type
    return [f.name for f in fields(schema)]


def _section_of(schema: type, name: str) -> str:
    """The section whose dataclass is called `name`, without the sections that it is in; "" where there is none."""
    for each in fields(schema):
        if isinstance(each.type, type) and is_dataclass(each.type):
            found = each.name if each.type.__name__ == name else _section_of(each.type, name)
            if found:
                return found
    return ""


def _under(schema: type, key: str) -> list[str]:
    return [f"{key}.{name}" for name in _keys(schema, key)]


def _leaves(schema: type, prefix: str = "") -> Iterator[str]:
    for each in fields(schema):
        if isinstance(each.type, type) and is_dataclass(each.type):
            yield from _leaves(each.type, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}"


def _closest(word: str, legal: list[str]) -> str:
    close = difflib.get_close_matches(word, legal, n=1)
    return f", did you mean {close[0]}" if close else ""
