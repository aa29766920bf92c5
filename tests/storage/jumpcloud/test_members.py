"""Members of groups: changed one by one, read by the page, and what holds while JumpCloud shows them late."""

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from schema.urns import ENTERPRISE_USER as ENTERPRISE
from storage.adapter import Member, Membership
from storage.errors import ResourceNotFound, ValueRefused, VersionMismatch
from storage.jumpcloud.wire import Directory
from storage.testing import GROUP, USER, among, change_members, members_of, memberships_of, stored
from tests.storage.jumpcloud.conftest import Store

MEMBERS, MEMBER_OF = "/api/v2/usergroups/*/members", "GET /api/v2/users/*/memberof"


def users(store: Store, count: int) -> list[str]:
    """Make users in the console, which is faster."""
    made = (
        store.organisation.create_user({"username": f"u{n}", "email": f"u{n}@example.org"})
        for n in range(count)
    )
    return [user["_id"] for user in made]


def group(store: Store, name: str, *member_ids: str) -> str:
    group_id: str = store.adapter.create(GROUP, stored("x", displayName=name)).id
    store.organisation.members[group_id] = dict.fromkeys(member_ids)
    return group_id


def links(ids: list[str]) -> list[Member]:
    return [Member(user_id, "User") for user_id in ids]


def ids_of(store: Store, group_id: str) -> list[str]:
    return [member.resource_id for member in members_of(store.adapter, group_id)]


def test_the_named_members_are_written_and_no_others(store: Store) -> None:
    """Those that are members already too: what JumpCloud shows of them may be of an earlier time."""
    ids = users(store, 250)
    group_id = group(store, "g", *ids[:240])
    store.calls()

    assert change_members(store.adapter, group_id, links(ids[235:245]), ids[:3])

    assert store.calls().count(f"POST {MEMBERS}") == 13
    assert set(ids_of(store, group_id)) == set(ids[3:245])


def test_one_member_costs_the_same_in_a_group_of_any_size(store: Store) -> None:
    ids = users(store, 1001)
    costs = []
    for size in (1, 1000):
        group_id = group(store, f"g{size}", *ids[:size])
        store.calls()
        assert change_members(store.adapter, group_id, links(ids[-1:]), ())
        assert change_members(store.adapter, group_id, (), ids[-1:])
        costs.append(store.calls())

    assert costs[0] == costs[1] and len(costs[0]) == 7


def test_many_members_join_and_leave_at_once(store: Store) -> None:
    ids = users(store, 300)
    group_id = group(store, "g")

    assert change_members(store.adapter, group_id, links(ids), ())
    assert not change_members(store.adapter, group_id, links(ids), ())
    assert set(ids_of(store, group_id)) == set(ids)
    assert change_members(store.adapter, group_id, (), ids[10:])
    assert set(ids_of(store, group_id)) == set(ids[:10])


def test_who_does_not_exist_joins_nothing(store: Store) -> None:
    group_id = group(store, "g")

    assert not change_members(store.adapter, group_id, links(["f" * 24, "../x"]), ["*"])
    assert ids_of(store, group_id) == []


def test_who_is_removed_in_the_moment_of_joining_joins_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (user_id,) = users(store, 1)
    group_id = group(store, "g")
    add_member = Directory.add_member

    def too_late(directory: Directory, group_id: str, user_id: str) -> None:
        store.organisation.users.pop(user_id, None)
        add_member(directory, group_id, user_id)

    monkeypatch.setattr(Directory, "add_member", too_late)
    change_members(store.adapter, group_id, links([user_id]), ())

    assert ids_of(store, group_id) == []


@pytest.mark.parametrize("method", ["DYNAMIC_AUTOMATED", "DYNAMIC_REVIEW_REQUIRED"])
def test_dynamic_groups_are_read_and_not_filled(store: Store, method: str) -> None:
    first, second = users(store, 2)
    group_id = group(store, "rule", first)
    live = store.organisation.groups[group_id]
    live |= {"membershipMethod": method, "memberQuery": {"queryType": "FilterQuery"}}

    with pytest.raises(ValueRefused, match="members: .*rule"):
        change_members(store.adapter, group_id, links([second]), ())
    with pytest.raises(ValueRefused, match="members"):
        change_members(store.adapter, group_id, (), [first])

    assert ids_of(store, group_id) == [first]
    # Nobody can leave it, so it does not hinder whoever deletes the user.
    assert memberships_of(store.adapter, [first])[first] == [Membership(group_id, "Group", "rule", False)]
    store.adapter.replace(GROUP, stored(group_id, displayName="renamed"))
    assert (live["membershipMethod"], live["memberQuery"]) == (method, {"queryType": "FilterQuery"})


