"""What resources are in iRODS: accounts of a type, known by a number."""

import re
from dataclasses import dataclass
from typing import Final

from schema.resource_type import ResourceType
from storage.adapter import StoredResource
from storage.errors import ResourceNotFound
from storage.irods.form import KeyAvus
from storage.irods.wire import Avu

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
# How many ids are asked for in one query.
SOME: Final = 50


@dataclass(frozen=True)
class Kind:
    """Resources of one type as accounts: what type those are, and which attribute their name is."""

    resource_type: ResourceType
    account_type: str
    naming: str
    keys: KeyAvus


@dataclass(frozen=True)
class Account:
    """An account as iRODS knows it."""

    number: int
    name: str
    account_type: str
    created: str
    modified: str


@dataclass(frozen=True)
class State:
    """All that a writer must know: the account, its resource as it is, and the metadata that is ours."""

    account: Account
    stored: StoredResource
    avus: frozenset[Avu]


def number_of(resource_id: str) -> int | None:
    """Return the number that an id of iRODS is, or None for text that is none."""
    return int(resource_id) if _ID.fullmatch(resource_id) else None


def required(kind: Kind, resource_id: str) -> int:
    number = number_of(resource_id)
    if number is None:
        raise ResourceNotFound(kind.resource_type.name, resource_id)
    return number
