"""The keys of a configuration: those of its schema, and the folder that gives their values."""

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
# The YAML files lie inside the package where it is installed, and beside it in a clone.
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
FROM_CHECKPOINT = ("model", "tokenizer")  # determined by the checkpoint where one is given


def keys_under(schema: type, parent: str) -> list[str]:
    """The keys under the dotted key `parent`, or none if that is no section."""
    for part in parent.split(".") if parent else []:
        found = [f for f in fields(schema) if f.name == part]
        section = _section(found[0]) if found else None
        if section is None:
            return []
        schema = section
    return [f.name for f in fields(schema)]


def section_of(schema: type, name: str) -> str:
    """The section whose dataclass is called `name`, without the sections that it is in; "" where there is none."""
    for each in fields(schema):
        if section := _section(each):
            found = each.name if section.__name__ == name else section_of(section, name)
            if found:
                return found
    return ""


def full_keys_under(schema: type, key: str) -> list[str]:
    """The same, each with `key` before it."""
    return [f"{key}.{name}" for name in keys_under(schema, key)]


def all_keys(schema: type, prefix: str = "") -> Iterator[str]:
    """Every dotted key that holds a value, each with `prefix` before it."""
    for each in fields(schema):
        if section := _section(each):
            yield from all_keys(section, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}"


def _section(field: Field) -> type | None:
    """The dataclass of a field that is a section, None for a value."""
    return field.type if isinstance(field.type, type) and is_dataclass(field.type) else None