def test_what_is_shown_of_a_member_is_not_the_version_of_the_group(store: Store) -> None:
    (user_id,) = users(store, 1)
    group_id = group(store, "g")
    version = store.adapter.get(GROUP, group_id).version

    change_members(store.adapter, group_id, [Member(user_id, "User", "Babs")], ())
    assert list(members_of(store.adapter, group_id)) == [Member(user_id, "User", "Babs")]
    assert store.adapter.get(GROUP, group_id).version == version
    store.adapter.replace(GROUP, stored(group_id, displayName="h"))
    assert list(members_of(store.adapter, group_id)) == [Member(user_id, "User", "Babs")]
    change_members(store.adapter, group_id, (), [user_id])
    change_members(store.adapter, group_id, links([user_id]), ())
    assert list(members_of(store.adapter, group_id)) == [Member(user_id, "User", "u0")]


def test_members_that_the_console_changes_show_and_leave_the_version(store: Store) -> None:
    ids = users(store, 3)
    group_id = group(store, "g", *ids[:2])
    version = store.adapter.get(GROUP, group_id).version

    store.organisation.members[group_id] = dict.fromkeys(ids[1:])

    assert ids_of(store, group_id) == ids[1:]
    assert store.adapter.get(GROUP, group_id).version == version


def test_changes_show_when_jumpcloud_shows_them(store: Store) -> None:
    """Another process sees no more: a change takes effect, and readings of its lag show the time before."""
    ids = users(store, 3)
    group_id = group(store, "g", ids[0])
    store.organisation.lag_s = 60

    assert change_members(store.adapter, group_id, links(ids[1:]), ids[:1])

    other = Store(store.fake, store.key)
    for adapter in (store.adapter, other.adapter):
        assert [member.resource_id for member in members_of(adapter, group_id)] == ids[:1]
        assert set(memberships_of(adapter, ids)) == set(ids[:1])
    # Once more, it is a change against the members that are shown.
    assert change_members(store.adapter, group_id, links(ids[1:]), ids[:1])
    store.organisation.settle(everything=True)
    for adapter in (store.adapter, other.adapter):
        assert [member.resource_id for member in members_of(adapter, group_id)] == ids[1:]
        assert set(memberships_of(adapter, ids)) == set(ids[1:])
    assert not change_members(store.adapter, group_id, links(ids[1:]), ids[:1])
    other.adapter.close()


def test_a_change_that_undoes_one_that_does_not_show_yet_takes_effect(store: Store) -> None:
    first, second = users(store, 2)
    group_id = group(store, "g", first)
    store.organisation.lag_s = 60
    change_members(store.adapter, group_id, links([second]), [first])

    change_members(store.adapter, group_id, links([first]), [second])

    store.organisation.settle(everything=True)
    assert ids_of(store, group_id) == [first]


def test_who_is_deleted_is_a_member_of_nothing_once_memberships_show(store: Store) -> None:
    ids = users(store, 2)
    group_id = group(store, "g")
    store.organisation.lag_s = 60
    change_members(store.adapter, group_id, links(ids), ())

    store.adapter.delete(USER, ids[0])

    store.organisation.settle(everything=True)
    assert ids_of(store, group_id) == ids[1:]


def test_memberships_of_a_page_of_users_take_no_call_per_user(store: Store) -> None:
    ids = users(store, 100)
    groups = [group(store, f"g{n}", *ids[n :: 3]) for n in range(3)]
    store.calls()

    found = memberships_of(store.adapter, ids)

    assert store.calls() == ["GET /api/v2/usergroups", *3 * [f"GET {MEMBERS}"]]
    assert [[m.resource_id for m in found[user_id]] for user_id in ids[:3]] == [[g] for g in groups]


def test_memberships_of_few_users_in_many_large_groups_do_not_read_the_groups(store: Store) -> None:
    ids = users(store, 300)
    groups = [group(store, f"g{n}", *ids) for n in range(4)]
    store.calls()

    found = memberships_of(store.adapter, ids[:2])

    assert {user_id: [m.resource_id for m in links] for user_id, links in found.items()} == {
        user_id: groups for user_id in ids[:2]
    }
    assert store.calls() == ["GET /api/v2/usergroups", *2 * [MEMBER_OF]]


def test_memberships_in_few_groups_that_turn_out_large_do_not_read_them_to_the_end(store: Store) -> None:
    ids = users(store, 600)
    groups = [group(store, f"g{n}", *ids) for n in range(2)]
    store.calls()

    found = memberships_of(store.adapter, ids[:4])

    assert [[m.resource_id for m in found[user_id]] for user_id in ids[:4]] == 4 * [groups]
    calls = store.calls()
    assert calls.count(MEMBER_OF) == 4
    # What was begun when that became clear is one call per group.
    assert calls.count(f"GET {MEMBERS}") <= 4 + 2


