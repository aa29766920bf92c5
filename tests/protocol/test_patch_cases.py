"""What each kind of PATCH operation makes of a resource (RFC 7644 section 3.5.2)."""

from typing import Any

import pytest

from app.protocol.profiles import Profile
from tests.protocol.samples import (
    BABS,
    BOTH,
    CORE,
    ENTERPRISE,
    HOLLYWOOD,
    HOME,
    SRAM,
    WORK,
    add,
    patched,
    remove,
    replace,
    with_changes,
)

NEW = {"value": "new@example.com", "type": "other"}
DEMOTED = {**WORK, "primary": False}
MANAGER = {"value": "26118915"}


def expected(operations: list[dict[str, Any]], changes: dict[str, Any], name: str) -> Any:
    return pytest.param(operations, changes, id=name)


ADDED = [
    expected([add(None, {"title": "Boss"})], {"title": "Boss"}, "no path: a single value is replaced"),
    expected([add(None, {"nickName": "Babs"})], {"nickName": "Babs"}, "no path: a new attribute"),
    expected([add(None, {"emails": [NEW]})], {"emails": [WORK, HOME, NEW]}, "no path: values are appended"),
    expected(
        [add(None, {"name": {"middleName": "J"}})],
        {"name": {**BABS["name"], "middleName": "J"}},
        "no path: a complex value is merged",
    ),
    expected(
        [add(None, {"TITLE": "x", "Active": False})], {"title": "x", "active": False}, "no path: any case"
    ),
    expected(
        [add(None, {ENTERPRISE: {"division": "D"}})],
        {ENTERPRISE: {**BABS[ENTERPRISE], "division": "D"}},
        "no path: an extension is merged",
    ),
    expected(
        [add(None, {SRAM: {"sramInactiveDays": 3}})],
        {"schemas": [CORE, ENTERPRISE, SRAM], SRAM: {"sramInactiveDays": 3}},
        "no path: a new extension joins schemas",
    ),
    expected([add("title", "Boss")], {"title": "Boss"}, "attribute: single"),
    expected([add("emails", [NEW])], {"emails": [WORK, HOME, NEW]}, "attribute: a list"),
    expected([add("emails", NEW)], {"emails": [WORK, HOME, NEW]}, "attribute: one value alone"),
    expected(
        [add("emails", [HOME, NEW])], {"emails": [WORK, HOME, NEW]}, "attribute: only what is not there"
    ),
    expected([add("emails", [HOME])], {}, "attribute: what is there changes nothing"),
    expected([add("emails", None), add("title", None)], {}, "attribute: null adds nothing"),
    expected(
        [add("ims", [{"value": "x"}])], {"ims": [{"value": "x"}]}, "attribute: the first value makes the list"
    ),
    expected(
        [add("name.middleName", "J")], {"name": {**BABS["name"], "middleName": "J"}}, "sub-attribute: new"
    ),
    expected(
        [add("name.givenName", "B")], {"name": {**BABS["name"], "givenName": "B"}}, "sub-attribute: replaced"
    ),
    expected(
        [add("emails.display", "D")],
        {"emails": [{**WORK, "display": "D"}, {**HOME, "display": "D"}]},
        "sub-attribute: of every value",
    ),
    expected(
        [add('emails[type eq "home"]', {"display": "Home"})],
        {"emails": [WORK, {**HOME, "display": "Home"}]},
        "value path: merged",
    ),
    expected(
        [add('emails[type eq "HOME"].display', "Home")],
        {"emails": [WORK, {**HOME, "display": "Home"}]},
        "value path and sub-attribute: case of a value ignored",
    ),
    expected(
        [add(f"{ENTERPRISE}:division", "D")],
        {ENTERPRISE: {**BABS[ENTERPRISE], "division": "D"}},
        "URN: an attribute of an extension",
    ),
    expected(
        [add(ENTERPRISE, {"division": "D"})],
        {ENTERPRISE: {**BABS[ENTERPRISE], "division": "D"}},
        "URN: a whole extension is merged",
    ),
    expected([add(f"{CORE}:title", "Boss")], {"title": "Boss"}, "URN: of the core schema"),
    expected([add(ENTERPRISE, None)], {}, "URN: null adds nothing"),
]

