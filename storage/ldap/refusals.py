"""Values that a server does not take: they stay in the JSON of the resource alone."""

from collections.abc import Callable
from typing import Any

import ldap

from storage.errors import UniquenessConflict
from storage.ldap.form import Unit

# What a server says of a value that it does not take, at the head of its explanation.
_REFUSALS = (ldap.INVALID_SYNTAX, ldap.CONSTRAINT_VIOLATION, ldap.TYPE_OR_VALUE_EXISTS)


def with_refusals(unit: Unit, write: Callable[[set[str]], str]) -> str:
    """Do `write`, without those standard attributes whose values the server does not take."""
    refused: set[str] = set()
    while True:
        try:
            return write(refused)
        except _REFUSALS as exc:
            said: Any = exc.args[0].get("info", "") if exc.args else ""
            if "non-unique" in said:
                raise UniquenessConflict(_path_in(unit, said)) from exc
            name = said.partition(":")[0].strip()
            known = {*unit.standard.attributes, unit.layout.external_id}
            if name not in known - refused:
                raise
            refused.add(name)


def _path_in(unit: Unit, said: str) -> str:
    """Return the SCIM attribute that a server names in its refusal, or the first unique one."""
    for link in unit.standard.links:
        if f"({link.attribute}=" in said:
            return link.path.text
    return unit.resource_type.unique_paths[0].text
