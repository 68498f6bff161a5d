"""An error as one line for the person at the prompt: what is wrong, where, and what to try."""

import difflib
import re
import typing

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from nmt.cli.keys import CONFIGS, FROM_CHECKPOINT, all_keys, full_keys_under, keys_under, section_of
from nmt.config.paths import named_paths, path_of_error
from nmt.runtime.memory import out_of_memory


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
        if bare[1] == "experiment" and "experiment" not in keys_under(schema, "") and keys_under(schema, "trainer"):
            return "experiment: write +experiment=NAME, with a plus"
        return unknown_key(bare[1].replace("/", "."), schema)
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
    return unknown_key(found[1], schema) if found else ""


def unknown_key(key: str, schema: type) -> str:
    parent, _, last = key.rpartition(".")
    if key.split(".")[0] in FROM_CHECKPOINT and not keys_under(schema, key.split(".")[0]):
        return f"{key} cannot be set here: model and tokenizer come from the checkpoint"
    legal = keys_under(schema, parent)
    if last in legal:
        return f"{key}: cannot be replaced or taken away whole; set its keys: {', '.join(full_keys_under(schema, key))}"
    while parent and not legal:  # the parent may be the word that is wrong
        key = parent
        parent, _, last = key.rpartition(".")
        legal = keys_under(schema, parent)
    close = _closest(last, legal)
    if not close:
        leaves = list(all_keys(schema))
        near = difflib.get_close_matches(last, [leaf.rpartition(".")[2] for leaf in leaves], n=1)
        wanted = [leaf for leaf in leaves if near and leaf.rpartition(".")[2] == near[0]]
        close = f", did you mean {' or '.join(wanted[:3])}" if wanted else ""
    return f"{key}: no such key{close}; legal{f' under {parent}' if parent else ''} are {', '.join(legal)}"


def _explain_value(message: str, schema: type) -> str:
    """For a word, a number or a section that does not fit its key."""
    merged = r"In '([^']+)'.*?Merge error: \w+ is not a subclass of (\w+)\. value: ([^\n]*)"
    if merged := re.search(merged, message, re.S):
        section = section_of(schema, merged[2]) or merged[2]
        return f"{merged[1]}: {merged[3]} stands where the keys of {section} belong"
    if not (at := re.search(r"full_key: (\S+)", message)):
        return ""
    key = at[1]
    if word := re.search(r"Invalid value '([^']*)', expected one of \[([^\]]*)\]", message):
        options = word[2].split(", ")
        return f"{key}={word[1]}: no such word{_closest(word[1], options)}; legal are {', '.join(options)}"
    if "does not support deletion" in message:
        return f"~{key}: this key cannot be taken away; set it, or leave it as it is"
    if text := re.search(r"Cannot convert '(?:list|dict)' to string: '(.*)'\n", message):
        return f"{key}={text[1]}: give one value, not several"
    if re.search(r"is not a ListConfig, list or tuple|Cannot merge DictConfig with ListConfig", message):
        given = re.search(r"Error merging override [^=]*=([^\n]*)", message)
        return f"{key}={given[1] if given else ''}: give a list, such as {key}=[ONE,OTHER]"
    if truth := re.search(r"Value '(.*?)' is not a valid bool", message):
        return f"{key}={truth[1]}: give true or false"
    if number := re.search(r"Value '(.*?)'.*?could not be converted to (\w+)", message, re.S):
        kinds = {"Float": "a number, such as 0.001 or 1e-3", "Integer": "a whole number"}
        return f"{key}={number[1]}: give {kinds.get(number[2], number[2])}"
    if re.search(r"not Optional|non-optional|Non optional", message):
        return f"{key}=null: this key needs a value"
    if keys_under(schema, key):
        group = f", or {key.replace('.', '/')}=CHOICE" if (CONFIGS / key.replace(".", "/")).is_dir() else ""
        return f"{key}: this is a section; set one of its keys: {', '.join(full_keys_under(schema, key))}{group}"
    return ""


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = (line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "See https:")))
    return " ".join(shown) or repr(error)


def _closest(word: str, legal: list[str]) -> str:
    close = difflib.get_close_matches(word, legal, n=1)
    return f", did you mean {close[0]}" if close else ""
