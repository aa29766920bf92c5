"""Groups of any size, and resources that leave them."""

import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection, StorageAdapter, StoredResource
from storage.errors import OutcomeUnknown, ResourceNotFound, StorageUnavailable
from storage.mongo.links import Links
from storage.mongo.wire import LEASE_S
from storage.search import search
from storage.testing import (
    GROUP,
    REGISTRY,
    USER,
    change_members,
    ids_matching,
    members_of,
    memberships_of,
    stored,
)
from tests.mongodb import MongoStore

MANY = 6_000


def test_a_group_of_many_members_is_filled_streamed_and_emptied(
    store: MongoStore, adapter: StorageAdapter, commands: Callable[[], list[str]]
) -> None:
    store.documents.Users.insert_many([{"_id": f"u{n}", "userName": f"u{n}"} for n in range(MANY)])
    adapter.create(GROUP, stored("g", displayName="G"))

    assert change_members(adapter, "g", (Member(f"u{n}", "User") for n in range(MANY)), ())
    group = adapter.get(GROUP, "g")
    commands()
    first = list(islice(adapter.members(GROUP, group), 3))
    for_three = commands()
    assert adapter.change_members(GROUP, group, [Member("u7", "User")], [Member("u9", "User")])
    for_one = commands()
    assert adapter.change_members(GROUP, group, adapter.find(["u9"]), ())
    for_found = commands()

    assert [m.resource_id for m in first] == ["u0", "u1", "u2"]
    assert len(for_three) == 2
    assert len(for_one) == 3
    # A command to find the user, one to write the membership, and one to see that both still exist.
    assert len(for_found) == 3
    assert len(list(members_of(adapter, "g"))) == MANY
    assert ids_matching(adapter, GROUP, 'members.value eq "u5"') == ["g"]
    adapter.delete(GROUP, "g")
    assert store.documents.scim_members.count_documents({}) == 0
    assert store.documents.scim_deleted.count_documents({}) == 0


@pytest.mark.parametrize("limit", [0, 100_000])
def test_filters_on_memberships_agree_with_evaluation(
    adapter: StorageAdapter, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.mongo.filter._MOST_IDS", limit)
    for name in "abc":
        adapter.create(USER, stored(name, userName=name))
    for name in "ghi":
        adapter.create(GROUP, stored(name, displayName=name))
    change_members(adapter, "g", [Member("a", "User"), Member("h", "Group")], ())
    change_members(adapter, "h", [Member("b", "User")], ())

    def users(text: str) -> list[str]:
        node = resolve(parse_filter(text), USER)
        return [r.id for r in search(adapter, USER, Selection(node), shown).resources]

    def shown(one: StoredResource, links: bool) -> dict[str, Any]:
        memberships = one.memberships if one.memberships is not None else adapter.memberships(
            USER, [one.id]
        ).get(one.id, ())
        return {**one.document, "groups": [{"value": m.resource_id} for m in memberships]}

    assert users('groups.value eq "g"') == ["a", "b"]
    assert users('groups[value eq "h"]') == ["b"]
    assert users('not (groups.value eq "g")') == ["c"]
    assert users("groups pr") == ["a", "b"]
    assert users('groups.value eq "nobody"') == []


def test_a_deletion_that_was_interrupted_is_completed_at_the_next_start(
    store: MongoStore, adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("a", "User")], ())

    def die(self: Links, *_: object) -> None:
        raise StorageUnavailable("the process dies here")

    with monkeypatch.context() as dying, pytest.raises(OutcomeUnknown):
        dying.setattr(Links, "forget", die)
        adapter.delete(USER, "a")
    assert store.documents.scim_members.count_documents({}) == 1
    assert list(members_of(adapter, "g")) == []
    assert ids_matching(adapter, GROUP, 'members.value eq "a"') == []

    store.documents.scim_deleted.update_many({}, {"$set": {"at": time.time() - LEASE_S - 1}})
    adapter.prepare(REGISTRY.resource_types)

    assert store.documents.scim_members.count_documents({}) == 0
    assert store.documents.scim_deleted.count_documents({}) == 0


def test_an_announced_deletion_that_did_not_take_place_takes_nobody_from_a_group(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("a", "User")], ())
    store.documents.scim_deleted.insert_one({"_id": "User/a", "type": "User", "id": "a", "at": 0})

    adapter.prepare(REGISTRY.resource_types)

    assert [m.resource_id for m in members_of(adapter, "g")] == ["a"]
    assert store.documents.scim_deleted.count_documents({}) == 0


def test_a_new_resource_does_not_inherit_the_groups_of_one_with_its_id(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("a", "User")], ())
    store.documents.Users.delete_one({"_id": "a"})

    adapter.create(USER, stored("a", userName="b"))

    assert list(members_of(adapter, "g")) == []
    assert memberships_of(adapter, ["a"]) == {}


