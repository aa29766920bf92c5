"""What each tolerance makes of a value, and what the profiles grant."""

from collections.abc import Callable
from typing import Any

import pytest

from app.protocol import tolerance
from app.protocol.tolerance import any_of, app_roles, manager_id, rewriting_among
from schema import urns
from schema.attribute import Attribute
from schema.leniency import MISMATCH
from tests.protocol.samples import DEFAULT, ENTERPRISE, GROUP, STRICT, USER

NO = MISMATCH
_REWRITING = rewriting_among({"manager-id": manager_id, "app-roles": app_roles})


def attribute(path: str, group: bool = False) -> Attribute:
    found = (GROUP if group else USER).path(path)
    assert found is not None
    return found.leaf


ACTIVE, TITLE, EMAILS, NAME = map(attribute, ("active", "title", "emails", "name"))
MANAGER, ROLES = attribute(f"{ENTERPRISE}:manager"), attribute("roles")
DAYS = attribute("urn:mace:surf.nl:sram:scim:extension:User:sramInactiveDays")
MEMBERS = attribute("members", group=True)
ROLE = '{"id": "7", "value": "Admin", "displayName": "Administrator"}'


@pytest.mark.parametrize(
    ("read", "target", "value", "reading"),
    [
        (tolerance.boolean_string, ACTIVE, "True", True),
        (tolerance.boolean_string, ACTIVE, " FALSE ", False),
        (tolerance.boolean_string, ACTIVE, "yes", NO),
        (tolerance.boolean_string, ACTIVE, 1, NO),
        (tolerance.boolean_string, TITLE, "true", NO),
        (tolerance.empty_string, ACTIVE, "", None),
        (tolerance.empty_string, EMAILS, "", None),
        (tolerance.empty_string, ACTIVE, " ", NO),
        (tolerance.whole_number, DAYS, 5.0, 5),
        (tolerance.whole_number, DAYS, 5.5, NO),
        (tolerance.whole_number, DAYS, "5", NO),
        (tolerance.whole_number, DAYS, float("inf"), NO),
        (tolerance.whole_number, TITLE, 5.0, NO),
        (tolerance.json_in_string, NAME, ' {"givenName": "B"}', {"givenName": "B"}),
        (tolerance.json_in_string, EMAILS, '[{"value": "x"}]', [{"value": "x"}]),
        (tolerance.json_in_string, EMAILS, "{x", NO),
        (tolerance.json_in_string, EMAILS, "7", NO),
        (tolerance.json_in_string, EMAILS, {"value": "x"}, NO),
        (tolerance.json_in_string, TITLE, "{}", NO),
        (tolerance.bare_value, MANAGER, "7", {"value": "7"}),
        (tolerance.bare_value, MEMBERS, "7", {"value": "7"}),
        (tolerance.bare_value, MANAGER, 7, NO),
        (tolerance.bare_value, EMAILS, "7", NO),
        (tolerance.single_for_list, EMAILS, {"value": "x"}, [{"value": "x"}]),
        (tolerance.single_for_list, EMAILS, "x", NO),
        (tolerance.single_for_list, NAME, {"givenName": "B"}, NO),
        (tolerance.list_for_single, TITLE, ["x"], "x"),
        (tolerance.list_for_single, TITLE, [{"value": "x"}], "x"),
        (tolerance.list_for_single, TITLE, [{"other": "x"}], NO),
        (tolerance.list_for_single, NAME, [{"givenName": "B"}], {"givenName": "B"}),
        (tolerance.list_for_single, TITLE, ["x", "y"], NO),
        (tolerance.list_for_single, TITLE, [], NO),
        (tolerance.list_for_single, EMAILS, [{"value": "x"}], NO),
    ],
)
def test_a_tolerance_reads_what_is_meant_or_nothing(
    read: Callable[[Attribute, Any], Any], target: Attribute, value: Any, reading: Any
) -> None:
    found = read(target, value)

    assert (type(found), found) == (type(reading), reading)


def test_the_first_reading_counts() -> None:
    both = any_of({"a": lambda *_: NO, "b": lambda *_: None, "c": lambda *_: "never asked"})

    assert both(TITLE, "x") is None
    assert any_of({})(TITLE, "x") is NO


