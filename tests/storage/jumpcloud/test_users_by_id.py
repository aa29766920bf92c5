"""Users by their ids, where JumpCloud answers what nobody has promised, and where it does not."""

import itertools
import logging
from collections import Counter

import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Selection
from storage.search import search
from storage.testing import USER, found_by_id, members_of, represent
from tests.storage.jumpcloud.conftest import Store
from tests.storage.jumpcloud.test_members import group, users

SEARCH, LIST, ONE = "POST /api/search/systemusers", "GET /api/systemusers", "GET /api/systemusers/*"
MODES = ["", "refused", "nothing", "everybody", "first", "total"]
MISSING = ["f" * 24, "e" * 24, "*", "../x"]


def found(store: Store, ids: list[str]) -> dict[str, str | None]:
    return {user_id: member.display for user_id, member in found_by_id(store.adapter, ids).items()}


@pytest.mark.parametrize(("search_mode", "list_mode"), list(itertools.product(MODES, MODES)))
def test_users_are_found_in_whatever_way_works(store: Store, search_mode: str, list_mode: str) -> None:
    ids = users(store, 130)
    group_id = group(store, "g", *ids[:120])
    store.organisation.id_search, store.organisation.id_list = search_mode, list_mode

    for _ in range(2):
        assert found(store, [*ids[:3], *MISSING]) == {user_id: f"u{n}" for n, user_id in enumerate(ids[:3])}
        assert found(store, MISSING) == {}
        members = members_of(store.adapter, group_id)
        assert [member.display for member in members] == [f"u{number}" for number in range(120)]


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_way_that_does_not_work_is_tried_once(
    store: Store, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ids = users(store, 120)
    store.organisation.id_search = mode
    assert len(found(store, ids)) == 120
    store.calls()

    assert len(found(store, ids)) == 120
    assert Counter(store.calls()) == {LIST: 3}

    store.organisation.id_list = mode
    other = Store(store.fake, store.key)
    assert len(found(other, ids)) == 120
    store.calls()
    assert len(found(other, ids)) == 120
    assert Counter(store.calls()) == {ONE: 120}
    other.adapter.close()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"JumpCloud does not find users by id with {way}"
        for way in ("a search", "a search", "a filtered list")
    ]


def test_one_by_one_several_are_asked_for_at_once(store: Store) -> None:
    ids = users(store, 20)
    store.organisation.id_search = store.organisation.id_list = "refused"
    store.fake.most_at_once, store.fake.delay_s = 0, 0.02

    assert len(found(store, ids)) == 20

    assert store.fake.most_at_once == 4


def test_whether_a_search_leaves_out_users_is_found_out_once(store: Store) -> None:
    ids = users(store, 3)
    asked = [ids[0], *MISSING]

    assert found(store, asked) == {ids[0]: "u0"}
    assert Counter(store.calls())[LIST] == 1
    assert found(store, asked) == {ids[0]: "u0"}
    assert Counter(store.calls()) == {SEARCH: 1, "GET /api/v2/usergroups/*": 2}


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("mode", MODES)
def test_in_an_organisation_of_hardly_anybody_nobody_is_missed(store: Store, count: int, mode: str) -> None:
    ids = users(store, count)
    store.organisation.id_search = mode

    assert list(found(store, [*ids, *MISSING])) == ids


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('id eq "{0}"', ["u0"]),
        ('id eq "{0}" or id eq "{2}"', ["u0", "u2"]),
        ('id eq "{0}" or userName eq "U1"', ["u0", "u1"]),
        ('id eq "{1}" and userName eq "u1"', ["u1"]),
        ('id eq "{1}" and id eq "{2}"', []),
        ('id eq "{1}" and userName eq "u2"', []),
        ('id eq "ffffffffffffffffffffffff" or id eq "{2}"', ["u2"]),
    ],
)
def test_filters_with_ids_find_what_they_should(store: Store, text: str, names: list[str], mode: str) -> None:
    ids = users(store, 3)
    store.organisation.id_search = mode
    selection = Selection(resolve(parse_filter(text.format(*ids)), USER))

    page = search(store.adapter, USER, selection, represent)

    assert [one.document["userName"] for one in page.resources] == names
