"""Which events a write makes, and what they carry (RFC 9967 section 2.4)."""

from dataclasses import replace
from typing import Any

import pytest

from app.protocol.changes import ChangeBuilder, new_txn, uri_of
from app.protocol.context import system
from app.protocol.representation import Representation
from app.protocol.write import NO_DELTA, MemberDelta, Write, planned
from schema import urns
from set_delivery.events import (
    ACTIVATE,
    CREATE,
    DEACTIVATE,
    DELETE,
    PATCH,
    PUT,
    ChangeEvents,
    FeedMembership,
    Subject,
)
from set_delivery.streams import Publishing
from storage.adapter import Member
from storage.adapter import Membership as StoredMembership
from storage.adapter import StorageAdapter
from tests.protocol.samples import BABS, CORE, GROUP, REGISTRY, USER, WORK, storage_of, stored, with_changes

NOTICE = Publishing("https://scim.example.com", poll=True)
FULL = replace(NOTICE, mode="full")
ANN_USER = {"schemas": [CORE], "id": "1", "userName": "ann", "externalId": "x1"}
ANN = Member("1", "User", "Ann")
GUIDES = {"schemas": [urns.GROUP], "id": "g", "displayName": "Guides"}


@pytest.fixture(scope="module")
def storage() -> StorageAdapter:
    group = stored({**GUIDES, "members": [{"value": "1", "type": "User", "display": "Ann"}]}, "g")
    return storage_of((USER, stored(ANN_USER, "1")), (GROUP, group))


def builder(storage: StorageAdapter, publishing: Publishing = NOTICE) -> ChangeBuilder:
    return ChangeBuilder(REGISTRY, storage, Representation(REGISTRY, storage, ""), publishing)


CONTEXT = replace(system(), txn="txn")


def changed(
    storage: StorageAdapter,
    changes: dict[str, Any],
    kind: str = "patch",
    publishing: Publishing = NOTICE,
    before: dict[str, Any] = BABS,
) -> ChangeEvents | None:
    """Return the change from a user to one with other values."""
    after = stored(with_changes(before, changes), "7", version="4")
    note = builder(storage, publishing).changed(CONTEXT, kind, USER, stored(before, "7"), after, NO_DELTA)
    return note.events if note else None


def test_a_create_names_what_there_is(storage: StorageAdapter) -> None:
    kept = stored({**BABS, "externalId": "e"}, "7", secrets={"password": "hash"})

    change = builder(storage).created(CONTEXT, USER, kept, ()).events

    (event,) = change.events
    assert (event.kind, event.version, event.data, change.txn) == (CREATE, 'W/"3"', None, "txn")
    assert event.subject == Subject("/Users/7", "7", "e")
    assert list(event.attributes)[:3] == ["id", "userName", "name"]
    assert {"password", "externalId"} <= set(event.attributes) and "schemas" not in event.attributes


def test_a_full_create_carries_the_resource(storage: StorageAdapter) -> None:
    kept = stored(BABS, "7", secrets={"password": "hash"})

    (event,) = builder(storage, FULL).created(CONTEXT, USER, kept, ()).events.events

    assert event.data is not None and {**event.data, "meta": None} == {**BABS, "meta": None}
    assert event.data["meta"]["location"] == "/Users/7" and "password" not in event.data


def test_a_group_is_created_with_its_members(storage: StorageAdapter) -> None:
    group = stored(GUIDES, "g")

    change = builder(storage, FULL).created(CONTEXT, GROUP, group, [ANN]).events

    (event,) = change.events
    assert event.attributes == ["id", "displayName", "members"]
    shown = {"value": "1", "$ref": "/Users/1", "type": "User", "display": "Ann"}
    assert event.data is not None and event.data["members"] == [shown]
    assert (change.feeds, change.feed) == (["g"], "g")
    assert change.memberships == (FeedMembership(Subject("/Users/1", "1", "x1"), True),)
    (event,) = builder(storage).created(CONTEXT, GROUP, group, ()).events.events
    assert event.attributes == ["id", "displayName"]


@pytest.mark.parametrize(
    ("changes", "put", "patch"),
    [
        ({"title": "B"}, ["title"], ["title"]),
        ({"name": {"givenName": "B", "familyName": "Jensen"}}, ["name"], ["name.givenName"]),
        ({"title": None, "emails": [WORK]}, ["title", "emails"], ["title", "emails"]),
    ],
)
def test_a_notice_names_what_has_changed(
    storage: StorageAdapter, changes: dict[str, Any], put: list[str], patch: list[str]
) -> None:
    for kind, event_kind, paths in (("put", PUT, put), ("patch", PATCH, patch)):
        change = changed(storage, changes, kind)
        assert change is not None
        (event,) = change.events
        assert (event.kind, event.attributes, event.version, event.data) == (event_kind, paths, 'W/"4"', None)


