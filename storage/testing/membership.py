"""The contract of members and memberships."""


import pytest

from storage.adapter import Member, StorageAdapter
from storage.errors import ResourceNotFound
from storage.testing.links import among, change_members, found_by_id, members, members_of, memberships_of
from storage.testing.resources import GROUP, USER, stored


class MembersContract:
    def test_members_join_and_leave(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))
        adapter.create(GROUP, stored("g", displayName="G"))
        version = adapter.get(GROUP, "g").version

        assert change_members(adapter, "g", members("abc"), ())
        assert among(adapter, "g", ["c", "zz", "a"]) == {"a", "c"}
        assert among(adapter, "g", []) == set()
        assert not change_members(adapter, "g", members("b"), ["zz"])
        assert change_members(adapter, "g", (), ["a"])

        assert {m.resource_id for m in members_of(adapter, "g")} == {"b", "c"}
        assert [m.display for m in members_of(adapter, "g")] == ["b", "c"]
        adapter.replace(GROUP, stored("g", displayName="H"))
        assert {m.resource_id for m in members_of(adapter, "g")} == {"b", "c"}
        assert "members" not in adapter.get(GROUP, "g").document
        assert version != adapter.get(GROUP, "g").version

    def test_a_display_of_ones_own_is_kept(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="a"))
        adapter.create(GROUP, stored("g", displayName="G"))

        change_members(adapter, "g", [Member("a", "User", "Babs")], ())

        assert list(members_of(adapter, "g")) == [Member("a", "User", "Babs")]

    def test_no_more_members_are_read_than_asked_for(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))
        adapter.create(GROUP, stored("g", displayName="G"))
        change_members(adapter, "g", members("abc"), ())

        every = list(members_of(adapter, "g"))

        assert {member.resource_id for member in every} == set("abc")
        assert [list(members_of(adapter, "g", limit)) for limit in range(5)] == [
            every[:limit] for limit in range(5)
        ]

    def test_what_is_read_along_is_what_other_calls_return(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))
        adapter.create(GROUP, stored("g", displayName="G"))
        change_members(adapter, "g", members("ac"), ())
        ids = ["a", "b", "g", "zz"]

        found = adapter.get_to_patch(GROUP, "g", ids)
        along = found.read_along

        assert found == adapter.get(GROUP, "g")
        if along is not None:
            assert along.ids == set(ids)
            assert {one.resource_id: one for one in along.existing} == found_by_id(adapter, ids)
            assert {one.resource_id for one in along.members} == among(adapter, "g", ids) == {"a"}

    def test_what_was_read_before_another_change_undoes_nothing(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))
        adapter.create(GROUP, stored("g", displayName="G"))
        change_members(adapter, "g", members("a"), ())
        before = adapter.get(GROUP, "g")
        change_members(adapter, "g", [Member("b", "User", "Babs")], ())
        adapter.replace(GROUP, stored("g", displayName="H"))

        adapter.change_members(GROUP, before, [Member("c", "User", "Cleo")], members("a"))

        shown = {(m.resource_id, m.display) for m in members_of(adapter, "g")}
        assert shown == {("b", "Babs"), ("c", "Cleo")}
        assert adapter.get(GROUP, "g").document["displayName"] == "H"

    def test_nobody_joins_a_resource_that_is_gone(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="a"))
        adapter.create(GROUP, stored("g", displayName="G"))
        before = adapter.get(GROUP, "g")
        adapter.delete(GROUP, "g")

        with pytest.raises(ResourceNotFound):
            adapter.change_members(GROUP, before, members("a"), ())
        assert memberships_of(adapter, ["a"]) == {}

    def test_memberships_are_direct_and_nested_and_may_be_circular(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="a"))
        for name in "ghi":
            adapter.create(GROUP, stored(name, displayName=name.upper()))
        change_members(adapter, "g", members("a"), ())
        change_members(adapter, "h", [Member("g", "Group")], ())
        change_members(adapter, "g", [Member("h", "Group")], ())

        found = memberships_of(adapter, ["a", "zz"])

        shown = {(m.resource_id, m.display, m.direct) for m in found["a"]}
        assert shown == {("g", "G", True), ("h", "H", False)}
        assert set(found) == {"a"}

    def test_existing_resources_are_found_by_id(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="ann"))
        adapter.create(GROUP, stored("g", displayName="G"))

        found = found_by_id(adapter, ["a", "g", "zz"])

        assert found == {"a": Member("a", "User", "ann"), "g": Member("g", "Group", "G")}
