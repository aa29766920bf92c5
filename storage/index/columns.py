"""A resource as a row of scim_resource, and as a SELECT returns it."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import orjson

from storage.adapter import StoredResource
from storage.index.dialect import Dialect
from storage.index.layout import TypeLayout
from storage.index_keys import place_of

# The columns of `resource_columns`.
_columns = itemgetter(*range(9))
_NO_SECRETS: Final[Mapping[str, str]] = {}


def narrow(layout: TypeLayout, resource: StoredResource) -> tuple[str | None, str | None]:
    """Return the columns `display` and `secrets` of scim_resource."""
    secrets = orjson.dumps(dict(resource.secrets)).decode() if resource.secrets else None
    return layout.resource_type.display(resource.document), secrets


def resource_row(
    layout: TypeLayout, resource: StoredResource, version: str, twin: int = 0
) -> tuple[Any, ...]:
    """Return a row of scim_resource."""
    dates = resource.created, resource.last_modified
    more = narrow(layout, resource)
    return layout.number, resource.id, int(version), *dates, *more, twin, int(version), resource.owner


def resource_columns(dialect: Dialect) -> str:
    """Return what makes a StoredResource, and whether it is a member of anything, as a SELECT."""
    return (
        f"SELECT r.rid, r.id, {dialect.text}, r.version, r.created, r.last_modified, r.secrets, r.owner, "
        # PostgreSQL would read all memberships for a page of a large store.
        f"EXISTS (SELECT 1 FROM scim_member m WHERE m.member_rid = r.rid{dialect.one_by_one})"
    )


def stored(row: Sequence[Any]) -> StoredResource:
    """Return the resource that a row begins with, in `resource_columns`; its source is the row's key."""
    rid, resource_id, details, version, created, last_modified, secrets, owner, joined = _columns(row)
    # Arguments by position: a page has many resources.
    return StoredResource(
        resource_id,
        details,
        str(version),
        created,
        last_modified,
        orjson.loads(secrets) if secrets else _NO_SECRETS,
        place_of(rid),
        joined == 1,
        None,
        frozenset(),
        rid,
        False,
        owner,
    )
