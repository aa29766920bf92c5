"""From settings to the adapter of MongoDB."""

from storage.mongo.adapter import MongoAdapter
from storage.mongo.options import Options
from storage.mongo.wire import CLAIMS, DELETED, MEMBERS, check_url


def open_adapter(options: Options) -> MongoAdapter:
    """Return an adapter on the database that the URL names, `scim` if none, without connecting to it.

    Raises ValueError for a URL or a name that cannot be used.
    """
    check_url(options.mongo_db)
    collections = options.table_names
    for name in collections.values():
        if name in (MEMBERS, CLAIMS, DELETED) or name.startswith("system.") or "$" in name:
            raise ValueError(f"{name} cannot be the name of a collection of resources")
    return MongoAdapter(
        options.mongo_db, collections, options.indexed_attributes, options.mongo_pool_size
    )
