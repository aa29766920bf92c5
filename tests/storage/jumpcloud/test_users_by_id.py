"""Users by their ids, where the search answers as documented, and where it does not."""

import logging
from collections import Counter
from collections.abc import Callable

import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Selection
from storage.errors import BadBackendAnswer
from storage.search import search
from storage.testing import GROUP, USER, found_by_id, members_of, represent, stored
from tests.storage.jumpcloud.conftest import Store
from tests.storage.jumpcloud.test_members import group, links, users

SEARCH, ONE, GROUPS = "POST /api/search/systemusers", "GET /api/systemusers/*", "GET /api/v2/usergroups/*"
# Ways in which a search omits users or counts wrongly, and ways in which its answer cannot be used.
OMITTING = ["", "nothing", "first", "total"]
UNUSABLE = ["refused", "everybody"]
MISSING = ["f" * 24, "e" * 24, "*", "../x"]


def found(store: Store, ids: list[str]) -> dict[str, str | None]:
    return {user_id: member.display for user_id, member in found_by_id(store.adapter, ids).items()}


@pytest.mark.parametrize("mode", OMITTING)
def test_users_are_found_though_a_search_omits_them(store: Store, mode: str) -> None:
    ids = users(store, 130)
    store.organisation.id_search = mode

    assert found(store, [*ids, *MISSING]) == {user_id: f"u{n}" for n, user_id in enumerate(ids)}
    assert found(store, MISSING) == {}


def test_users_are_found_in_a_call_for_a_hundred_of_them(store: Store) -> None:
    ids = users(store, 130)
    store.calls()

    found(store, ids)

    assert store.calls() == 2 * [SEARCH]


def test_omitted_users_are_read_by_their_ids_and_counted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ids = users(store, 20)
    store.organisation.id_search = "first"
    store.fake.most_at_once, store.fake.delay_s = 0, 0.02
    store.calls()

    assert len(found(store, [*ids, MISSING[0]])) == 20

    assert Counter(store.calls()) == {SEARCH: 1, ONE: 20, GROUPS: 1}
    # Half of the connections of the pool.
    assert store.fake.most_at_once == 4
    assert caplog.messages == ["JumpCloud: a search for 21 ids omitted 19 users"]


def test_missing_ids_are_not_counted(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    ids = users(store, 3)
    store.calls()

    assert found(store, [*ids, *MISSING]) == {user_id: f"u{n}" for n, user_id in enumerate(ids)}

    calls = Counter(store.calls())
    assert (calls[SEARCH], calls[ONE], calls[GROUPS]) == (1, 2, 2)
    assert caplog.messages == []


def test_a_user_who_is_not_in_the_index_yet_joins_a_group(store: Store) -> None:
    ids = users(store, 3)
    created = store.adapter.create(GROUP, stored("x", displayName="g"))
    store.organisation.id_search = "nothing"

    assert store.adapter.change_members(GROUP, created, links(ids), ())

    assert list(store.organisation.members[created.id]) == ids


def test_members_that_a_search_omits_are_shown_without_display_and_counted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ids = users(store, 120)
    group_id = group(store, "g", *ids)
    store.organisation.id_search = "first"
    store.calls()

    members = list(members_of(store.adapter, group_id))

    assert [member.resource_id for member in members] == ids
    shown = {number: member.display for number, member in enumerate(members) if member.display}
    assert shown == {0: "u0", 100: "u100"}
    assert Counter(store.calls())[ONE] == 0
    assert [text.partition(": ")[2] for text in caplog.messages] == [
        "a search for 100 members by id omitted 99 users",
        "a search for 20 members by id omitted 19 users",
    ]


@pytest.mark.parametrize("mode", OMITTING)
def test_a_hidden_member_that_a_search_omits_is_not_shown(store: Store, mode: str) -> None:
    others = [store.organisation.create_user({"username": n, "email": f"{n}@x.org"})["_id"] for n in "ab"]
    ids = [store.adapter.create(USER, stored("x", userName=f"u{number}")).id for number in range(3)]
    group_id = group(store, "g", *ids, *others)
    store.organisation.id_search = mode

    members = members_of(store.open("hidden"), group_id)
    assert [(one.resource_id, one.display) for one in members] == [(i, f"u{n}") for n, i in enumerate(ids)]


@pytest.mark.parametrize("mode", UNUSABLE)
def test_an_unusable_answer_is_an_error_and_no_other_way_is_tried(store: Store, mode: str) -> None:
    ids = users(store, 3)
    group_id = group(store, "g", *ids[:2])
    store.organisation.id_search = mode
    readings: list[Callable[[], object]] = [
        lambda: found(store, ids[:2]),
        lambda: list(members_of(store.adapter, group_id)),
    ]
    for read in readings:
        store.calls()
        with pytest.raises(BadBackendAnswer, match="search|other users"):
            read()
        assert store.calls()[-1] == SEARCH
    assert found(store, ids[:1]) == {ids[0]: "u0"}


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("mode", OMITTING)
def test_in_an_organisation_of_hardly_anybody_nobody_is_missed(store: Store, count: int, mode: str) -> None:
    ids = users(store, count)
    store.organisation.id_search = mode

    assert list(found(store, [*ids, *MISSING])) == ids


@pytest.mark.parametrize("mode", OMITTING)
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