def test_a_list_of_users_in_many_groups_takes_no_more_calls_than_users_and_several_at_once(
    store: Store,
) -> None:
    ids = users(store, 20)
    for number in range(30):
        group(store, f"g{number}", ids[number % 20])
    store.calls()
    store.fake.most_at_once, store.fake.delay_s = 0, 0.02

    found = memberships_of(store.adapter, ids)

    assert [len(found[user_id]) for user_id in ids] == 10 * [2] + 10 * [1]
    assert sorted(store.calls()) == ["GET /api/v2/usergroups", *20 * [MEMBER_OF]]
    # Half of the connections of the pool, so that one request does not take them all.
    assert store.fake.most_at_once == 4


@pytest.mark.parametrize(
    ("asked", "size", "calls"),
    [
        (1, 1000, {MEMBER_OF: 1}),
        (2, 1000, {f"GET {MEMBERS}": 1, MEMBER_OF: 2}),
        (20, 250, {f"GET {MEMBERS}": 3}),
        (90, 250, {f"GET {MEMBERS}": 3}),
        (0, 250, {}),
    ],
)
def test_whether_some_are_members_is_asked_in_few_calls(
    store: Store, asked: int, size: int, calls: dict[str, int]
) -> None:
    ids = users(store, size + asked)
    group_id = group(store, "g", *ids[:size])
    some = ids[size - (asked + 1) // 2 : size + asked // 2]
    assert len(some) == asked
    stored_group = store.adapter.get(GROUP, group_id)
    store.calls()

    found = store.adapter.among_members(GROUP, stored_group, [*some, "../x", "*"] if asked else [])

    assert {member.resource_id for member in found} == frozenset(some) & frozenset(ids[:size])
    assert Counter(store.calls()) == calls


def test_whether_some_are_members_is_what_jumpcloud_shows(store: Store) -> None:
    ids = users(store, 4)
    group_id = group(store, "g", *ids[:2])
    store.organisation.lag_s = 60
    change_members(store.adapter, group_id, links(ids[2:3]), ids[:1])

    for members in (ids[:2], ids[1:3]):
        assert among(store.adapter, group_id, ids) == set(members)
        for one in ids[:3]:
            assert among(store.adapter, group_id, [one]) == {one} & set(members)
        store.organisation.settle(everything=True)
    for gone in ("../x", "f" * 24):
        assert not store.adapter.among_members(GROUP, stored(gone, displayName="gone"), ids)


def test_a_group_that_is_not_there_has_no_members(store: Store) -> None:
    for group_id in ("f" * 24, "nope", "", "*", "../../systemusers"):
        with pytest.raises(ResourceNotFound):
            list(members_of(store.adapter, group_id))
        with pytest.raises(ResourceNotFound):
            change_members(store.adapter, group_id, links(["f" * 24]), ())
    assert all(one.path.count("*") == 0 for one in store.fake.requests)


def test_threads_change_one_group_without_losing_members(store: Store) -> None:
    ids = users(store, 40)
    group_id = group(store, "g")

    def join(number: int) -> None:
        for user_id in ids[number::8]:
            change_members(store.adapter, group_id, [Member(user_id, "User", f"D{user_id}")], ())

    _in_threads(join, 8)

    assert {m.resource_id: m.display for m in members_of(store.adapter, group_id)} == {
        user_id: f"D{user_id}" for user_id in ids
    }


def test_of_threads_that_saw_the_same_version_one_wins(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", userName="a"))
    outcomes: list[str] = []

    def write(number: int) -> None:
        try:
            store.adapter.replace(USER, stored(created.id, userName="a", title=str(number)), created.version)
            outcomes.append("written")
        except VersionMismatch:
            outcomes.append("stale")

    _in_threads(write, 8)

    assert sorted(outcomes) == ["stale"] * 7 + ["written"]


def test_processes_change_one_group_without_losing_members(store: Store) -> None:
    ids = users(store, 24)
    group_id = group(store, "g")
    # The parent has connections by now, which a child must not use.
    assert store.adapter.get(GROUP, group_id)

    def join(number: int) -> None:
        for user_id in ids[number::4]:
            change_members(store.adapter, group_id, links([user_id]), ())
        os._exit(0)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=join, args=(number,)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert set(ids_of(store, group_id)) == set(ids)


def test_a_manager_is_a_user_of_jumpcloud_where_the_id_is_one(store: Store) -> None:
    boss, other = users(store, 2)
    document = {"userName": "a", ENTERPRISE: {"manager": {"value": boss, "$ref": f"/Users/{boss}"}}}
    created = store.adapter.create(USER, stored("x", **document))
    live = store.organisation.users[created.id]
    assert live["manager"] == boss and created.document[ENTERPRISE] == document[ENTERPRISE]

    live["manager"] = other

    assert store.adapter.get(USER, created.id).document[ENTERPRISE] == {"manager": {"value": other}}


def _in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
