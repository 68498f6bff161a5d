"""From the command line to a configuration, and every mistake on it to one clear line."""

import difflib
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def door(name: str, main: Callable[..., None], schema: type) -> None:
    """Reads the command line with configs/NAME.yaml and calls main(config, overrides).

    A person's mistake (ValueError, OSError, anything Hydra refuses) is one line on standard error and exit code 2; Ctrl-C
    is exit code 130. NMT_TRACEBACK=1 shows where it came from.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    warnings.filterwarnings("ignore", category=UserWarning, module="hydra")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that its errors reach the handler below

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)
    def enter(composed: DictConfig) -> None:
        config = OmegaConf.to_object(composed)
        main(config, list(HydraConfig.get().overrides.task))

    try:
        enter()
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain again
            sys.exit(0)
        if os.environ.get("NMT_TRACEBACK"):
            raise
        print(f"error: {explain(error, schema)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def explain(error: BaseException, schema: type) -> str:
    """What went wrong, in one line, with the legal words where they are known."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None and len(chain) < 8:
        chain.append(cause)
    said = " ".join(str(each) for each in chain)
    if unknown := re.search(r"Could not override '([^']+)'.*?(?:Key '([^']+)' (?:is )?not in|full_key)", said, re.S):
        return _unknown_key(unknown.group(1), schema)
    if unknown := re.search(r"Key '([^']+)' (?:is )?not in '([^']+)'.*?full_key: (\S+)", said, re.S):
        return _unknown_key(unknown.group(3), schema)
    if missing := re.search(r"Could not find '([^']+?)'\s+Available options in '([^']+)':(.*)", str(error), re.S):
        options = [word for word in missing.group(3).split() if word]
        group, _, word = missing.group(1).rpartition("/")
        return f"{group}={word}: no such choice{_closest(word, options)}; legal are {', '.join(sorted(options))}"
    if word := re.search(r"Invalid value '([^']*)', expected one of \[([^\]]*)\].*?full_key: (\S+)", said, re.S):
        options = word.group(2).split(", ")
        return f"{word.group(3)}={word.group(1)}: no such word{_closest(word.group(1), options)}; legal are {', '.join(options)}"
    if number := re.search(r"Value '([^']*)'.*?could not be converted to (\w+).*?full_key: (\S+)", said, re.S):
        kind = {"Float": "a number, such as 0.001 or 1e-3", "Integer": "a whole number", "Bool": "true or false"}
        return f"{number.group(3)}={number.group(1)}: give {kind.get(number.group(2), number.group(2))}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(
        line for line in lines if not line.startswith(("full_key", "object_type", "reference_type"))
    ) or repr(error)


def _unknown_key(key: str, schema: type) -> str:
    parent, _, last = key.rpartition(".")
    legal = _keys(schema, parent)
    where = f" under {parent}" if parent else ""
    if parent.startswith("model") and not any(f.name == "model" for f in fields(schema)):
        return f"{key} cannot be set here: model and tokenizer come from the checkpoint"
    if last in ("model", "tokenizer") or (key.split(".")[0] in ("model", "tokenizer") and not legal):
        return f"{key} cannot be set here: model and tokenizer come from the checkpoint"
    return f"{key}: no such key{_closest(last, legal)}; legal{where} are {', '.join(legal)}"


def _keys(schema: type, parent: str) -> list[str]:
    for part in parent.split(".") if parent else []:
        found = [f for f in fields(schema) if f.name == part]
        if not found or not (isinstance(found[0].type, type) and is_dataclass(found[0].type)):
            return []
        schema = found[0].type
    return [f.name for f in fields(schema)]


def _closest(word: str, legal: list[str]) -> str:
    close = difflib.get_close_matches(word, legal, n=1)
    return f", did you mean {close[0]}" if close else ""
