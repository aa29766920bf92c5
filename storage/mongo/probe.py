"""A look, before the first use, at whether the server judges queries as MongoDB does.

Other servers speak the protocol of MongoDB, and some of them find documents that do not match.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import pymongo.errors

from storage.errors import StorageUnavailable, without_effect
from storage.mongo.unique import make_index
from storage.mongo.wire import Collection, Database, Query, insert_new, joined

_DOCUMENT: Final[Mapping[str, Any]] = {
    "keys": ["a=1", "c=one\ntwo"],
    "elements": [{"path": "p", "keys": ["x=1"]}, {"path": "p", "keys": ["y=1"]}],
}
# For each kind of condition in `storage.mongo.filter`, one that the document meets and one that it does not.
_QUESTIONS: Final[Mapping[str, tuple[Query, Query]]] = {
    "a value in a list": ({"keys": "a=1"}, {"keys": "a="}),
    "a range that one element is in": (
        {"keys": {"$elemMatch": {"$gt": "c=", "$lt": "c>"}}},
        {"keys": {"$elemMatch": {"$gt": "b=", "$lt": "b>"}}},
    ),
    "$regex": (
        {"keys": {"$regex": r"^c=.{0,4}two\z", "$options": "s"}},
        {"keys": {"$regex": r"^c=.{0,4}one\z", "$options": "s"}},
    ),
    "$elemMatch with $and": (
        {"elements": {"$elemMatch": {"path": "p", "$and": [{"$and": [{"keys": "x=1"}, {"path": "p"}]}]}}},
        {"elements": {"$elemMatch": {"path": "p", "$and": [{"$and": [{"keys": "x=1"}, {"keys": "y=1"}]}]}}},
    ),
    "$nor": ({"$nor": [{"keys": "b=1"}]}, {"$nor": [{"keys": "a=1"}]}),
    "$or": ({"$or": [{"keys": "b=1"}, {"keys": "a=1"}]}, {"$or": [{"keys": "b=1"}, {"_id": {"$in": []}}]}),
    "a missing field": ({"absent": None}, {"keys": None}),
}
# The codes of a server that does not know a part of a query: BadValue, FailedToParse, NotImplemented.
_UNKNOWN: Final = (2, 9, 238)
# The code of a server that does not know a stage of a pipeline.
_NO_STAGE: Final = 40324


def check_queries(database: Database) -> None:
    """Return if the server judges each kind of query rightly; raise StorageUnavailable otherwise.

    Takes a collection of its own, which it removes. Raises StorageReadOnly where it may not make one.
    """
    name = f"scim_probe_{uuid.uuid4().hex}"
    with without_effect(), database.writing() as documents:
        collection = documents[name]
        collection.insert_one(dict(_DOCUMENT))
        try:
            wrong = [kind for kind, queries in _QUESTIONS.items() if not _is_right(collection, *queries)]
            wrong += [kind for kind, is_kept in _ABILITIES.items() if not _is_known(is_kept, collection)]
        finally:
            collection.drop()
    if wrong:
        raise StorageUnavailable(
            f"the server of MONGO_DB does not judge queries as MongoDB does ({', '.join(wrong)}): "
            "searches would find wrong resources. FerretDB 1 is such a server: use MongoDB"
        )


def _joins(collection: Collection) -> bool:
    """Return whether the server joins what another query finds to the result of one that finds nothing."""
    facet = {"$facet": {"none": [{"$project": {"_id": 1}}]}}
    some = joined(collection.name, {"keys": "a=1"}, "some", {"$limit": 1})
    rows = list(collection.aggregate([{"$match": {"_id": "absent"}}, facet, some]))
    return len(rows) == 1 and rows[0]["none"] == [] and len(rows[0]["some"]) == 1


def _admits_once(collection: Collection) -> bool:
    """Return whether a value is admitted once, and any number of documents without one."""
    make_index(collection)
    lists: list[list[dict[str, str]]] = [[], [], [{"id": "a"}, {"id": "b"}]]
    collection.insert_many([{}, {}, *({"_scim": {"claims": claims}} for claims in lists)])
    return insert_new(collection, [{"_scim": {"claims": [{"id": "b"}]}}]) == [0]


_ABILITIES: Final = {"$lookup and $facet": _joins, "an index of unique values": _admits_once}


def _is_known(is_kept: Callable[[Collection], bool], collection: Collection) -> bool:
    try:
        return is_kept(collection)
    except pymongo.errors.OperationFailure as exc:
        if isinstance(exc, pymongo.errors.BulkWriteError) or exc.code in (*_UNKNOWN, _NO_STAGE):
            return False
        raise


def _is_right(collection: Collection, met: Query, unmet: Query) -> bool:
    try:
        return collection.find_one(met) is not None and collection.find_one(unmet) is None
    except pymongo.errors.OperationFailure as exc:
        if exc.code in _UNKNOWN:
            return False
        raise
