"""The storage contract over MongoDB, and what happens when the server goes and comes back."""

import time
from collections.abc import Callable, Iterator

import pytest

from storage.adapter import Member, Selection, StorageAdapter
from storage.errors import StorageUnavailable
from storage.index_paths import USUAL
from storage.search import search
from storage.testing import GROUP, REGISTRY, USER, StorageContract, change_members, members, represent, stored
from storage.testing.differential import DifferentialContract
from tests.backends import open_backend
from tests.mongodb import MongodbServer, MongoStore


@pytest.fixture(scope="module")
def shared_store(mongodb: MongodbServer) -> Iterator[MongoStore]:
    store = MongoStore(mongodb)
    yield store
    store.adapter.close()


class TestMongo(StorageContract):
    # In UTF-16, these come behind the characters beyond U+FFFF.
    not_in_utf_16 = "\ud7ff\ue000\ufb01\ufeff\uff21\uffff"

    @pytest.fixture(autouse=True)
    def documents(self, shared_store: MongoStore) -> None:
        self.groups = shared_store.documents.Groups
        self.omitted = self.not_in_utf_16 if shared_store.server.compares_utf_16 else ""

    def plant(self, adapter: StorageAdapter) -> None:
        adapter.delete(GROUP, "other")
        self.groups.insert_one({"_id": "twin", "displayName": "Crew"})
        adapter.get(GROUP, "twin")

    @pytest.fixture
    def adapter(self, shared_store: MongoStore) -> StorageAdapter:
        return shared_store.emptied().adapter


class TestByDefault(DifferentialContract):
    """Random selections, most of which name attributes without an index."""

    @pytest.fixture
    def adapter(self, mongodb: MongodbServer) -> Iterator[StorageAdapter]:
        if mongodb.compares_utf_16:
            self.omitted = TestMongo.not_in_utf_16
        adapter = MongoStore(mongodb, indexed_attributes=frozenset({USUAL})).adapter
        yield adapter
        adapter.close()


CALLS: list[Callable[[StorageAdapter], object]] = [
    lambda adapter: adapter.check(),
    lambda adapter: adapter.prepare(REGISTRY.resource_types),
    lambda adapter: adapter.get(USER, "1"),
    lambda adapter: adapter.create(USER, stored("2", userName="b")),
    lambda adapter: adapter.create_many(USER, [stored("2", userName="b")]),
    lambda adapter: adapter.replace(USER, stored("1", userName="b")),
    lambda adapter: adapter.delete(USER, "1"),
    lambda adapter: list(adapter.scan(USER)),
    lambda adapter: search(adapter, USER, Selection(), represent),
    lambda adapter: list(adapter.members(GROUP, stored("g"))),
    lambda adapter: adapter.change_members(GROUP, stored("g"), members("1"), [Member("2", "User")]),
    lambda adapter: adapter.memberships(USER, [stored("1")]),
    lambda adapter: adapter.find(["1"]),
]


@pytest.fixture(scope="module")
def own_server(mongodb: MongodbServer) -> Iterator[MongodbServer]:
    """A server that may be stopped."""
    if not mongodb.is_ours:
        pytest.skip("the server of MONGO_TEST_URL is not stopped")
    server = MongodbServer()
    yield server
    server.remove()


def test_a_server_that_is_gone_is_unavailable_and_found_again(own_server: MongodbServer) -> None:
    store = MongoStore(own_server)
    adapter = open_backend("mongo", mongo_db=f"{store.url}?serverSelectionTimeoutMS=300")
    adapter.prepare(REGISTRY.resource_types)
    adapter.create(USER, stored("1", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))

    own_server.stop()
    for call in CALLS:
        with pytest.raises(StorageUnavailable, match="cannot be used now"):
            call(adapter)

    own_server.restart()
    assert adapter.get(USER, "1").document["userName"] == "a"
    assert change_members(adapter, "g", [Member("1", "User")], ())
    assert adapter.replace(USER, stored("1", userName="b"), "1").version == "2"
    adapter.close()
    store.adapter.close()


def test_a_restart_between_two_calls_is_not_noticed(own_server: MongodbServer) -> None:
    store = MongoStore(own_server)
    store.adapter.create(USER, stored("1", userName="a"))

    own_server.stop()
    own_server.restart()

    assert store.adapter.get(USER, "1").version == "1"
    assert store.adapter.replace(USER, stored("1", userName="b")).version == "2"
    store.adapter.close()


def test_a_dead_server_is_known_within_seconds_and_the_password_stays_secret() -> None:
    url = "mongodb://scim:s3cr3t@127.0.0.1:1/scim"
    adapter = open_backend("mongo", mongo_db=url)

    begun = time.monotonic()
    with pytest.raises(StorageUnavailable) as caught:
        adapter.check()

    assert time.monotonic() - begun < 10
    assert "127.0.0.1:1" in str(caught.value)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "s3cr3t" not in str(chain)
        chain = chain.__cause__ or chain.__context__
    adapter.close()
