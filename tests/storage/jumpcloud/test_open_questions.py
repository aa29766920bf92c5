"""What is known of the API leaves some things open: the adapter works whichever way they are."""

import itertools

import pytest

from schema.resource_type import ResourceType
from scim_filter import parse_filter, resolve
from storage.adapter import Position, Selection
from storage.errors import ResourceNotFound
from storage.search import position_of, search
from storage.testing import GROUP, USER, found_by_id, members_of, memberships_of, represent, stored
from tests.storage.jumpcloud.conftest import Store
from tests.storage.jumpcloud.test_members import group, users


@pytest.fixture
def otherwise(store: Store) -> Store:
    store.organisation.is_otherwise = True
    return store


def names(store: Store, text: str) -> list[str]:
    page = search(store.adapter, USER, Selection(resolve(parse_filter(text), USER)), represent)
    return sorted(one.document["userName"] for one in page.resources)


def read_in_pages(store: Store, kind: ResourceType, count: int) -> list[str]:
    """Return the ids of all there are, each page read from the end of the one before it."""
    found: list[str] = []
    after: Position | None = None
    while True:
        page = search(store.adapter, kind, Selection(limit=count, after=after), represent)
        found += [one.id for one in page.resources]
        if len(page.resources) < count:
            assert page.total == len(found)
            return found
        after = position_of(page.resources[-1], None, {})


def test_users_and_groups_live_and_die(otherwise: Store) -> None:
    first, second, *_ = ids = users(otherwise, 30)
    group_id = group(otherwise, "g", *ids[:5])
    adapter = otherwise.adapter

    adapter.replace(USER, stored(first, userName="anna", title="T" * 3000))
    adapter.replace(GROUP, stored(group_id, displayName="h"))
    adapter.delete(USER, second)

    assert adapter.get(USER, first).document["title"] == "T" * 3000
    assert adapter.get(GROUP, group_id).document["displayName"] == "h"
    assert {member.resource_id for member in members_of(adapter, group_id)} == {first, *ids[2:5]}
    assert [one.resource_id for one in memberships_of(adapter, [first])[first]] == [group_id]
    assert names(otherwise, f'id eq "{first}" or id eq "{ids[7]}" or id eq "nobody"') == ["anna", "u7"]
    assert names(otherwise, f'groups.value eq "{group_id}"') == ["anna", "u2", "u3", "u4"]
    assert set(found_by_id(adapter, [first, group_id, "nobody", "../x"])) == {first, group_id}
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, second)


@pytest.mark.parametrize("kind", [USER, GROUP], ids=["users", "groups"])
def test_pages_that_follow_each_other_hold_everything_once(otherwise: Store, kind: ResourceType) -> None:
    ids = users(otherwise, 25) if kind is USER else [group(otherwise, f"g{n}") for n in range(25)]

    assert read_in_pages(otherwise, kind, 4) == sorted(ids)


def test_whether_ids_have_another_form_is_looked_up_once(store: Store) -> None:
    users(store, 1)
    store.calls()

    for _ in range(2):
        with pytest.raises(ResourceNotFound):
            store.adapter.get(USER, "bjensen")

    assert store.calls() == ["GET /api/systemusers"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pages_hold_everybody_though_several_machines_gave_ids_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    machines = ["cccccccccc", "aaaaaaaaaa", "bbbbbbbbbb"]
    given = (f"65a0b0c0{machines[n % 3]}{9 - n:06x}" for n in itertools.count())
    monkeypatch.setattr("tests.fake_jumpcloud.organisation.new_id", lambda: next(given))
    ids = users(store, 7)

    assert read_in_pages(store, USER, count) == sorted(ids)