def test_a_resource_that_is_deleted_while_it_joins_joins_nothing(
    store: MongoStore, adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    row = Links._row

    def deleted_meanwhile(self: Links, *arguments: Any) -> dict[str, Any]:
        adapter.delete(USER, "a")
        return row(self, *arguments)

    monkeypatch.setattr(Links, "_row", deleted_meanwhile)

    assert not change_members(adapter, "g", [Member("a", "User")], ())
    assert store.documents.scim_members.count_documents({}) == 0


def test_a_resource_that_is_deleted_after_it_was_read_along_joins_nothing(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    group = adapter.get_to_patch(GROUP, "g", ["a"])
    assert group.read_along is not None
    adapter.delete(USER, "a")

    assert not adapter.change_members(GROUP, group, group.read_along.existing, ())
    assert store.documents.scim_members.count_documents({}) == 0


def test_one_command_reads_a_group_and_what_there_is_of_named_members(
    store: MongoStore, adapter: StorageAdapter, commands: Callable[[], list[str]]
) -> None:
    store.documents.Groups.insert_one({"_id": "g", "displayName": "G", "members": [{"value": "a"}]})
    for name in "ab":
        adapter.create(USER, stored(name, userName=name, displayName=name.upper()))
    adopted = adapter.get_to_patch(GROUP, "g", ["a"]).read_along
    commands()

    along = adapter.get_to_patch(GROUP, "g", ["a", "b", "zz"]).read_along
    for_three = commands()
    of_too_many = adapter.get_to_patch(GROUP, "g", [f"u{n}" for n in range(101)]).read_along

    assert adopted is not None and [m.key for m in adopted.members] == [("User", "a")]
    assert along is not None and len(for_three) == 1
    assert [(m.key, m.display) for m in along.existing] == [(("User", "a"), "A"), (("User", "b"), "B")]
    assert [m.key for m in along.members] == [("User", "a")]
    assert of_too_many is None


def test_a_group_that_is_deleted_while_it_is_changed_is_not_found(
    store: MongoStore, adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    row = Links._row

    def deleted_meanwhile(self: Links, *arguments: Any) -> dict[str, Any]:
        adapter.delete(GROUP, "g")
        return row(self, *arguments)

    monkeypatch.setattr(Links, "_row", deleted_meanwhile)

    with pytest.raises(ResourceNotFound):
        change_members(adapter, "g", [Member("a", "User")], ())
    assert store.documents.scim_members.count_documents({}) == 0


def test_equal_ids_of_different_types_are_different_members(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    adapter.create(USER, stored("x", userName="u"))
    adapter.create(GROUP, stored("g", displayName="g"))
    # Only another program can make such a pair.
    store.documents.Groups.insert_one({"_id": "x", "displayName": "x"})
    adapter.get(GROUP, "x")

    change_members(adapter, "g", [Member("x", "User"), Member("x", "Group")], ())

    members = list(members_of(adapter, "g"))
    assert {(m.resource_type, m.display) for m in members} == {("User", "u"), ("Group", "x")}
    assert [m.resource_id for m in memberships_of(adapter, ["x"])["x"]] == ["g"]


@pytest.mark.parametrize("number", [0, 3, 49, 50])
def test_the_groups_of_a_resource_are_read_along_with_it(
    adapter: StorageAdapter, commands: Callable[[], list[str]], number: int
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    for one in range(number):
        adapter.create(GROUP, stored(f"g{one}", displayName=f"G{one}"))
        change_members(adapter, f"g{one}", [Member("a", "User")], ())
    commands()

    user = adapter.get(USER, "a")
    memberships = adapter.memberships(USER, [user]).get("a", ())

    assert [m.display for m in memberships] == [f"G{one}" for one in range(number)]
    assert len(commands()) == (1 if number < 50 else 2)


@pytest.mark.parametrize(("number", "is_read_along"), [(0, True), (3, True), (50, False)])
def test_one_command_finds_a_resource_by_its_name_with_its_groups(
    adapter: StorageAdapter, commands: Callable[[], list[str]], number: int, is_read_along: bool
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    for one in range(number):
        adapter.create(GROUP, stored(f"g{one}", displayName=f"G{one}"))
        change_members(adapter, f"g{one}", [Member("a", "User")], ())
    named = resolve(parse_filter('userName eq "A"'), USER)
    commands()

    (user,) = adapter.candidates(USER, Selection(named, limit=10)).resources
    memberships = adapter.memberships(USER, [user]).get("a", ())

    assert [m.display for m in memberships] == [f"G{one}" for one in range(number)]
    assert len(commands()) == (1 if is_read_along else 2)


def test_one_command_finds_that_nobody_has_a_name(
    adapter: StorageAdapter, commands: Callable[[], list[str]]
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    commands()

    found = adapter.candidates(USER, Selection(resolve(parse_filter('userName eq "b"'), USER), limit=10))

    assert (list(found.resources), found.total) == ([], 0)
    assert len(commands()) == 1
    assert adapter.candidates(USER, Selection(offset=5, limit=10)).total == 1


def test_groups_in_groups_take_a_command_for_each_level(
    adapter: StorageAdapter, commands: Callable[[], list[str]]
) -> None:
    adapter.create(USER, stored("a", userName="a"))
    for name in "ghi":
        adapter.create(GROUP, stored(name, displayName=name.upper()))
    change_members(adapter, "g", [Member("a", "User")], ())
    change_members(adapter, "h", [Member("g", "Group")], ())
    change_members(adapter, "i", [Member("h", "Group")], ())
    commands()

    user = adapter.get(USER, "a")
    (memberships,) = adapter.memberships(USER, [user]).values()

    assert [(m.display, m.direct) for m in memberships] == [("G", True), ("H", False), ("I", False)]
    assert len(commands()) == 1 + 3
