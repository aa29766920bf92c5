"""The indexes of the collections."""

from collections.abc import Iterable

from storage.mongo.form import PLACE
from storage.mongo.layout import Layout
from storage.mongo.unique import make_index
from storage.mongo.wire import MEMBERS, Documents


def make_indexes(documents: Documents, layouts: Iterable[Layout]) -> None:
    """Make each index that is not there. Raises StorageUnavailable if a collection is sharded."""
    for layout in layouts:
        collection = documents[layout.collection]
        collection.create_index([("_scim.keys", 1), (PLACE, 1)])
        collection.create_index([(PLACE, 1)])
        collection.create_index([("_scim.layout", 1)])
        make_index(collection)
        for sorted_field in layout.sorted_fields():
            collection.create_index([(sorted_field, 1), (PLACE, 1)])
    documents[MEMBERS].create_index([("groupType", 1), ("group", 1), ("place", 1)])
    documents[MEMBERS].create_index([("memberType", 1), ("member", 1), ("group", 1)])
