"""Declared settings: their variables, their values in an environment, and their form in the log."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from typing import Any

from app.configuration.types import as_text
from app.configuration.variables import Unusable, file_variable, read_variable, without_passwords


def declarations(*kinds: type[Any]) -> Mapping[str, Field[Any]]:
    """Return the declared fields of some classes by name, each once."""
    return {entry.name: entry for kind in kinds for entry in fields(kind) if "read" in entry.metadata}


def variables(declared: Iterable[Field[Any]]) -> tuple[str, ...]:
    """Return the name of every environment variable that is read, other spellings included."""
    return tuple(name for entry in declared for name in (entry.name.upper(), *entry.metadata["also"]))


def file_variables(declared: Iterable[Field[Any]]) -> tuple[str, ...]:
    """Return the name of every variable that names a file with a secret."""
    return tuple(map(file_variable, variables(entry for entry in declared if entry.metadata["secret"])))


def read(kind: type[Any], environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    """Return the values that an environment has for the fields of a class, and add a line for each problem.

    An empty variable counts as not set, but for API_KEY: an empty key must not open the door
    with the default one.
    """
    values: dict[str, Any] = {}
    for entry in declarations(kind).values():
        name = entry.name.upper()
        try:
            name, raw = read_variable(environ, (name, *entry.metadata["also"]), entry.metadata["secret"])
            if raw is None or (raw == "" and name != "API_KEY"):
                continue
            values[entry.name] = entry.metadata["read"](raw)
        except Unusable as exc:
            problems.append(str(exc))
        except ValueError as exc:
            problems.append(f"{name}: {exc}")
    return values


def shown(*parts: Any) -> str:
    """Return settings as JSON for the log: without secrets, nor passwords in URLs."""
    return json.dumps(
        {
            name: without_passwords(as_text(getattr(part, name)))
            for part in parts
            for name, entry in declarations(type(part)).items()
            if not entry.metadata["secret"] and getattr(part, name) not in ("", None, ())
        }
    )
