"""Unique values without transactions: races, and what earlier releases leave."""

import multiprocessing
import threading
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from storage.adapter import StorageAdapter, StoredResource
from storage.errors import StorageError, UniquenessConflict, VersionMismatch
from storage.mongo.form import Places
from storage.testing import REGISTRY, USER, in_threads, stored
from tests.backends import open_backend
from tests.mongodb import MongodbServer, MongoStore

VALUE = "User/userName=ann"


def listed(store: MongoStore) -> dict[str, list[str]]:
    """Return the unique values that each user lists."""
    users = store.documents.Users.find()
    return {user["_id"]: [one["id"] for one in user["_scim"]["claims"]] for user in users}


def _create(url: str, number: int, begin: Any, outcomes: Any) -> None:
    adapter = open_backend("mongo", mongo_db=url)
    adapter.prepare(REGISTRY.resource_types)
    begin.wait()
    try:
        adapter.create(USER, stored(str(number), userName="Ann"))
        outcomes.put("created")
    except UniquenessConflict:
        outcomes.put("conflict")
    adapter.close()


def test_of_eight_processes_that_create_one_name_one_wins(store: MongoStore) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    begin, outcomes = context.Barrier(8), context.Queue()
    processes = [
        context.Process(target=_create, args=(store.url, number, begin, outcomes)) for number in range(8)
    ]
    for process in processes:
        process.start()
    found = [outcomes.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(30)

    assert sorted(found) == ["conflict"] * 7 + ["created"]
    assert list(listed(store).values()) == [[VALUE]]


def test_of_sixteen_writers_of_one_version_one_wins(adapter: StorageAdapter) -> None:
    version = adapter.create(USER, stored("1", userName="a")).version
    outcomes: list[str] = []

    def write(number: int) -> None:
        try:
            adapter.replace(USER, stored("1", userName=f"a{number}"), version)
            outcomes.append("written")
        except VersionMismatch:
            outcomes.append("mismatch")

    in_threads(write, 16)

    assert sorted(outcomes) == ["mismatch"] * 15 + ["written"]


def test_writers_that_swap_names_never_share_one(store: MongoStore, adapter: StorageAdapter) -> None:
    for number in range(4):
        adapter.create(USER, stored(str(number), userName=f"n{number}"))

    def swap(number: int) -> None:
        for step in range(15):
            name = f"n{(number + step) % 5}"
            try:
                adapter.replace(USER, stored(str(number % 4), userName=name))
            except StorageError:
                continue

    in_threads(swap, 8)

    named = {one.id: [f"User/userName={one.document['userName']}"] for one in adapter.scan(USER)}
    assert listed(store) == named
    assert len({names[0] for names in named.values()}) == 4


def test_a_value_that_its_owner_gave_up_is_free_at_once(adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="ann"))
    adapter.replace(USER, stored("1", userName="bob"))

    adapter.create(USER, stored("2", userName="Ann"))
    adapter.delete(USER, "2")

    adapter.create(USER, stored("3", userName="ANN"))


def test_an_acknowledged_value_is_never_taken_over(adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="ann"))

    with pytest.raises(UniquenessConflict, match="userName"):
        adapter.create(USER, stored("2", userName="Ann"))
    with pytest.raises(UniquenessConflict, match="userName"):
        adapter.create_many(USER, [stored("3", userName="c"), stored("4", userName="ann")])
    with pytest.raises(UniquenessConflict, match="id"):
        adapter.create(USER, stored("1", userName="ann"))

    assert [r.id for r in adapter.scan(USER)] == ["1"]
    adapter.replace(USER, stored("1", userName="ann", title="t"))


def test_a_replacement_with_a_value_of_another_changes_nothing(adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="a", title="t"))
    adapter.create(USER, stored("2", userName="b"))

    with pytest.raises(UniquenessConflict, match="userName"):
        adapter.replace(USER, stored("1", userName="B"))

    assert adapter.get(USER, "1").document == stored("1", userName="a", title="t").document
    assert adapter.get(USER, "1").version == "1"


