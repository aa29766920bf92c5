"""A user who owns data is removed without it: it passes to a group that says whose it was."""

import re

import pytest

from storage.adapter import Member
from storage.errors import OutcomeUnknown, ResourceNotFound
from storage.testing import GROUP, USER, change_members, members_of, memberships_of
from tests.fake_irods import ZONE
from tests.storage.irods.store import Store, create, found

HOME = f"/{ZONE}/home"
RENAME = 627


def heir(store: Store) -> str:
    """Return the name of the group that was made for the data of a deleted user."""
    (name,) = [name for name in store.names("rodsgroup") if name.startswith("deleted.")]
    return name


def test_a_user_without_data_goes_and_leaves_nothing(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice")

    store.adapter.delete(USER, user.id)

    assert "alice" not in store.names()
    assert store.names("rodsgroup") - {"rodsadmin"} == {"public", "scim.lock"}
    with pytest.raises(ResourceNotFound):
        store.adapter.get(USER, user.id)


def test_the_data_of_a_user_passes_to_a_marked_group(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice")
    catalog = store.fake.catalog
    catalog.put_data(f"{HOME}/alice/plan.txt", "alice")
    catalog.put_data(f"{HOME}/alice/runs/1/result.txt", "alice")
    catalog.put_data(f"{HOME}/alice/runs/notes.txt", "bob")
    catalog.put_data(f"/{ZONE}/trash/home/alice/old.txt", "alice")
    catalog.put_data(f"{HOME}/project/shared.txt", "alice")

    store.adapter.delete(USER, user.id)

    group = heir(store)
    assert "alice" not in store.names() and "alice" in group and user.id in group
    avus = dict(avu[:2] for avu in catalog.account(group).avus)
    assert avus["DELETED"] == "alice"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", avus["TIMESTAMP"])
    moved = {path for path in catalog.paths() if path.startswith(f"{HOME}/{group}/")}
    files = {path.removeprefix(f"{HOME}/{group}/") for path in moved if path.endswith(".txt")}
    assert files == {"plan.txt", "runs/1/result.txt", "runs/notes.txt", "trash/old.txt"}
    assert all(group in catalog.owners[path] for path in moved)
    assert group in catalog.owners[f"{HOME}/project/shared.txt"]
    assert not [path for path in catalog.paths() if path.startswith(f"{HOME}/alice")]


def test_the_data_in_the_home_of_a_group_passes_to_a_marked_group(store: Store) -> None:
    group = create(store.adapter, GROUP, displayName="staff")
    catalog = store.fake.catalog
    catalog.put_data(f"{HOME}/staff/plan.txt", "alice")
    catalog.put_data(f"{HOME}/staff/runs/1/result.txt", "bob")

    store.adapter.delete(GROUP, group.id)

    assert "staff" not in store.names("rodsgroup")
    assert heir(store) == f"deleted.{group.id}.staff"
    moved = {path for path in catalog.paths() if path.startswith(f"{HOME}/{heir(store)}/")}
    files = {path.removeprefix(f"{HOME}/{heir(store)}/") for path in moved if path.endswith(".txt")}
    assert files == {"plan.txt", "runs/1/result.txt"}
    assert list(store.adapter.scan(GROUP)) == []


def test_moving_data_takes_one_request_for_each_entry_of_the_home(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice")
    catalog, requests = store.fake.catalog, store.fake.mischief.requests
    for number in range(300):
        catalog.put_data(f"{HOME}/alice/{number}.txt", "alice")
        catalog.put_data(f"{HOME}/alice/runs/{number}.txt", "alice")
    requests.clear()

    store.adapter.delete(USER, user.id)

    assert requests.count(RENAME) == 301
    assert len(requests) < 330
    assert f"{HOME}/{heir(store)}/runs/299.txt" in catalog.paths()


def test_what_is_in_the_trash_alone_passes_to_a_group_too(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice")
    catalog = store.fake.catalog
    catalog.put_data(f"/{ZONE}/trash/home/alice/old.txt", "alice")

    store.adapter.delete(USER, user.id)

    assert (f"{HOME}/{heir(store)}/trash", "old.txt") in catalog.data


def test_data_of_an_earlier_user_of_the_name_is_not_passed_on_again(store: Store) -> None:
    store.fake.catalog.put_data(f"{HOME}/alice/plan.txt", "alice")
    store.adapter.delete(USER, create(store.adapter, USER, userName="alice").id)
    group = heir(store)

    store.adapter.delete(USER, create(store.adapter, USER, userName="alice").id)

    assert heir(store) == group


def test_the_group_that_holds_the_data_is_no_resource(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice")
    store.fake.catalog.put_data(f"{HOME}/alice/plan.txt", "alice")
    store.adapter.delete(USER, user.id)

    assert list(store.adapter.scan(GROUP)) == []
    assert found(store.adapter, GROUP, 'displayName sw "deleted"') == []
    number = str(store.fake.catalog.account(heir(store)).number)
    with pytest.raises(ResourceNotFound):
        store.adapter.get(GROUP, number)
    again = create(store.adapter, USER, userName="alice")
    assert store.account_of(again.id) == "alice"


@pytest.mark.parametrize("request_number", [701, 706, 20002, 707, 681, 627])
@pytest.mark.parametrize("done", [False, True])
def test_an_interrupted_removal_can_be_repeated(store: Store, request_number: int, done: bool) -> None:
    user = create(store.adapter, USER, userName="alice")
    store.fake.catalog.put_data(f"{HOME}/alice/plan.txt", "alice")
    mischief = store.fake.mischief
    interrupted = mischief.once_done if done else mischief.in_place_of

    with interrupted(request_number, mischief.hang_up), pytest.raises(OutcomeUnknown):
        store.adapter.delete(USER, user.id)
    if request_number == 706 and done:
        # Whether the change had begun is not known for a while.
        store.fake.catalog.account("alice").avus = {
            (attribute, re.sub(r"\d{13}:", "1:", value), unit): None
            for attribute, value, unit in store.fake.catalog.account("alice").avus
        }

    store.adapter.delete(USER, user.id)
    assert "alice" not in store.names()
    assert (f"{HOME}/{heir(store)}", "plan.txt") in store.fake.catalog.data


def test_a_removed_group_leaves_its_members(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice")
    group, outer = (create(store.adapter, GROUP, displayName=name) for name in ("inner", "outer"))
    change_members(store.adapter, group.id, [Member(user.id, "User")], ())
    change_members(store.adapter, outer.id, [Member(group.id, "Group")], ())

    store.adapter.delete(GROUP, group.id)

    assert memberships_of(store.adapter, [user.id]) == {}
    assert list(members_of(store.adapter, outer.id)) == []
    assert "alice" in store.names()
