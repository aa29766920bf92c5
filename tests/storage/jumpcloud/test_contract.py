"""The storage contract over the JumpCloud adapter and a fake of JumpCloud's API."""


import pytest

from storage.adapter import Member, StorageAdapter
from storage.errors import ValueRefused
from storage.testing import (
    GROUP,
    USER,
    StorageContract,
    change_members,
    ids_matching,
    members,
    members_of,
    memberships_of,
    stored,
)
from storage.testing.own_ids import OwnIds
from tests.storage.jumpcloud.conftest import Store


class TestJumpcloud(StorageContract):
    @pytest.fixture
    def adapter(self, store: Store) -> StorageAdapter:
        return OwnIds(store.open("hidden"))

    def test_long_values_are_told_apart(self, adapter: StorageAdapter) -> None:
        """As far as JumpCloud goes: what must be whole in a field of it may have 1,024 characters."""
        adapter.create(USER, stored("1", userName="x" * 1000 + "a", title="y" * 5000 + "needle"))
        adapter.create(USER, stored("2", userName="x" * 1000 + "b"))

        assert ids_matching(adapter, USER, f'userName eq "{"x" * 1000}b"') == ["2"]
        assert ids_matching(adapter, USER, 'title co "needle"') == ["1"]
        assert ids_matching(adapter, USER, 'title ew "dle" and title sw "yyy"') == ["1"]
        assert sorted(ids_matching(adapter, USER, f'userName sw "{"x" * 1000}"')) == ["1", "2"]
        assert ids_matching(adapter, USER, f'userName gt "{"x" * 1000}a"') == ["2"]
        with pytest.raises(ValueRefused, match="userName"):
            adapter.create(USER, stored("3", userName="x" * 1025))
        with pytest.raises(ValueRefused, match="externalId"):
            adapter.create(USER, stored("3", userName="c", externalId="x" * 1025))

    def test_memberships_are_direct_and_nested_and_may_be_circular(self, adapter: StorageAdapter) -> None:
        """Direct is what there is: in JumpCloud, a group is no member of a group."""
        adapter.create(USER, stored("a", userName="a"))
        for name in "gh":
            adapter.create(GROUP, stored(name, displayName=name.upper()))
        change_members(adapter, "g", members("a"), ())

        with pytest.raises(ValueRefused, match="members"):
            change_members(adapter, "h", [Member("g", "Group")], ())

        found = memberships_of(adapter, ["a", "zz"])
        assert {(m.resource_id, m.display, m.direct) for m in found["a"]} == {("g", "G", True)}
        assert set(found) == {"a"}
        assert list(members_of(adapter, "h")) == []
