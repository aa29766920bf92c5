"""Unique values without transactions: races, and what processes leave that die half way."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from storage.adapter import StorageAdapter, StoredResource
from storage.claims import Claim, Claims, UniqueValue
from storage.errors import StorageError, UniquenessConflict, VersionMismatch
from storage.mongo.form import Places
from storage.mongo.layout import Layout
from storage.mongo.wire import LEASE_S
from storage.mongo.write import MongoClaims, claims_in
from storage.testing import REGISTRY, USER, in_threads, stored
from tests.backends import open_backend
from tests.mongodb import MongoStore

LAYOUT = Layout(USER, "Users")
VALUE = "User/userName=ann"
ANN = UniqueValue("User", "userName", "ann")


def counts(store: MongoStore) -> tuple[int, int]:
    """Return how many users there are, and how many claims."""
    return store.documents.Users.count_documents({}), store.documents.scim_unique.count_documents({})


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
    assert counts(store) == (1, 1)


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


def test_writers_that_swap_names_leave_exactly_the_claims_of_the_documents(
    store: MongoStore, adapter: StorageAdapter
) -> None:
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

    listed = {
        (claim["id"], document["_id"], claim["token"])
        for document in store.documents.Users.find()
        for claim in document["_scim"]["claims"]
    }
    kept = {(c["_id"], c["owner"], c["token"]) for c in store.documents.scim_unique.find()}
    assert listed == kept
    assert len({one[0] for one in listed}) == 4


def test_a_value_claimed_by_a_process_that_died_is_free_after_the_lease(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    claim = {"_id": VALUE, "owner": "dead", "token": 1, "at": time.time()}
    store.documents.scim_unique.insert_one(claim)
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("1", userName="Ann"))

    store.documents.scim_unique.update_one({"_id": VALUE}, {"$set": {"at": time.time() - LEASE_S - 1}})
    adapter.create(USER, stored("1", userName="Ann"))

    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("2", userName="ann"))


def test_a_value_that_its_owner_gave_up_before_it_died_is_free(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    adapter.create(USER, stored("1", userName="bob"))
    old = {"_id": VALUE, "owner": "1", "token": 5, "at": time.time() - 3600}
    store.documents.scim_unique.insert_one(old)

    adapter.create(USER, stored("2", userName="ann"))

    assert store.documents.scim_unique.find_one({"_id": VALUE})["owner"] == "2"


@pytest.mark.parametrize("owner", ["1", "dead", None])
def test_an_acknowledged_value_is_never_taken_over(
    store: MongoStore, adapter: StorageAdapter, owner: str | None
) -> None:
    adapter.create(USER, stored("1", userName="ann"))
    if owner is None:
        store.documents.scim_unique.delete_many({})
    store.documents.scim_unique.update_many({}, {"$set": {"at": 0, "owner": owner}})

    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("2", userName="Ann"))
    with pytest.raises(UniquenessConflict):
        adapter.create_many(USER, [stored("3", userName="c"), stored("4", userName="ann")])

    with pytest.raises(UniquenessConflict, match="id"):
        adapter.create(USER, stored("1", userName="ann"))

    assert [r.id for r in adapter.scan(USER)] == ["1"]
    adapter.replace(USER, stored("1", userName="ann", title="t"))


class Slow(MongoClaims):
    """Claims of a writer to whom something happens once, before it replaces an old claim."""

    def __init__(self, store: MongoStore, when: Callable[[], None]) -> None:
        super().__init__(store.documents, LAYOUT)
        self._when = [when]

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        if self._when:
            self._when.pop()()
        return super().replace_if(seen, new)


def test_a_claim_whose_owner_writes_at_the_last_moment_stays_with_it(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    late = claims_in(store.documents, LAYOUT, Places(), clock=lambda: time.time() - 60)
    claims = late.claim("late", [ANN])

    def write() -> None:
        document = {"_id": "late", "_scim": {"claims": [{"id": VALUE, "token": claims[0].token}]}}
        store.documents.Users.insert_one(document)

    with pytest.raises(UniquenessConflict):
        Claims(Slow(store, write), Places().next).claim("other", [ANN])

    assert not late.lost(claims)


def test_a_writer_whose_claim_was_taken_over_meanwhile_gives_way(store: MongoStore) -> None:
    late = claims_in(store.documents, LAYOUT, Places(), clock=lambda: time.time() - 60)
    claims = late.claim("late", [ANN])

    others = claims_in(store.documents, LAYOUT, Places()).claim("other", [ANN])

    assert late.lost(claims)
    late.release(claims)
    assert store.documents.scim_unique.find_one({"_id": VALUE})["token"] == others[0].token


def test_a_create_that_lost_its_claim_leaves_nothing(
    store: MongoStore, adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Claims, "lost", lambda self, claims: claims)

    for create in (
        lambda: adapter.create(USER, stored("1", userName="a")),
        lambda: adapter.create_many(USER, [stored("1", userName="a")]),
    ):
        with pytest.raises(UniquenessConflict):
            create()

    assert counts(store) == (0, 0)


def test_a_replacement_that_lost_its_claim_is_undone(
    adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.create(USER, stored("1", userName="a", title="t"))
    monkeypatch.setattr(Claims, "lost", lambda self, claims: claims)

    with pytest.raises(UniquenessConflict):
        adapter.replace(USER, stored("1", userName="b"))

    monkeypatch.undo()
    assert adapter.get(USER, "1").document == stored("1", userName="a", title="t").document
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("2", userName="a"))
    adapter.create(USER, stored("3", userName="b"))


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
    assert counts(store) == (2500, 2500)


def test_claims_that_were_lost_come_back_when_documents_are_indexed_again(store: MongoStore) -> None:
    adapter = store.open()
    adapter.create(USER, stored("1", userName="ann"))
    store.documents.scim_unique.delete_many({})
    store.documents.Users.update_one({"_id": "1"}, {"$set": {"_scim.layout": "another"}})

    store.open().close()

    listed = store.documents.Users.find_one({"_id": "1"})["_scim"]["claims"]
    claim = store.documents.scim_unique.find_one({"_id": VALUE})
    assert [{"id": VALUE, "token": claim["token"]}] == listed
    assert claim["owner"] == "1" and time.time() - claim["at"] < 60
    adapter.close()