def test_a_full_put_carries_the_resource_and_a_full_patch_the_operations(storage: StorageAdapter) -> None:
    put = changed(storage, {"title": "B"}, "put", FULL)
    patch = changed(storage, {"title": "B", "emails": None}, "patch", FULL)

    assert put is not None and put.events[0].data is not None
    assert put.events[0].data["title"] == "B" and put.events[0].data["userName"] == "bjensen"
    assert patch is not None and patch.events[0].data == {
        "schemas": [urns.PATCH_OP],
        "Operations": [{"op": "replace", "path": "title", "value": "B"}, {"op": "remove", "path": "emails"}],
    }


def test_a_full_patch_of_a_secret_goes_out_as_a_notice(storage: StorageAdapter) -> None:
    before, after = stored(BABS, "7"), stored(BABS, "7", secrets={"password": "hash"})

    change = builder(storage, FULL).changed(CONTEXT, "patch", USER, before, after, NO_DELTA).events

    assert change is not None
    assert (change.events[0].attributes, change.events[0].data) == (["password"], None)


@pytest.mark.parametrize(
    ("ignored", "changes", "attributes"),
    [
        ({"title"}, {"title": "B"}, None),
        ({"title", "nickName"}, {"title": "B", "nickName": "N"}, None),
        ({"title"}, {"title": "B", "nickName": "N"}, ["title", "nickName"]),
        ({"title"}, {"name": None}, ["name"]),
        (set(), {}, None),
    ],
)
def test_a_change_of_ignored_attributes_alone_is_no_event(
    storage: StorageAdapter, ignored: set[str], changes: dict[str, Any], attributes: list[str] | None
) -> None:
    publishing = replace(NOTICE, ignored_attributes=frozenset(ignored))

    change = changed(storage, changes, publishing=publishing)

    assert (change and change.events[0].attributes) == attributes


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (True, False, DEACTIVATE),
        (None, False, DEACTIVATE),
        (False, True, ACTIVATE),
        (None, True, ACTIVATE),
        (True, None, None),
        (False, None, None),
        (True, True, None),
        (False, False, None),
    ],
)
@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_change_of_active_is_an_event_of_its_own(
    storage: StorageAdapter, method: str, before: bool | None, after: bool | None, kind: str | None
) -> None:
    user = with_changes(BABS, {"active": before})

    change = changed(storage, {"active": after, "title": "B"}, method, before=user)

    assert change is not None
    kinds = [event.kind for event in change.events]
    assert kinds == [PUT if method == "put" else PATCH, *([kind] if kind else [])]
    assert all(event.subject == Subject("/Users/7", "7") for event in change.events)


def members_changed(
    storage: StorageAdapter, delta: MemberDelta, publishing: Publishing = FULL, version: str = "4"
) -> ChangeEvents | None:
    after = stored(GUIDES, "g", version=version)
    note = builder(storage, publishing).changed(CONTEXT, "patch", GROUP, stored(GUIDES, "g"), after, delta)
    return note.events if note else None


def test_members_that_join_and_leave_are_operations_and_events_of_the_feed(storage: StorageAdapter) -> None:
    change = members_changed(storage, MemberDelta([ANN], [Member('9"', "Group")]))

    assert change is not None
    (event,) = change.events
    assert event.attributes == ["members"] and event.data is not None
    assert event.data["Operations"] == [
        {"op": "remove", "path": 'members[value eq "9\\""]'},
        {
            "op": "add",
            "path": "members",
            "value": [{"value": "1", "$ref": "/Users/1", "type": "User", "display": "Ann"}],
        },
    ]
    assert (change.feed, change.feeds) == ("g", ["g"])
    left, joined = Subject("/Groups/9%22", '9"'), Subject("/Users/1", "1", "x1")
    assert change.memberships == (FeedMembership(left, False), FeedMembership(joined, True))


def test_a_new_display_of_a_member_goes_out_as_a_notice(storage: StorageAdapter) -> None:
    change = members_changed(storage, NO_DELTA)

    assert change is not None
    assert (change.events[0].attributes, change.events[0].data) == (["members"], None)
    assert members_changed(storage, NO_DELTA, version="3") is None


