"""Which PATCH operations are refused, with which scimType, and what the detail names (RFC 7644 3.5.2)."""

from typing import Any

import pytest

from app.protocol.patch import PatchOperation, PatchRules, check_operations, plan_patch, read_operations
from app.protocol.profiles import Profile
from schema import urns
from schema.errors import (
    InvalidFilter,
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    Mutability,
    NoTarget,
    ScimError,
)
from tests.protocol.samples import (
    BABS,
    BOTH,
    CORE,
    DEFAULT,
    DEVICE,
    ENTERPRISE,
    GROUP,
    OWNER,
    PRINTER,
    STOCK,
    STRICT,
    USER,
    add,
    members_read,
    op,
    patched,
    remove,
    replace,
)

TWO_PRIMARIES = [{"value": "x", "primary": True}, {"value": "y", "primary": True}]


def refused(operation: Any, error: type[ScimError], detail: str) -> Any:
    path = operation.get("path", "no path") if isinstance(operation, dict) else operation
    name = operation.get("op") if isinstance(operation, dict) else "?"
    return pytest.param(operation, error, detail, id=f"{error.scim_type}: {name} {path}"[:90])


IN_BOTH = [
    refused(replace("emails[", "x"), InvalidPath, "path: found the end at character 8"),
    refused(replace('emails[shoe eq "x"]', "x"), InvalidFilter, "shoe is not a sub-attribute of emails"),
    refused(remove('emails[type eq "work" and]'), InvalidFilter, "path: found ']' at character 26"),
    refused(add("emails[primary gt true].value", "x"), InvalidFilter, "gt does not apply to it"),
    refused(replace("emails[type eq 5].value", "x"), InvalidFilter, "the value must be a string"),
    refused(replace('title[value eq "x"]', "x"), InvalidPath, "title has no sub-attributes"),
    refused(replace(CORE, {"title": "x"}), InvalidPath, "is a schema: name one of its attributes"),
    refused(replace(f'{ENTERPRISE}[division eq "x"]', {}), InvalidPath, "brackets follow one of its"),
    refused(remove(None), NoTarget, "path: is required with remove"),
    refused(replace('emails[type eq "fax"]', {"value": "x"}), NoTarget, "emails: no value matches"),
    refused(replace('emails[value co "fax"].type', "x"), NoTarget, "emails.type: no value matches"),
    refused(add('emails[value co "fax"].type', "x"), NoTarget, "emails.type: no value matches the filter"),
    refused(replace('name[givenName eq "X"].familyName', "x"), NoTarget, "name.familyName: no value matches"),
    refused(replace("active", "maybe"), InvalidValue, "active: must be true or false"),
    refused(replace("title", 7), InvalidValue, "title: must be a string"),
    refused(replace("name", "x"), InvalidValue, "name: must be an object"),
    refused(replace("name.givenName", 7), InvalidValue, "name.givenName: must be a string"),
    refused(add("emails", ["x"]), InvalidValue, "emails[0]: must be an object"),
    refused(add("emails", [{"value": "x"}, {"value": 7}]), InvalidValue, "emails[1].value: must be a string"),
    refused(replace('emails[type eq "work"].value', 7), InvalidValue, "emails.value: must be a string"),
    refused(replace(ENTERPRISE, "x"), InvalidValue, f"{ENTERPRISE}: must be an object"),
    refused(replace(None, "x"), InvalidValue, "value: must be an object in an operation without path"),
    refused(replace(None, {"emails": "x"}), InvalidValue, "emails[0]: must be an object"),
    refused(add("emails", TWO_PRIMARIES), InvalidValue, "emails: only one value may be primary"),
    refused(replace("emails", TWO_PRIMARIES), InvalidValue, "emails: only one value may be primary"),
    refused(replace("emails.primary", True), InvalidValue, "emails.primary: only one value may be primary"),
    refused(replace("emails[value pr].primary", True), InvalidValue, "emails: only one value may be primary"),
    refused(replace("id", "x"), Mutability, "id: is readOnly"),
    refused(replace("meta.version", "x"), Mutability, "meta.version: is readOnly"),
    refused(add("groups", [{"value": "x"}]), Mutability, "groups: is readOnly"),
    refused(remove("groups"), Mutability, "groups: is readOnly"),
    refused(add(f"{ENTERPRISE}:manager.displayName", "x"), Mutability, "manager.displayName: is readOnly"),
    refused(remove("userName"), Mutability, "userName: is required"),
    refused(replace("userName", None), Mutability, "userName: is required"),
    refused(remove("schemas"), Mutability, "schemas: is required"),
    refused(add("schemas", 5), InvalidValue, "schemas[0]: must be a string"),
    refused(replace("schemas", {"x": 1}), InvalidValue, "schemas[0]: must be a string"),
    refused(replace("schemas", ["urn:made:up"]), InvalidValue, f"schemas: must contain {CORE}"),
    refused(replace("schemas", [ENTERPRISE]), InvalidValue, f"schemas: must contain {CORE}"),
    refused(replace(None, {"schemas": "nonsense"}), InvalidValue, f"schemas: must contain {CORE}"),
    refused(add(None, {"schemas": [CORE, 5]}), InvalidValue, "schemas[1]: must be a string"),
]
UNKNOWN = ["shoe", "emails.shoe", "urn:x:y", f"{ENTERPRISE}:shoe"]
OF_THE_LETTER = [
    refused(replace(None, {"shoe": "x"}), InvalidPath, "shoe is not an attribute of User"),
    refused(replace(ENTERPRISE, {"shoe": "x"}), InvalidPath, f"{ENTERPRISE}:shoe is not an attribute"),
    refused(replace(None, {"name.givenName": "x"}), InvalidPath, "value: name.givenName is a path"),
    refused(replace(None, {"id": "x", "title": "y"}), Mutability, "id: is readOnly"),
    refused(add('emails[type eq "fax"].value', "x"), NoTarget, "emails.value: no value matches the filter"),
    refused(replace('emails[type eq "fax"].value', "x"), NoTarget, "emails.value: no value matches"),
    refused(replace("active", "True"), InvalidValue, "active: must be true or false"),
    refused(replace("title", [{"value": "x"}]), InvalidValue, "title: must be a string"),
    refused(replace(f"{ENTERPRISE}:manager", "9"), InvalidValue, "manager: must be an object"),
    refused(replace(None, [{"title": "x"}]), InvalidValue, "value: must be an object"),
    refused(add("schemas", ["urn:made:up"]), InvalidValue, "urn:made:up is not a schema of User"),
    refused(add(None, {"schemas": "nonsense"}), InvalidValue, "nonsense is not a schema of User"),
    refused(replace("schemas", [CORE, "urn:made:up"]), InvalidValue, "urn:made:up is not a schema"),
    refused(replace("schemas", []), InvalidValue, "schemas: is required"),
    refused(replace("schemas", None), InvalidValue, "schemas: is required"),
]


@pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])
@pytest.mark.parametrize(("operation", "error", "detail"), IN_BOTH)
def test_a_refusal_names_the_operation_and_what_is_wrong(
    profile: Profile, operation: Any, error: type[ScimError], detail: str
) -> None:
    with pytest.raises(error) as caught:
        patched(BABS, [replace("title", "changed"), operation], profile=profile)

    assert caught.value.detail.startswith("Operations[1]: ") and detail in caught.value.detail


@pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])
@pytest.mark.parametrize("path", UNKNOWN)
def test_a_patch_of_nothing_but_unknown_attributes_is_refused(profile: Profile, path: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        patched(BABS, [replace(path, "x")], profile=profile)

    assert caught.value.detail.startswith(f"Operations[0]: {path} is not an attribute of User")


@pytest.mark.parametrize("path", UNKNOWN)
def test_the_default_profile_passes_over_an_unknown_attribute_beside_others(path: str) -> None:
    operations = [PatchOperation("replace", path, "x"), PatchOperation("replace", "title", "y")]

    plan = plan_patch(PatchRules(USER, DEFAULT), operations)

    assert plan.ignored == (path,)
    assert [planned.position for planned in plan.operations] == [1]
    with pytest.raises(InvalidPath, match=r"Operations\[0\]"):
        plan_patch(PatchRules(USER, STRICT), operations)


@pytest.mark.parametrize(("operation", "error", "detail"), OF_THE_LETTER)
def test_the_strict_profile_refuses_what_the_default_understands(
    operation: Any, error: type[ScimError], detail: str
) -> None:
    patched(BABS, [operation], profile=DEFAULT)

    with pytest.raises(error) as caught:
        patched(BABS, [operation], profile=STRICT)

    assert caught.value.detail.startswith("Operations[0]: ") and detail in caught.value.detail


@pytest.mark.parametrize(
    ("operation", "error", "detail"),
    [
        refused(replace("serial", "x"), Mutability, "serial: is immutable and has a value"),
        refused(remove("serial"), Mutability, "serial: is required"),
        refused(add("marks", ["n"]), Mutability, "marks: is immutable"),
        refused(replace("marks", ["n"]), Mutability, "marks: is immutable"),
        refused(remove("marks"), Mutability, "marks: is immutable"),
        refused(remove('marks[value eq "m"]'), Mutability, "marks: is immutable"),
        refused(replace('marks[value eq "m"]', "n"), Mutability, "marks: is immutable"),
        refused(add('marks[value eq "n"]', "n"), Mutability, "marks: is immutable"),
        refused(replace('tags[value eq "c"]', "d"), NoTarget, "tags: no value matches the filter"),
        refused(replace('tags[value eq "a"]', 5), InvalidValue, "tags: must be a string"),
        refused(add('tags[value eq "a"]', {"value": "c"}), InvalidValue, "tags: must be a string"),
        refused(replace('tags[value eq "a"]', ["c", "d"]), InvalidValue, "tags: must be a string"),
        refused(remove('serial[value eq "S1"]'), InvalidPath, "serial has no sub-attributes to select by"),
        refused(remove("tags[label pr]"), InvalidFilter, "label is not a sub-attribute of tags"),
        refused(remove("tags[value pr].label"), InvalidPath, "label is not a sub-attribute of tags"),
        refused(remove('schemas[value eq "x"]'), Mutability, "schemas: is required"),
        refused(replace("place.building", "C"), Mutability, "place.building: is immutable"),
        refused(remove("place.building"), Mutability, "place.building: is immutable"),
        refused(replace("place", {"building": "C", "room": "1"}), Mutability, "place.building: is immutable"),
        refused(
            replace("place", {"building": None, "room": "1"}), Mutability, "place.building: is immutable"
        ),
        refused(remove("place"), Mutability, "place.building: is immutable"),
        refused(replace(f"{STOCK}:box", {"id": "z"}), Mutability, f"{STOCK}:box.id: is immutable"),
        refused(remove(f"{STOCK}:shelf"), Mutability, f"{STOCK}:shelf: is immutable"),
        refused(remove(STOCK), Mutability, f"{STOCK}:shelf: is immutable"),
        refused(replace(None, {STOCK: {"shelf": "y"}}), Mutability, f"{STOCK}:shelf: is immutable"),
        refused(replace('ports[value eq "p1"].value', "q"), Mutability, "ports.value: is immutable"),
        refused(add('ports[value eq "p1"]', {"value": "q"}), Mutability, "ports.value: is immutable"),
        refused(remove("ports.value"), Mutability, "ports.value: is immutable"),
        refused(remove(f"{STOCK}:count"), Mutability, f"{STOCK}:count: is required"),
        refused(remove("place.room"), Mutability, "place.room: is required"),
        refused(remove(OWNER), Mutability, f"{OWNER}: is required"),
        refused(replace("place.seen", "x"), Mutability, "place.seen: is readOnly"),
    ],
)
def test_characteristics_of_any_schema_are_kept(operation: Any, error: type[ScimError], detail: str) -> None:
    with pytest.raises(error) as caught:
        patched(PRINTER, [operation], DEVICE)

    assert caught.value.detail.startswith(f"Operations[0]: {detail}")


NAMELESS = {name: value for name, value in BABS.items() if name != "userName"}
UNCOUNTED = {name: value for name, value in PRINTER[STOCK].items() if name != "count"}


@pytest.mark.parametrize(
    ("resource", "resource_type"),
    [
        (NAMELESS, USER),
        ({**BABS, "userName": ""}, USER),
        ({**PRINTER, STOCK: UNCOUNTED}, DEVICE),
        ({name: value for name, value in PRINTER.items() if name != OWNER}, DEVICE),
    ],
    ids=["no text", "an empty text", "an attribute of an extension", "an extension"],
)
def test_what_the_resource_lacked_before_refuses_no_other_change(
    resource: dict[str, Any], resource_type: Any
) -> None:
    operation = replace("externalId", "x")

    assert patched(resource, [operation], resource_type).resource["externalId"] == "x"


@pytest.mark.parametrize("operation", [remove("userName"), replace("userName", None)])
def test_what_the_resource_lacked_before_cannot_be_taken_away(operation: Any) -> None:
    for operations in ([operation], [add("userName", "x"), operation]):
        with pytest.raises(Mutability, match="userName: is required"):
            patched(NAMELESS, operations, USER)


@pytest.mark.parametrize(
    ("resource", "resource_type", "operation", "detail"),
    [
        (BABS, USER, replace("userName", ""), "userName: is required"),
        (PRINTER, DEVICE, remove(f"{OWNER}:name"), f"{OWNER}: is required"),
        (NAMELESS, USER, replace("userName", ""), "userName: is required"),
        ({**PRINTER, STOCK: {}}, DEVICE, replace(f"{STOCK}:shelf", "y"), f"{STOCK}:count: is required"),
    ],
    ids=["an empty text", "the last attribute of an extension", "missing before", "a new extension"],
)
def test_what_the_whole_resource_lacks_is_named(
    resource: dict[str, Any], resource_type: Any, operation: Any, detail: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        patched(resource, [operation], resource_type)

    assert caught.value.detail == detail


@pytest.mark.parametrize(
    ("body", "error", "detail"),
    [
        ({}, InvalidSyntax, f"schemas: must contain {urns.PATCH_OP}"),
        ({"schemas": [urns.BULK_REQUEST]}, InvalidSyntax, f"schemas: must contain {urns.PATCH_OP}"),
        ({"schemas": [urns.PATCH_OP]}, InvalidSyntax, "Operations: must be a list of operations"),
        ({"Operations": {}}, InvalidSyntax, "Operations: must be a list of operations"),
        ({"Operations": []}, InvalidSyntax, "Operations: must be a list of operations"),
        ({"Operations": [], "more": 1}, InvalidSyntax, "more: is not an attribute of this message"),
        ({"Operations": ["x"]}, InvalidSyntax, "Operations[0]: must be an object"),
        ({"Operations": [op("move", "title", "x")]}, InvalidSyntax, "Operations[0].op: must be one of"),
        ({"Operations": [{"value": 1}]}, InvalidSyntax, "Operations[0].op: must be one of"),
        ({"Operations": [op("Replace", "title", "x")]}, InvalidSyntax, "Operations[0].op: must be one of"),
        ({"Operations": [{**remove("title"), "more": 1}]}, InvalidSyntax, "Operations[0].more: is not an"),
        ({"Operations": [{"op": "add", "path": 7, "value": 1}]}, InvalidPath, "Operations[0].path: must be"),
        ({"Operations": [op("add", "title")]}, InvalidValue, "Operations[0].value: is required"),
        ({"Operations": [remove("title"), op("replace", "title")]}, InvalidValue, "Operations[1].value: is"),
        ({"Operations": [remove("emails", [])]}, InvalidValue, "Operations[0].value: is not allowed with"),
    ],
)
def test_a_body_that_is_no_patch_by_the_letter_is_refused(
    body: dict[str, Any], error: type[ScimError], detail: str
) -> None:
    if "schemas" not in detail and "schemas" not in body:
        body = {"schemas": [urns.PATCH_OP], **body}

    with pytest.raises(error) as caught:
        read_operations(body, STRICT)

    assert caught.value.detail.startswith(detail)


def test_members_that_joined_before_a_failure_leave_the_input_alone() -> None:
    group, members = {"schemas": [urns.GROUP], "displayName": "g"}, members_read("1")
    operations = [replace("displayName", "h"), add("members", [{"value": "2"}]), remove("displayName")]

    with pytest.raises(Mutability, match=r"Operations\[2\]"):
        patched(group, operations, GROUP, members=members)

    assert group == {"schemas": [urns.GROUP], "displayName": "g"}


# What these ask for depends on the values that there are.
DEPENDING = ("no value matches", "only one value may be primary")


@pytest.mark.parametrize(
    ("operation", "error", "detail"),
    [one for one in IN_BOTH if not any(text in one.values[2] for text in DEPENDING)],
)
def test_operations_are_checked_without_a_resource(
    operation: Any, error: type[ScimError], detail: str
) -> None:
    body = {"schemas": [urns.PATCH_OP], "Operations": [replace("title", "x"), operation]}

    with pytest.raises(error) as caught:
        check_operations(plan_patch(PatchRules(USER, DEFAULT), read_operations(body, DEFAULT)))

    assert caught.value.detail.startswith("Operations[1]: ")


def test_what_a_filter_selects_is_not_checked_without_a_resource() -> None:
    operations = [PatchOperation("replace", 'emails[type eq "fax"]', {"value": "x"})]

    check_operations(plan_patch(PatchRules(USER, STRICT), operations))