def test_a_value_that_two_resources_have_is_listed_by_the_first_one(store: MongoStore) -> None:
    store.documents.Users.insert_many([{"_id": one, "userName": "ann"} for one in "12"])
    adapter = store.open()

    for _ in range(2):
        adapter.replace(USER, stored("2", userName="Ann", title="t"))

    assert listed(store) == {"1": [VALUE], "2": []}
    adapter.delete(USER, "1")
    adapter.replace(USER, stored("2", userName="Ann"))
    assert listed(store) == {"2": [VALUE]}
    adapter.close()


class Earlier:
    """What a process of a release up to 0.2.0 does: it reserves a value that its document then lists."""

    def __init__(self, store: MongoStore) -> None:
        self._documents = store.documents

    def start(self) -> None:
        """Make the index of such a process."""
        self._documents.Users.create_index([("_scim.claims.id", 1)])

    def create(self, adapter: StorageAdapter, resource: StoredResource) -> None:
        """Create a user, whose claim has a token."""
        scratch = stored(resource.id, userName=resource.id)
        adapter.create(USER, scratch)
        document = self._documents.Users.find_one_and_delete({"_id": resource.id})
        document["userName"] = resource.document["userName"]
        document["_scim"]["claims"] = [{"id": VALUE, "token": 7}]
        self._documents.scim_unique.insert_one({"_id": VALUE, "owner": resource.id, "token": 7, "at": 0})
        self._documents.Users.insert_one(document)


def test_a_value_of_an_earlier_release_is_taken_and_one_of_this_release_for_it(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    earlier = Earlier(store)
    earlier.create(adapter, stored("old", userName="ann"))

    with pytest.raises(UniquenessConflict, match="userName"):
        adapter.create(USER, stored("new", userName="Ann"))
    adapter.delete(USER, "old")
    # The reservation of a resource that is gone stays, and reserves nothing.
    adapter.create(USER, stored("new", userName="Ann"))

    store.documents.scim_unique.delete_many({})
    with pytest.raises(DuplicateKeyError):
        earlier.create(adapter, stored("late", userName="ann"))
    assert listed(store) == {"new": [VALUE]}


def test_the_index_of_an_earlier_release_is_replaced(store: MongoStore) -> None:
    def indexes() -> dict[str, Any]:
        every = store.documents.Users.index_information()
        return {name: one for name, one in every.items() if "claims" in name}

    Earlier(store).start()
    store.open().close()

    (index,) = indexes().values()
    assert index["key"] == [("_scim.claims.id", -1)]
    assert index["unique"]
    Earlier(store).start()
    assert len(indexes()) == 2 or store.server.compares_utf_16


def test_a_value_that_a_crash_left_to_two_resources_stays_with_the_older_one(mongodb: MongodbServer) -> None:
    store = MongoStore(mongodb)
    adapter = store.adapter
    adapter.create(USER, stored("2", userName="ann"))
    adapter.create(USER, stored("1", userName="bob"))
    store.documents.Users.drop_index("_scim.claims.id_-1")
    claims = [{"id": VALUE, "token": 7}]
    store.documents.Users.update_one({"_id": "1"}, {"$set": {"_scim.claims": claims, "userName": "ann"}})

    store.open().close()

    assert listed(store) == {"1": [], "2": [VALUE]}
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("3", userName="ann"))
    adapter.close()


def test_places_grow_and_differ_in_all_threads() -> None:
    places, found = Places(), []
    lock = threading.Lock()

    def take(_: int) -> None:
        own = [places.next() for _ in range(500)]
        assert own == sorted(own)
        with lock:
            found.extend(own)

    in_threads(take, 4)

    assert len(set(found)) == 2000
    assert 0 < max(found) < 2**63


def test_a_batch_is_created_whole(store: MongoStore, adapter: StorageAdapter) -> None:
    many: list[StoredResource] = [stored(str(n), userName=f"u{n}") for n in range(2500)]

    adapter.create_many(USER, many)

    assert [r.id for r in adapter.scan(USER)] == [r.id for r in many]
    with pytest.raises(UniquenessConflict):
        adapter.create_many(USER, [stored("x", userName="x"), stored("0", userName="y")])
    with pytest.raises(UniquenessConflict):
        adapter.create_many(USER, [stored("x", userName="x"), stored("y", userName="X")])
    assert len(listed(store)) == 2500
