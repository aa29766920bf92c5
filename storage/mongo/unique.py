"""The unique values of resources: each document lists its own, and an index admits each value once.

The index alone decides between two writers. Earlier releases reserved values in the collection `scim_unique`
besides; their documents list the values too, so the index also decides between their processes and this one.
A value that other programs gave to two resources is listed by one of them.
"""

import logging
from collections.abc import Collection as Group
from collections.abc import Iterable
from typing import Final

from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError, OperationFailure

from storage.claims import UniqueValue
from storage.errors import StorageUnavailable, UniquenessConflict
from storage.mongo.form import LISTED, PLACE, listed_in, value_id
from storage.mongo.wire import Collection, Query

_LOG = logging.getLogger(__name__)

# The index of earlier releases has the same field in ascending order, and is not unique.
_FORMER: Final = f"{LISTED}_1"
_NO_SUCH_INDEX: Final = (26, 27)
# The server's code for a unique index on a collection whose shard key is another field.
_CANNOT_CREATE: Final = 67


def make_index(collection: Collection) -> None:
    """Make the index of a collection. Raises StorageUnavailable if the collection is sharded."""
    try:
        _make(collection)
    except DuplicateKeyError:
        _unlist_repeated(collection)
        _make(collection)
    except OperationFailure as exc:
        if exc.code != _CANNOT_CREATE:
            raise
        raise StorageUnavailable(
            f"the collection {collection.name} of MONGO_DB is sharded: only an unsharded collection keeps "
            "unique values unique"
        ) from exc
    try:
        collection.drop_index(_FORMER)
    except OperationFailure as exc:
        if exc.code not in _NO_SUCH_INDEX:
            raise


def _make(collection: Collection) -> None:
    # Without the condition, documents of other programs would all have the value null.
    is_listed = {LISTED: {"$exists": True}}
    collection.create_index([(LISTED, DESCENDING)], unique=True, partialFilterExpression=is_listed)


def _unlist_repeated(collection: Collection) -> None:
    """Leave each value to the resource that was created first.

    A process of an earlier release that died before it undid a write may have left a value to two resources.
    """
    each: list[Query] = [{"$unwind": "$_scim.claims"}, {"$sort": {PLACE: 1}}]
    owners = {"$group": {"_id": f"${LISTED}", "owners": {"$push": "$_id"}}}
    repeated = {"$match": {"owners.1": {"$exists": True}}}
    for row in collection.aggregate([*each, owners, repeated], allowDiskUse=True):
        for resource_id in row["owners"][1:]:
            path = str(row["_id"]).partition("=")[0]
            _LOG.warning("%s %s: another resource has the same %s", collection.name, resource_id, path)
            collection.update_one({"_id": resource_id}, {"$pull": {"_scim.claims": {"id": row["_id"]}}})


def taken(
    collection: Collection, values: Iterable[UniqueValue], resource_ids: Group[str] = ()
) -> dict[UniqueValue, str]:
    """Return those of the values that resources list, apart from some resources, with the id of each."""
    wanted = {value_id(value): value for value in values}
    found = collection.find({LISTED: {"$in": list(wanted)}}, {"_scim.claims": 1})
    return {
        value: document["_id"]
        for document in found
        if document["_id"] not in resource_ids
        for value in listed_in(document) & set(wanted.values())
    }


def conflict(collection: Collection, resource_id: str, values: Group[UniqueValue]) -> UniquenessConflict:
    """Return the error of an insertion that the server refused, because of the id or of a value."""
    if not values or collection.find_one({"_id": resource_id}, {"_id": 1}) is not None:
        return UniquenessConflict("id")
    # A value may have been given up since.
    return UniquenessConflict(min(taken(collection, values) or values).path)
