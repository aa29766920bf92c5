"""What two states of a resource differ in: the paths, and the PATCH that repeats the change."""

from typing import Any

import pytest

from app.protocol.differences import changed_paths, exact_paths, operations, present_paths
from tests.protocol.samples import (
    BABS,
    CORE,
    DEVICE,
    ENTERPRISE,
    GROUP,
    HOME,
    PRINTER,
    SRAM,
    USER,
    WORK,
    remove,
    replace,
    stored,
    with_changes,
)

MANAGER = {"value": "26118915"}
# What has changed; the paths of attributes; those with sub-attributes; the operations.
CASES = [
    pytest.param({}, [], [], [], id="nothing"),
    pytest.param({"schemas": [CORE], "id": "x"}, [], [], [], id="schemas and id say nothing"),
    pytest.param({"title": "B"}, ["title"], ["title"], [replace("title", "B")], id="a value"),
    pytest.param({"nickName": "B"}, ["nickName"], ["nickName"], [replace("nickName", "B")], id="a new value"),
    pytest.param({"title": None}, ["title"], ["title"], [remove("title")], id="a value gone"),
    pytest.param(
        {"active": False}, ["active"], ["active"], [replace("active", False)], id="false is a value"
    ),
    pytest.param(
        {"name": {"familyName": "J", "givenName": "Barbara"}},
        ["name"],
        ["name.familyName"],
        [replace("name.familyName", "J")],
        id="a part",
    ),
    pytest.param(
        {"name": {"familyName": "Jensen", "middleName": "J"}},
        ["name"],
        ["name.givenName", "name.middleName"],
        [remove("name.givenName"), replace("name.middleName", "J")],
        id="a part gone and a new one",
    ),
    pytest.param({"name": None}, ["name"], ["name"], [remove("name")], id="a complex value gone"),
    pytest.param(
        {"emails": [WORK]}, ["emails"], ["emails"], [replace("emails", [WORK])], id="a list as a whole"
    ),
    pytest.param(
        {"emails": [HOME, WORK]}, ["emails"], ["emails"], [replace("emails", [HOME, WORK])], id="an order"
    ),
    pytest.param(
        {ENTERPRISE: {"department": "Sales", "manager": {"value": "9"}}},
        [f"{ENTERPRISE}:department", f"{ENTERPRISE}:manager"],
        [f"{ENTERPRISE}:department", f"{ENTERPRISE}:manager.value"],
        [replace(f"{ENTERPRISE}:department", "Sales"), replace(f"{ENTERPRISE}:manager.value", "9")],
        id="attributes of an extension",
    ),
    pytest.param(
        {SRAM: {"sramInactiveDays": 0}},
        [f"{SRAM}:sramInactiveDays"],
        [f"{SRAM}:sramInactiveDays"],
        [replace(f"{SRAM}:sramInactiveDays", 0)],
        id="a new extension",
    ),
    pytest.param(
        {ENTERPRISE: None},
        [f"{ENTERPRISE}:department", f"{ENTERPRISE}:manager"],
        [f"{ENTERPRISE}:department", f"{ENTERPRISE}:manager"],
        [remove(f"{ENTERPRISE}:department"), remove(f"{ENTERPRISE}:manager")],
        id="an extension gone",
    ),
]


@pytest.mark.parametrize(("changes", "paths", "exact", "made"), CASES)
def test_a_change_is_named_and_repeated(
    changes: dict[str, Any], paths: list[str], exact: list[str], made: list[dict[str, Any]]
) -> None:
    before, after = stored(BABS), stored(with_changes(BABS, changes))

    assert changed_paths(USER, before, after) == paths
    assert exact_paths(USER, before, after, paths) == exact
    assert operations(USER, after, exact) == made


def test_every_attribute_present_is_named_one_by_one_in_extensions() -> None:
    assert present_paths(USER, stored(BABS, secrets={"password": "hash"})) == [
        *("userName", "name", "title", "active", "emails", "addresses"),
        *(f"{ENTERPRISE}:department", f"{ENTERPRISE}:manager", "password"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "removed", "paths"),
    [
        ({}, {"password": "h"}, [], ["password"]),
        ({"password": "h"}, {"password": "i"}, [], ["password"]),
        ({"password": "h"}, {}, [], ["password"]),
        ({"password": "h"}, {"password": "h"}, [], []),
        ({}, {}, ["password"], ["password"]),
    ],
    ids=["set", "changed", "gone", "the same", "gone from a backend that keeps it"],
)
def test_secrets_are_named_when_they_differ(
    before: dict[str, str], after: dict[str, str], removed: list[str], paths: list[str]
) -> None:
    old, new = stored(BABS, secrets=before), stored(BABS, secrets=after, removed_secrets=frozenset(removed))

    assert changed_paths(USER, old, new) == paths


def test_no_operation_carries_what_no_response_does() -> None:
    printer = stored({**PRINTER, "pin": "1234", "remark": "on request"})

    assert operations(DEVICE, printer, ["pin", "remark", "serial"]) == [replace("serial", "S1")]


def test_no_operation_is_made_for_members_nor_for_what_no_schema_knows() -> None:
    group = stored({"displayName": "g", "members": [{"value": "1"}]})

    assert operations(GROUP, group, ["members", "shoe", "displayName"]) == [replace("displayName", "g")]
