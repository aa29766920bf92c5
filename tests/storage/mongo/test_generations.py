"""Processes with other definitions or INDEXED_ATTRIBUTES on one database: the one started last writes."""

from collections.abc import Callable, Iterator

import pytest

from schema.resource_type import ResourceType
from storage.adapter import StorageAdapter
from storage.errors import SettingsSuperseded, StorageReadOnly, UniquenessConflict
from storage.mongo.adoption import Adoption
from storage.mongo.wire import Database
from storage.testing import USER, stored
from storage.testing.resources import ids_matching
from tests.backends import open_backend
from tests.mongodb import MongoStore
from tests.storage.other_settings import BEFORE, OTHERS, Settings

OpenWith = Callable[[Settings], StorageAdapter]


@pytest.fixture
def opened_with(store: MongoStore) -> Iterator[OpenWith]:
    """Return a function that opens the database with some settings, as a process does at its start."""
    adapters = []

    def start(settings: Settings) -> StorageAdapter:
        adapter = open_backend("mongo", mongo_db=store.url, indexed_attributes=settings[1])
        adapter.prepare(settings[0])
        adapters.append(adapter)
        return adapter

    yield start
    # The adapter of all tests is current again.
    store.adapter.prepare(BEFORE[0])
    for adapter in adapters:
        adapter.close()


@pytest.mark.parametrize("other", OTHERS)
def test_an_older_process_writes_no_more_once_it_has_looked(opened_with: OpenWith, other: str) -> None:
    old = opened_with(BEFORE)
    old.create(USER, stored("one", userName="One", nickName="N", title="T"))
    resource_types, _ = OTHERS[other]
    new = opened_with(OTHERS[other])
    new.create(resource_types[0], stored("two", userName="Two", nickName="N", title="T"))

    old.check()

    for write in (
        lambda: old.create(USER, stored("three", userName="Three")),
        lambda: old.create_many(USER, [stored("three", userName="Three")]),
        lambda: old.replace(USER, stored("one", userName="Uno")),
        lambda: old.delete(USER, "one"),
        old.check_writable,
    ):
        with pytest.raises(SettingsSuperseded, match="restart"):
            write()
    assert old.get(USER, "one").version == "1"
    assert ids_matching(old, USER, 'userName eq "two" or nickName eq "n"') == ["one", "two"]
    assert new.mend() == 0
    # A process with the settings from before takes over, and lets the first one write again.
    opened_with(BEFORE)
    old.mend()
    old.create(USER, stored("three", userName="Three"))
    new.mend()
    with pytest.raises(SettingsSuperseded):
        new.create(resource_types[0], stored("four", userName="Four"))


def matching_each(adapter: StorageAdapter, user: ResourceType = USER) -> list[list[str]]:
    """Return what a search by each of three attributes finds; an attribute may have index entries or none."""
    filters = ('title eq "t"', 'nickName eq "n"', 'userName eq "One"')
    return [ids_matching(adapter, user, text) for text in filters]


EACH = [["One", "Two"], ["One", "Two"], ["One"]]


@pytest.mark.parametrize("other", OTHERS)
def test_a_search_after_a_rollback_finds_what_is_not_indexed_again_yet(
    opened_with: OpenWith, store: MongoStore, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = opened_with(BEFORE)
    for name in ("One", "Two"):
        old.create(USER, stored(name, userName=name, nickName="N", title="T"))
    opened_with(OTHERS[other])
    old.mend()
    found, adopt_others = [], Adoption.adopt_others

    def interrupted(adoption: Adoption) -> None:
        raise KeyboardInterrupt

    def searching(adoption: Adoption) -> int:
        found.append(matching_each(old))
        return adopt_others(adoption)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Adoption, "finish", interrupted)
        opened_with(BEFORE)
    with monkeypatch.context() as patch:
        patch.setattr(Adoption, "adopt_others", searching)
        old.mend()

    assert found[0] == EACH
    assert matching_each(old) == EACH
    assert store.documents.scim_generation.find_one({"_id": "User"})["complete"]


@pytest.mark.parametrize("other", OTHERS)
def test_a_process_that_may_not_write_searches_by_the_rules_that_hold(
    opened_with: OpenWith, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = opened_with(BEFORE)
    for name in ("One", "Two"):
        old.create(USER, stored(name, userName=name, nickName="N", title="T"))

    def refused(database: Database) -> None:
        raise StorageReadOnly("the user of MONGO_DB may not write")

    with monkeypatch.context() as patch:
        patch.setattr("storage.mongo.adapter.check_queries", refused)
        reader = opened_with(OTHERS[other])

    assert matching_each(reader, OTHERS[other][0][0]) == EACH


@pytest.mark.parametrize("other", OTHERS)
def test_what_an_older_process_writes_before_it_looks_is_indexed_again(
    opened_with: OpenWith, store: MongoStore, other: str
) -> None:
    """Releases up to 0.2.0 never look."""
    old = opened_with(BEFORE)
    for name in ("One", "Two", "Three"):
        old.create(USER, stored(name, userName=name, nickName="N", title="T", externalId=name))
    user = OTHERS[other][0][0]
    new = opened_with(OTHERS[other])
    old.create(USER, stored("Four", userName="Four", nickName="N"))
    old.replace(USER, stored("Two", userName="Deux", nickName="M", title="T"))
    old.delete(USER, "Three")

    assert new.mend() == 2

    assert new.mend() == 0
    assert ids_matching(new, user, 'nickName eq "n"') == ["One", "Four"]
    assert ids_matching(new, user, 'userName eq "Deux" or userName eq "Four"') == ["Two", "Four"]
    with pytest.raises(UniquenessConflict):
        new.create(user, stored("x", userName="Four"))
    new.create(user, stored("Trois", userName="Three", externalId="Three"))
    names = {"One": "one", "Two": "deux", "Four": "four", "Trois": "three"}
    for document in store.documents.Users.find():
        listed = [claim["id"].lower() for claim in document["_scim"]["claims"]]
        assert f"user/username={names[document['_id']]}" in listed