@pytest.mark.parametrize(("joined", "left"), [(1000, 0), (1001, 0), (0, 1000), (0, 1001), (600, 401)])
def test_very_many_members_go_out_as_a_notice(storage: StorageAdapter, joined: int, left: int) -> None:
    delta = MemberDelta(
        [Member(f"j{n}", "User") for n in range(joined)], [Member(f"l{n}", "User") for n in range(left)]
    )

    change = members_changed(storage, delta)

    assert change is not None and (change.events[0].data is None) is (joined + left > 1000)
    assert len(change.memberships) == joined + left


@pytest.mark.parametrize(("count", "looked_up"), [(99, True), (100, False)])
def test_of_many_members_none_is_looked_up_for_its_external_id(
    storage: StorageAdapter, count: int, looked_up: bool
) -> None:
    change = members_changed(storage, MemberDelta([ANN], [Member(f"l{n}", "User") for n in range(count)]))

    assert change is not None
    assert change.memberships[-1].subject.external_id == ("x1" if looked_up else None)


@pytest.mark.parametrize(
    ("publishing", "feeds"),
    [(replace(NOTICE, groups_are_feeds=False), []), (replace(NOTICE, membership_events=False), ["g"])],
    ids=["no feeds of groups", "no events of members"],
)
def test_members_are_no_events_where_the_installation_wants_none(
    storage: StorageAdapter, publishing: Publishing, feeds: list[str]
) -> None:
    change = members_changed(storage, MemberDelta([ANN]), publishing)

    assert change is not None
    assert (change.feed, change.memberships, change.feeds) == (None, (), feeds)


def test_members_that_were_removed_do_not_leave_the_feed_as_well(storage: StorageAdapter) -> None:
    after = stored(GUIDES, "g", version="4")

    delta = MemberDelta(left=[ANN])
    write = Write("patch", GROUP, stored(GUIDES, "g"), after, leaving=[ANN], delta=delta, is_cascade=True)

    note = builder(storage).of(CONTEXT, write, after, True)

    assert note is not None and note.events is not None
    change = note.events
    assert (change.feeds, change.feed, change.memberships) == (["g"], None, ())
    assert change.events[0].attributes == ["members"]


def test_a_delete_says_whose_feeds_the_resource_was_in(storage: StorageAdapter) -> None:
    change = builder(storage, FULL).deleted(CONTEXT, USER, stored(ANN_USER, "1"), ["g"]).events

    (event,) = change.events
    assert (event.kind, event.subject, change.feeds) == (DELETE, Subject("/Users/1", "1", "x1"), ["g"])
    assert event.events_claim("full") == {DELETE: {}}


@pytest.mark.parametrize(
    ("more", "feeds"),
    [
        ({}, ["g"]),
        ({"joined": False}, []),
        ({"memberships": []}, []),
        (
            {
                "memberships": [
                    StoredMembership("h", "Group", None, True),
                    StoredMembership("i", "Group", None, False),
                ]
            },
            ["h"],
        ),
    ],
    ids=["asked for", "of nothing", "read along: none", "read along: direct ones only"],
)
def test_a_user_is_in_the_feeds_of_its_groups(
    storage: StorageAdapter, more: dict[str, Any], feeds: list[str]
) -> None:
    kept = stored(ANN_USER, "1", **more)

    assert builder(storage).feeds(USER, kept) == feeds
    assert builder(storage, replace(NOTICE, groups_are_feeds=False)).feeds(USER, kept) == []


def test_a_plan_says_what_was_to_be_done() -> None:
    before, delta = stored(BABS, "7", secrets={"password": "hash"}), MemberDelta(
        [ANN], [Member("2", "Group")]
    )

    made = Write("patch", USER, before, None, delta=delta, feeds=["g"]).plan(CONTEXT)

    assert planned(made) == (replace(before, secrets={}), MemberDelta([ANN], [Member("2", "Group")]))
    assert "hash" not in str(made)
    named = {"kind": "patch", "type": "User", "id": "7", "txn": "txn", "version": "3", "feeds": ["g"]}
    assert named.items() <= made.items()
    created = Write("create", USER, None, before).plan(CONTEXT)
    assert created["version"] is None and planned(created)[0].version == ""


def test_names_of_resources_and_transactions() -> None:
    assert uri_of(USER, "a b") == "/Users/a%20b"
    assert new_txn() != new_txn()
