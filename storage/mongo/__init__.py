"""Resources in MongoDB."""

from collections.abc import Mapping

from storage.mongo.adapter import MongoAdapter, MongoOptions
from storage.mongo.claims import CLAIMS
from storage.mongo.database import check_url
from storage.mongo.departures import DELETED
from storage.mongo.members import MEMBERS


def open_adapter(
    url: str,
    collections: Mapping[str, str],
    pool_size: int = 10,
    indexed: frozenset[str] | None = None,
) -> MongoAdapter:
    """Return an adapter on the database that `url` names, `scim` if none, without connecting to it.

    `collections` maps names of resource types to names of collections. Raises ValueError for a URL
    or a name that cannot be used.
    """
    check_url(url)
    for name in collections.values():
        if name in (MEMBERS, CLAIMS, DELETED) or name.startswith("system.") or "$" in name:
            raise ValueError(f"{name} cannot be the name of a collection of resources")
    return MongoAdapter(url, MongoOptions(collections, indexed, pool_size))
