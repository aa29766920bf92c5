"""Documents that HarryKodden/scim, or others, wrote."""

import logging
from datetime import datetime

import bson
import pytest

from storage.adapter import Member, StorageAdapter
from storage.errors import ResourceNotFound, StorageReadOnly, UniquenessConflict
from storage.mongo.adoption import Adoption
from storage.testing import GROUP, REGISTRY, USER, ids_matching, in_threads, members_of, stored
from storage.testing.corpus import ENTERPRISE, SRAM
from tests.mongodb import MongoStore


def write_reference(store: MongoStore) -> None:
    """Write what the earlier product writes.

    A change that it made with $set has cut the name of an extension at its dots.
    """
    before_dot, _, behind_dot = ENTERPRISE.partition(".")
    user = {
        "_id": "u1",
        "id": "u1",
        "schemas": [USER.schema.id, SRAM],
        "userName": "bjensen",
        "externalId": "b@sram",
        "name": {"familyName": "Jensen", "givenName": "Barbara"},
        "active": True,
        "emails": [{"value": "b@work.example", "type": "work"}],
        SRAM: {"eduPersonUniqueId": "b@x", "sramInactiveDays": 9},
        ENTERPRISE: {"department": "Old"},
        before_dot: {behind_dot: {"department": "Tours"}},
        "meta": {"lastModified": "2024-03-01T10:00:00", "version": "W/\"x\"", "location": "/Users/u1"},
    }
    group = {
        "_id": "g1",
        "id": "g1",
        "schemas": [GROUP.schema.id],
        "displayName": "staff",
        "members": [{"value": "u1", "display": "Babs", "$ref": "/Users/u1"}, {"value": "gone"}],
    }
    store.documents.Users.insert_one(user)
    store.documents.Groups.insert_one(group)


def test_documents_of_the_reference_are_read_as_they_lie(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    write_reference(store)

    adapter.prepare(REGISTRY.resource_types)

    user = adapter.get(USER, "u1")
    assert user.document["userName"] == "bjensen"
    assert user.document[SRAM] == {"eduPersonUniqueId": "b@x", "sramInactiveDays": 9}
    assert user.document[ENTERPRISE] == {"department": "Tours"}
    assert user.last_modified == "2024-03-01T10:00:00.000Z"
    assert ids_matching(adapter, USER, f'{SRAM}:sramInactiveDays gt 8 and emails[type eq "WORK"]') == ["u1"]
    assert ids_matching(adapter, USER, f'{ENTERPRISE}:department eq "tours"') == ["u1"]
    assert list(members_of(adapter, "g1")) == [Member("u1", "User", "Babs")]
    assert ids_matching(adapter, GROUP, 'members.value eq "u1"') == ["g1"]
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("u2", userName="BJENSEN"))