REPLACED = [
    expected([replace(None, {"title": "Boss"})], {"title": "Boss"}, "no path: a single value"),
    expected([replace(None, {"emails": [NEW]})], {"emails": [NEW]}, "no path: all values"),
    expected([replace(None, {"title": None})], {"title": None}, "no path: null removes"),
    expected(
        [replace(None, {"name": {"givenName": "B"}})],
        {"name": {"familyName": "Jensen", "givenName": "B"}},
        "no path: only the sub-attributes given",
    ),
    expected([replace(None, {})], {}, "no path: nothing given, nothing changed"),
    expected([replace("title", "Boss")], {"title": "Boss"}, "attribute: single"),
    expected([replace("nickName", "Babs")], {"nickName": "Babs"}, "attribute: without value is an add"),
    expected([replace("emails", [NEW])], {"emails": [NEW]}, "attribute: the whole list"),
    expected([replace("emails", NEW)], {"emails": [NEW]}, "attribute: one value alone"),
    expected([replace("emails", [])], {"emails": None}, "attribute: the empty list removes"),
    expected([replace("emails", None)], {"emails": None}, "attribute: null removes"),
    expected(
        [replace("name", {"givenName": "B", "familyName": None})],
        {"name": {"givenName": "B"}},
        "attribute: complex, null takes a sub-attribute away",
    ),
    expected(
        [replace("name.givenName", "B")],
        {"name": {"familyName": "Jensen", "givenName": "B"}},
        "sub-attribute: single",
    ),
    expected(
        [replace("name.givenName", None)], {"name": {"familyName": "Jensen"}}, "sub-attribute: null removes"
    ),
    expected(
        [replace("emails.type", "x")],
        {"emails": [{**WORK, "type": "x"}, {**HOME, "type": "x"}]},
        "sub-attribute: of every value",
    ),
    expected([replace("ims.value", "x")], {"ims": [{"value": "x"}]}, "sub-attribute: of no value makes one"),
    expected(
        [replace('emails[type eq "work"]', NEW)], {"emails": [NEW, HOME]}, "value path: the whole value"
    ),
    expected(
        [replace('addresses[type eq "work"].streetAddress', "1010 Broadway Ave")],
        {"addresses": [{**HOLLYWOOD, "streetAddress": "1010 Broadway Ave"}]},
        "value path and sub-attribute: the example of the RFC",
    ),
    expected(
        [replace('emails[type eq "work" and value ew "@example.com"].display', "D")],
        {"emails": [{**WORK, "display": "D"}, HOME]},
        "value path: two conditions",
    ),
    expected(
        [replace("emails[value pr].display", "D")],
        {"emails": [{**WORK, "display": "D"}, {**HOME, "display": "D"}]},
        "value path: every value that it selects",
    ),
    expected(
        [replace("emails[primary eq false].display", "D")],
        {"emails": [WORK, {**HOME, "display": "D"}]},
        "value path: without primary is not primary",
    ),
    expected(
        [replace(f"{ENTERPRISE}:department", "Sales")],
        {ENTERPRISE: {**BABS[ENTERPRISE], "department": "Sales"}},
        "URN: an attribute of an extension",
    ),
    expected(
        [replace(f"{ENTERPRISE}:manager.value", "9")],
        {ENTERPRISE: {"department": "Tour", "manager": {"value": "9"}}},
        "URN: a sub-attribute of an extension",
    ),
    expected(
        [replace(ENTERPRISE, {"department": "Sales"})],
        {ENTERPRISE: {"department": "Sales", "manager": MANAGER}},
        "URN: what the value leaves out of an extension stays",
    ),
    expected(
        [replace(ENTERPRISE, None)], {"schemas": [CORE], ENTERPRISE: None}, "URN: null removes an extension"
    ),
    expected(
        [replace(f"{CORE}:name.givenName".upper(), "B")],
        {"name": {**BABS["name"], "givenName": "B"}},
        "URN: any case",
    ),
    expected([replace("schemas", [CORE])], {}, "schemas follow from the extensions"),
]

