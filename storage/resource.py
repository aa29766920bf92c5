"""A resource as a backend keeps it, and its links to others; adapters import these from `storage.adapter`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import orjson

Key = tuple[str, str]
"""Which resource: the name of its type, and its id. Data of others may have one id in two types."""


@dataclass(frozen=True, slots=True)
class Member:
    """One resource that is a member of another."""

    resource_id: str
    resource_type: str
    display: str | None = None

    @property
    def key(self) -> Key:
        return self.resource_type, self.resource_id


@dataclass(frozen=True, slots=True)
class Membership:
    """One resource that has another as a member, directly or through resources in between."""

    resource_id: str
    resource_type: str
    display: str | None
    direct: bool


@dataclass(frozen=True, slots=True)
class ReadAlong:
    """What a backend read together with a resource, about `ids` that a client names as its members.

    `existing` are the resources that have one of the ids, as `find` returns them; `members` are those that
    are members of the resource, as `among_members` returns them.
    """

    ids: frozenset[str]
    existing: Sequence[Member]
    members: Sequence[Member]


@dataclass
class StoredResource:
    """A resource as a backend keeps it.

    `text` is the JSON of the canonical resource without `meta`, without computed attributes and
    without `secrets`; where the backend has the capability `members`, without the membership
    attribute too. Elsewhere each member in it has `value` and `type`, and `display` only where that is
    not the one of the member itself. `secrets` maps paths of `returned: never` attributes to what is
    kept of them; `removed_secrets`, in what is written, are paths that are to have none any more
    (`takes_secrets`).
    `version` changes exactly when the resource changes; `created` and `last_modified` are UTC
    dateTimes with milliseconds. `place` is where the resource stands in the order of `scan`: a text of
    at most 128 characters that only the backend reads, and that compares as the order is; it stays
    while the resource exists. `joined` is False when the backend knows
    the resource to be a member of nothing, and None when it did not look. `memberships` are there
    when the backend has read them along: nobody need ask for them again. So is `read_along`, in what
    `get_to_patch` returns. `source` is what the backend read the resource from, for the backend alone, so
    that it need not be read again. `read_only` says that another program made the resource, and that nobody
    may change it through this server. `owner` is the client that the resource belongs to, None for nobody
    (`storage.owners`).

    No code changes a resource: the fields are final, which mypy checks. A frozen class would check it at run
    time, and take three times as long to make each resource of a page.
    """

    id: Final[str]
    text: Final[str]
    version: Final[str] = ""
    created: Final[str] = ""
    last_modified: Final[str] = ""
    secrets: Final[Mapping[str, str]] = field(default_factory=dict)
    place: Final[str] = ""
    joined: Final[bool | None] = None
    memberships: Final[Sequence[Membership] | None] = None
    removed_secrets: Final[frozenset[str]] = frozenset()
    source: Final[Any] = field(default=None, compare=False, repr=False)
    read_only: Final[bool] = False
    owner: Final[str | None] = None
    read_along: Final[ReadAlong | None] = field(default=None, compare=False, repr=False)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The parsed `text`; not to be changed."""
        document: dict[str, Any] = orjson.loads(self.text)
        return document


@dataclass(frozen=True)
class Adoptable:
    """A document of another program, with a line for each thing that is wrong with it.

    A document that `is_left` does not become a resource; of another one, only what is wrong is lost.
    """

    resource_type: str
    resource_id: str
    problems: Sequence[str] = ()
    is_left: bool = False