def test_documents_written_meanwhile_are_taken_over_by_id_and_by_the_readiness_check(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    write_reference(store)

    assert adapter.get(USER, "u1").document["userName"] == "bjensen"
    assert adapter.replace(USER, stored("u1", userName="b2"), "1").version == "2"
    adapter.check()

    assert ids_matching(adapter, GROUP, 'displayName eq "STAFF"') == ["g1"]
    store.documents.Groups.insert_one({"_id": "g2", "displayName": "late"})
    adapter.delete(GROUP, "g2")
    with pytest.raises(ResourceNotFound):
        adapter.get(GROUP, "g2")


def test_processes_that_start_together_share_the_work(store: MongoStore) -> None:
    store.documents.Users.insert_many([{"_id": f"u{n}", "userName": f"U{n}"} for n in range(60)])
    store.documents.Users.insert_one({"_id": "x", "userName": "u7"})
    adapters: list[StorageAdapter] = []

    in_threads(lambda _: adapters.append(store.open()), 3)

    users = store.documents.Users.find()
    listed = [claim["id"] for document in users for claim in document["_scim"]["claims"]]
    assert sorted(listed) == sorted(f"User/userName=u{n}" for n in range(60))
    assert [len(ids_matching(adapter, USER, "userName pr")) for adapter in adapters] == [61, 61, 61]
    for adapter in adapters:
        adapter.close()


def test_a_document_that_may_not_be_changed_is_read_all_the_same(
    store: MongoStore, adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reference(store)

    def refuse(*_: object) -> None:
        raise StorageReadOnly("the user may not write")

    monkeypatch.setattr(Adoption, "adopt", refuse)

    assert adapter.get(USER, "u1").document["userName"] == "bjensen"
    assert adapter.get(GROUP, "g1").document["displayName"] == "staff"
    adapter.check()
    adapter.prepare(REGISTRY.resource_types)
    assert "_scim" not in store.documents.Users.find_one({"_id": "u1"})


def test_members_of_one_id_are_taken_over_by_their_types(store: MongoStore, adapter: StorageAdapter) -> None:
    both = [{"value": "one", "type": "User", "display": "Babs"}, {"value": "one", "type": "Group"}]
    others = [{"value": "one"}, {"value": "two", "type": "Group"}]
    store.documents.Users.insert_many([{"_id": "one", "userName": "ann"}, {"_id": "two", "userName": "bob"}])
    store.documents.Groups.insert_many(
        [
            {"_id": "one", "displayName": "Crew"},
            {"_id": "g", "displayName": "G", "members": both},
            {"_id": "h", "displayName": "H", "members": others},
        ]
    )

    adapter.prepare(REGISTRY.resource_types)

    assert set(members_of(adapter, "g")) == {Member("one", "User", "Babs"), Member("one", "Group", "Crew")}
    assert set(members_of(adapter, "h")) == {Member("one", "User", "ann"), Member("two", "User", "bob")}


def test_what_cannot_be_read_is_reported_and_stops_nobody(
    store: MongoStore, adapter: StorageAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    documents = [
        {"_id": bson.ObjectId(), "userName": "objectid"},
        {"_id": "1", "userName": 5, "active": "maybe", "_cls": "User", "emails": "x"},
        {"_id": "2", "userName": "Twin", "password": "plain"},
        {"_id": "3", "userName": "twin", "since": datetime(2024, 1, 2), "ref": bson.ObjectId("1" * 24)},
        {"_id": "4", "userName": "odd", "own": {"a.b": bson.Int64(2**40), "c": bson.Regex("x")}},
        {"_id": "5", "_scim": "x", "then": bson.DatetimeMS(2**60)},
        {"_id": "6", "userName": "sixth", "_scim": {"version": "x", "place": 7}},
        {"_id": "7", "userName": "seventh", "_scim": {"version": 1, "place": 7}},
    ]
    store.documents.Users.insert_many(documents)

    with caplog.at_level(logging.INFO):
        adapter.prepare(REGISTRY.resource_types)

    assert sorted(r.id for r in adapter.scan(USER)) == ["1", "2", "3", "4", "5", "6", "7"]
    assert adapter.get(USER, "1").document.keys() == {"schemas", "id"}
    assert adapter.get(USER, "3").document["since"] == "2024-01-02T00:00:00.000Z"
    assert adapter.get(USER, "3").document["ref"] == "1" * 24
    assert adapter.get(USER, "4").document["own"] == {"a.b": 2**40}
    assert sorted(ids_matching(adapter, USER, 'userName eq "TWIN"')) == ["2", "3"]
    assert "plain" not in str(list(store.documents.Users.find({"_id": "2"})))
    for text in ("another resource has the same userName", "1 documents in Users are not", "adopted 7"):
        assert text in caplog.text


def test_preparing_with_other_attributes_to_index_indexes_anew(store: MongoStore) -> None:
    few = store.open(indexed_attributes=frozenset({"emails.value"}))
    few.create(USER, stored("1", userName="a", title="T", emails=[{"value": "x@y", "type": "work"}]))

    for text in ('title eq "t"', 'emails[value sw "x" and type eq "work"]', 'userName eq "A"'):
        assert ids_matching(few, USER, text) == ["1"]
    assert not any("title" in key for key in store.documents.Users.find_one()["_scim"]["keys"])

    every = store.open()
    assert ids_matching(every, USER, 'title eq "t"') == ["1"]
    assert "title=t" in store.documents.Users.find_one()["_scim"]["keys"]
    assert every.get(USER, "1").version == "1"
    few.close()
    every.close()
