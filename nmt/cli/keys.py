"""The keys of a configuration, from its schema, and the folder of the YAML files with their values."""

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
# The YAML files are inside the installed package, and beside it in a clone.
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
FROM_CHECKPOINT = ("model", "tokenizer")  # determined by the checkpoint if one is given


def keys_under(schema: type, parent: str) -> list[str]:
    """The keys under the dotted key `parent`; none if it is not a section."""
    for part in parent.split(".") if parent else []:
        found = [f for f in fields(schema) if f.name == part]
        section = _section(found[0]) if found else None
        if section is None:
            return []
        schema = section
    return [f.name for f in fields(schema)]


def section_of(schema: type, name: str) -> str:
    """The section whose dataclass is called `name`, without its parent sections; "" if there is none."""
    for each in fields(schema):
        if section := _section(each):
            found = each.name if section.__name__ == name else section_of(section, name)
            if found:
                return found
    return ""


def full_keys_under(schema: type, key: str) -> list[str]:
    """`keys_under`, each with the prefix `key`."""
    return [f"{key}.{name}" for name in keys_under(schema, key)]


def all_keys(schema: type, prefix: str = "") -> Iterator[str]:
    """Every dotted key that has a value, each with `prefix` before it."""
    for each in fields(schema):
        if section := _section(each):
            yield from all_keys(section, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}"


def _section(field: Field) -> type | None:
    """The dataclass of a field that is a section; None for a value."""
    return field.type if isinstance(field.type, type) and is_dataclass(field.type) else None