@pytest.mark.parametrize(
    ("value", "reading"),
    [
        ({"managerId": "7"}, [{"value": "7"}]),
        ({"MANAGERID": "7", "displayName": "M"}, [{"value": "7", "displayName": "M"}]),
        ({"managerId": "7", "value": "8"}, NO),
        ({"managerId": "7", "VALUE": "8"}, NO),
        ({"displayName": "M"}, NO),
        ("7", NO),
    ],
)
def test_a_manager_may_be_named_as_in_scim_1_1(value: Any, reading: Any) -> None:
    rewrite = manager_id(MANAGER)

    assert rewrite is not None and rewrite(value) == reading
    assert manager_id(NAME) is None and manager_id(MEMBERS) is None


@pytest.mark.parametrize(
    ("value", "reading"),
    [
        (ROLE, [{"value": "Admin", "display": "Administrator"}]),
        ({"value": ROLE, "primary": True}, [{"value": "Admin", "display": "Administrator", "primary": True}]),
        (f"[{ROLE}, {ROLE}]", [{"value": "Admin", "display": "Administrator"}] * 2),
        ('{"ID": "7", "Value": "A", "type": "t"}', [{"value": "A", "type": "t", "display": None}]),
        ('{"value": "A", "display": "D", "id": 1}', [{"value": "A", "display": "D"}]),
        ('{"value": "A"}', NO),
        ('{"value": 7, "id": "7"}', NO),
        ('{"value": "A", "id": "7", "other": 1}', NO),
        (f"[{ROLE}, 7]", NO),
        ("[]", NO),
        ("Admin", NO),
        ({"value": "Admin"}, NO),
    ],
)
def test_an_app_role_may_be_json_in_a_string(value: Any, reading: Any) -> None:
    rewrite = app_roles(ROLES)

    assert rewrite is not None and rewrite(value) == reading


def test_values_that_are_ids_are_no_app_roles() -> None:
    assert app_roles(MEMBERS) is None and app_roles(MANAGER) is None and app_roles(TITLE) is None
    assert _REWRITING(TITLE) is None and _REWRITING(MEMBERS) is None
    assert _REWRITING(ROLES) is _REWRITING(ROLES) is not None
    assert _REWRITING(MANAGER) is not None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("userName, title", ["userName", "title"]),
        ("userName", ["userName"]),
        (" , ", []),
        ("", []),
        (["userName"], ["userName"]),
        (7, 7),
        (None, None),
    ],
)
def test_names_may_be_in_one_string(value: Any, names: Any) -> None:
    assert tolerance.names_in_a_string(value) == names


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("10", 10),
        (" -3 ", -3),
        (10.0, 10),
        (7, 7),
        (1.5, 1.5),
        ("", None),
        (" ", None),
        ("ten", "ten"),
        ("1.0", "1.0"),
        ("--1", "--1"),
        ("٣", "٣"),
        ("9" * 20, "9" * 20),
        (None, None),
    ],
)
def test_a_number_may_be_in_a_string(value: Any, number: Any) -> None:
    found = tolerance.number_in_a_string(value)

    assert (type(found), found) == (type(number), number)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("urn:scim:schemas:core:1.0", urns.USER),
        ("URN:SCIM:schemas:core:2.0:User:title", f"{urns.USER}:title"),
        ("urn:scim:schemas:core:2.0:title", f"{urns.USER}:title"),
        ("urn:scim:schemas:core:1.0.title", f"{urns.USER}.title"),
        ("urn:scim:schemas:extension:enterprise:1.0", ENTERPRISE),
        ("urn:scim:schemas:extension:enterprise:2.0:User:department", f"{ENTERPRISE}:department"),
        ("urn:scim:schemas:core:1.0x", "urn:scim:schemas:core:1.0x"),
        (ENTERPRISE, ENTERPRISE),
        ("title", "title"),
    ],
)
def test_the_default_profile_knows_the_older_names_of_schemas(text: str, canonical: str) -> None:
    assert DEFAULT.resources.canonical(text, USER) == canonical
    assert DEFAULT.patch.canonical(text, USER) == canonical
    assert STRICT.patch.canonical(text, USER) == text


def test_the_strict_profile_grants_nothing() -> None:
    for attribute_, value in ((ACTIVE, "true"), (ACTIVE, ""), (DAYS, 5.0), (MANAGER, "7"), (TITLE, ["x"])):
        assert STRICT.patch.coercion(attribute_, value) is STRICT.resources.coercion(attribute_, value) is NO
        assert DEFAULT.patch.coercion(attribute_, value) is not NO
    assert not STRICT.operations_in_any_case and STRICT.resources.rewriting(MANAGER) is None


def test_a_list_for_a_single_value_is_understood_in_patch_only() -> None:
    assert DEFAULT.patch.coercion(TITLE, ["x"]) == "x"
    assert DEFAULT.resources.coercion(TITLE, ["x"]) is NO
