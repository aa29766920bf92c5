"""The contract of owners, for adapters with the capability `owners`."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from scim_filter import parse_filter, resolve
from scim_filter.nodes import And, Node
from storage.adapter import Position, Selection, Sort, StorageAdapter, StoredResource
from storage.errors import UniquenessConflict
from storage.narrowed import NarrowedStorage
from storage.owners import owned_by
from storage.search import search
from storage.testing.resources import GROUP, NOW, REGISTRY, USER, represent, stored

_ANN, _BOB = "token ann", "token b=ob/√"


def _owned(owner: str | None, resource_id: str, **document: str) -> StoredResource:
    return replace(stored(resource_id, **document), owner=owner)


def _found(adapter: StorageAdapter, node: Node, **selection: object) -> Sequence[str]:
    page = search(adapter, USER, Selection(node, **selection), represent)  # type: ignore[arg-type]
    return [one.id for one in page.resources]


class OwnersContract:
    """A resource has an owner, which is no attribute of it."""

    @pytest.fixture
    def owned(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter, where it keeps owners, with resources of two owners and of none."""
        if not adapter.capabilities.owners:
            pytest.skip("the backend keeps no owners")
        adapter.create(USER, _owned(_ANN, "1", userName="a", title="x"))
        adapter.create(USER, _owned(_BOB, "2", userName="b", title="x"))
        more = [_owned(_ANN, "3", userName="c", title="y"), _owned(None, "4", userName="d")]
        adapter.create_many(USER, more)
        return adapter

    def test_the_owner_stays_with_the_resource(self, owned: StorageAdapter) -> None:
        assert {one.id: one.owner for one in owned.scan(USER)} == {"1": _ANN, "2": _BOB, "3": _ANN, "4": None}
        before = owned.get(USER, "2")

        after = owned.replace(USER, replace(before, text=stored("2", userName="b", title="z").text))

        assert before.owner == after.owner == owned.get(USER, "2").owner == _BOB
        assert "owner" not in after.text
        assert owned.create(USER, _owned(_BOB, "5", userName="e")).owner == _BOB

    def test_resources_are_found_by_their_owner(self, owned: StorageAdapter) -> None:
        assert _found(owned, owned_by(_ANN)) == ["1", "3"]
        assert _found(owned, owned_by(_BOB)) == ["2"]
        assert _found(owned, owned_by("token")) == []
        found = owned.candidates(USER, Selection(owned_by(_ANN), limit=1))
        assert found.residual is None and found.is_page and found.total == 2

    def test_the_owner_and_a_filter_hold_together(self, owned: StorageAdapter) -> None:
        def both(text: str, **selection: object) -> Sequence[str]:
            return _found(owned, And((owned_by(_ANN), resolve(parse_filter(text), USER))), **selection)

        name = USER.path("userName")
        assert name is not None
        assert both('title eq "x"') == ["1"]
        assert both('userName eq "b"') == both('userName sw "d"') == []
        assert both('not (title eq "x")') == ["3"]
        assert both('userName eq "a" or userName eq "b"') == ["1"]
        assert both("title pr", sort=Sort(name, descending=True)) == ["3", "1"]
        assert both("title pr", sort=Sort(name), limit=1) == ["1"]
        last = owned.get(USER, "1").place
        assert both("title pr", sort=Sort(name), after=Position(last, "a"), limit=5) == ["3"]

    def test_no_filter_of_a_client_names_the_owner(self, owned: StorageAdapter) -> None:
        assert USER.path("owner") is None and USER.path("#owner") is None

    def test_an_external_id_is_unique_for_its_owner(self, owned: StorageAdapter) -> None:
        for number, owner in enumerate((_ANN, _BOB, None)):
            owned.create(GROUP, _owned(owner, f"g{number}", displayName="g", externalId="same"))
        for owner in (_ANN, _BOB, None):
            with pytest.raises(UniquenessConflict) as caught:
                owned.create(GROUP, _owned(owner, "g9", displayName="g", externalId="same"))
            assert caught.value.attribute == "externalId"
        with pytest.raises(UniquenessConflict):
            owned.create(USER, _owned(_BOB, "9", userName="A"))

        owned.delete(GROUP, "g1")
        owned.create(GROUP, _owned(_BOB, "g4", displayName="g", externalId="same"))
        other = owned.get(GROUP, "g4")
        owned.replace(GROUP, replace(other, text=stored("g4", displayName="g", externalId="other").text))
        owned.create(GROUP, _owned(_BOB, "g5", displayName="g", externalId="same"))

    def test_a_write_may_give_a_resource_to_another_owner(self, owned: StorageAdapter) -> None:
        owned.create(USER, _owned(_ANN, "5", userName="e", externalId="same"))
        owned.create(USER, _owned(_BOB, "6", userName="f", externalId="same"))

        with pytest.raises(UniquenessConflict) as caught:
            owned.replace(USER, replace(owned.get(USER, "5"), owner=_BOB))
        assert caught.value.attribute == "externalId"
        assert owned.get(USER, "5").owner == _ANN
        owned.replace(USER, replace(owned.get(USER, "5"), owner=None))
        assert owned.get(USER, "5").owner is None and "5" not in _found(owned, owned_by(_ANN))
        owned.create(USER, _owned(_ANN, "7", userName="g", externalId="same"))
        owned.replace(USER, replace(owned.get(USER, "1"), owner=_BOB))
        assert _found(owned, owned_by(_BOB)) == ["1", "2", "6"]

    def test_what_an_owner_sees_is_a_storage_of_its_own(self, owned: StorageAdapter) -> None:
        types = REGISTRY.resource_types
        own = NarrowedStorage(owned, types, {one.name: owned_by(_ANN) for one in types})

        assert [one.id for one in own.scan(USER)] == ["1", "3"]
        assert own.get(USER, "1").created == NOW
        assert {one.resource_id for one in own.find(["1", "2", "4"])} == {"1"}
        page = search(own, USER, Selection(None, limit=1), represent)
        assert ([one.id for one in page.resources], page.total) == (["1"], 2)