REMOVED = [
    expected([remove("title")], {"title": None}, "attribute: single"),
    expected([remove("nickName")], {}, "attribute: what is not there"),
    expected([remove("emails")], {"emails": None}, "attribute: all values"),
    expected([remove("name")], {"name": None}, "attribute: complex"),
    expected([remove("name.givenName")], {"name": {"familyName": "Jensen"}}, "sub-attribute"),
    expected(
        [remove("name.givenName"), remove("name.familyName")], {"name": None}, "sub-attribute: the last one"
    ),
    expected(
        [remove("emails.type")],
        {"emails": [{"value": WORK["value"], "primary": True}, {"value": HOME["value"]}]},
        "sub-attribute: of every value",
    ),
    expected([remove('emails[type eq "work"]')], {"emails": [HOME]}, "value path"),
    expected([remove("emails[value pr]")], {"emails": None}, "value path: every value"),
    expected([remove('emails[type eq "fax"]')], {}, "value path: selects nothing"),
    expected(
        [remove('emails[type eq "work"].primary')],
        {"emails": [{"value": WORK["value"], "type": "work"}, HOME]},
        "value path and sub-attribute",
    ),
    expected([remove(f"{ENTERPRISE}:manager")], {ENTERPRISE: {"department": "Tour"}}, "URN: an attribute"),
    expected(
        [remove(f"{ENTERPRISE}:manager.value"), remove(f"{ENTERPRISE}:department")],
        {"schemas": [CORE], ENTERPRISE: None},
        "URN: the last attribute takes the extension along",
    ),
    expected([remove(ENTERPRISE)], {"schemas": [CORE], ENTERPRISE: None}, "URN: a whole extension"),
]

IN_ORDER = [
    expected(
        [replace("title", "x"), remove("title"), add("title", "y")], {"title": "y"}, "the last one counts"
    ),
    expected(
        [
            remove('emails[type eq "work"]'),
            add("emails", [NEW]),
            replace('emails[type eq "other"].display', "D"),
        ],
        {"emails": [HOME, {**NEW, "display": "D"}]},
        "a filter sees what operations before it did",
    ),
    expected(
        [remove(ENTERPRISE), add(ENTERPRISE, {"division": "D"})],
        {ENTERPRISE: {"division": "D"}},
        "an extension is made anew",
    ),
]

PRIMARY = [
    expected(
        [add("emails", [{**NEW, "primary": True}])],
        {"emails": [DEMOTED, HOME, {**NEW, "primary": True}]},
        "added",
    ),
    expected(
        [replace('emails[type eq "home"].primary', True)],
        {"emails": [DEMOTED, {**HOME, "primary": True}]},
        "set by a value path",
    ),
    expected(
        [add('emails[type eq "home"]', {"primary": True})],
        {"emails": [DEMOTED, {**HOME, "primary": True}]},
        "merged by a value path",
    ),
    expected(
        [add("emails", [{**NEW, "primary": False}])],
        {"emails": [WORK, HOME, {**NEW, "primary": False}]},
        "false moves none",
    ),
    expected([replace('emails[type eq "work"].primary', True)], {}, "of the same value stays"),
]


@pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])
@pytest.mark.parametrize(("operations", "changes"), [*ADDED, *REPLACED, *REMOVED, *IN_ORDER, *PRIMARY])
def test_an_operation_changes_what_its_path_names_and_nothing_else(
    profile: Profile, operations: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    after = patched(BABS, operations, profile=profile).resource

    assert after == with_changes(BABS, changes)
