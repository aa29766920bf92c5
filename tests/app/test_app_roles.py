"""Complex app roles of Entra ID: roles as JSON in a string (customized attribute mappings of Entra ID)."""

import json
from typing import Any

import pytest

from tests.conftest import ScimClient

# These backends keep values in different ways.
pytestmark = pytest.mark.on("sqlite", "mongodb")

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ADMIN = {"id": "06b07648-ecfe-589f-9d2f-6325724a46ee", "value": "Admin", "displayName": "Administrator"}
READER = {"id": "18d14569-c3bd-439b-9a66-3a2aee01d14f", "value": "Reader", "displayName": "Reader"}
KEPT = [{"value": "Admin", "display": "Administrator"}, {"value": "Reader", "display": "Reader"}]

SHAPES = [
    [{"value": json.dumps(ADMIN)}, {"value": json.dumps(READER)}],
    [{"value": json.dumps([ADMIN, READER])}],
    json.dumps([ADMIN, READER]),
    [json.dumps([ADMIN, READER])],
    [json.dumps(ADMIN), json.dumps(READER)],
]


def patched(scim: ScimClient, user: dict[str, Any], op: str, value: Any, path: str | None = "roles") -> Any:
    operation = {"op": op, "path": path, "value": value} if path else {"op": op, "value": value}
    return scim("PATCH", user["meta"]["location"], {"schemas": [PATCH_OP], "Operations": [operation]})


@pytest.mark.parametrize("roles", SHAPES, ids=range(len(SHAPES)))
def test_roles_in_strings_are_roles_by_every_verb(scim: ScimClient, roles: Any) -> None:
    user = scim.user("created", roles=roles)
    other = scim.user("changed")

    assert user["roles"] == KEPT
    body = {"userName": "changed", "roles": roles}
    assert scim("PUT", other["meta"]["location"], body).json["roles"] == KEPT
    patched(scim, other, "Remove", None)
    assert patched(scim, other, "Add", roles).json["roles"] == KEPT
    assert patched(scim, other, "Replace", roles).json["roles"] == KEPT
    patched(scim, other, "Remove", None)
    assert patched(scim, other, "Add", {"roles": roles}, None).json["roles"] == KEPT
    assert scim.names('roles[value eq "Admin" and display eq "Administrator"]') == ["created", "changed"]


def test_a_role_is_removed_as_it_was_added(scim: ScimClient) -> None:
    user = scim.user("a", roles=SHAPES[0])

    left = patched(scim, user, "Remove", [{"value": json.dumps(ADMIN)}])

    assert left.json["roles"] == KEPT[1:]


def test_what_stands_beside_a_role_stays(scim: ScimClient) -> None:
    role = {"value": json.dumps(ADMIN), "primary": "True", "type": "WindowsAzureActiveDirectoryRole"}

    user = scim.user("a", roles=[role])

    kept = {"value": "Admin", "display": "Administrator", "primary": True}
    assert user["roles"] == [{**kept, "type": "WindowsAzureActiveDirectoryRole"}]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "{not json",
        '{"a": 1}',
        '{"value": "x"}',
        '{"id": "1", "value": "x", "other": 1}',
        '{"id": "1", "value": 7}',
        '[{"id": "1", "value": "x"}, 7]',
    ],
)
def test_text_that_only_looks_like_json_stays_text(scim: ScimClient, text: str) -> None:
    app_role = json.dumps(ADMIN)
    roles = [{"value": text}, {"value": app_role}]
    user = scim.user("a", roles=roles, title=app_role, name={"formatted": app_role})

    assert user["roles"] == [{"value": text}, KEPT[0]]
    assert (user["title"], user["name"]) == (app_role, {"formatted": app_role})
