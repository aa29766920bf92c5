"""The URNs of SCIM 1.1 and of the drafts of 2.0, as OneLogin's template "SCIM v2 Enterprise" sends them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import GROUP, USER, ScimClient, error_of

# These backends keep values in different ways.
pytestmark = pytest.mark.on("sqlite", "mongodb")

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
CORES = [f"urn:scim:schemas:core:{version}{name}" for version in ("1.0", "2.0") for name in ("", ":User")]
EXTENSIONS = [
    f"urn:scim:schemas:extension:enterprise:{version}{name}"
    for version in ("1.0", "2.0")
    for name in ("", ":User")
]
BOTH = list(zip(CORES, EXTENSIONS, strict=True))


def patched(scim: ScimClient, user: dict[str, Any], *operations: dict[str, Any]) -> Any:
    return scim("PATCH", user["meta"]["location"], {"schemas": [PATCH_OP], "Operations": operations})


@pytest.mark.parametrize(("core", "extension"), BOTH)
def test_a_whole_resource_may_use_them(scim: ScimClient, core: str, extension: str) -> None:
    body = {
        "schemas": [core, extension],
        "userName": "a",
        extension.upper(): {"department": "Tours", "manager": {"managerId": "26", "displayName": "Boss"}},
    }

    created = scim("POST", "/Users", body)
    replaced = scim("PUT", created.headers["Location"], {**body, "title": "t"})

    for answer in (created, replaced):
        assert answer.json["schemas"] == [USER, ENTERPRISE]
        assert answer.json[ENTERPRISE] == {"department": "Tours", "manager": {"value": "26"}}
        assert extension not in answer.json
    twice = {**body, "userName": "b", ENTERPRISE: {"department": "x"}}
    assert "is given twice" in error_of(scim("POST", "/Users", twice), 400, "invalidSyntax")


@pytest.mark.parametrize(("core", "extension"), BOTH)
def test_patch_may_use_them(scim: ScimClient, core: str, extension: str) -> None:
    user = scim.user("a", emails=[{"type": "work", "value": "a@x"}])

    changed = patched(
        scim,
        user,
        {"op": "add", "path": f"{extension}:department", "value": "d"},
        {"op": "replace", "path": f"{core}:title", "value": "t"},
        {"op": "replace", "path": f'{core}:emails[type eq "work"].value', "value": "b@x"},
        {"op": "add", "value": {extension: {"division": "v"}, f"{extension}:costCenter": "c"}},
        {"op": "add", "value": {f"{core}:nickName": "n", f"{extension}:manager.value": "7"}},
        {"op": "replace", "path": extension, "value": {"organization": "o"}},
    ).json

    assert (changed["title"], changed["nickName"]) == ("t", "n")
    assert changed["emails"] == [{"type": "work", "value": "b@x"}]
    assert changed[ENTERPRISE] == {
        "department": "d",
        "division": "v",
        "costCenter": "c",
        "organization": "o",
        "manager": {"value": "7"},
    }
    assert ENTERPRISE not in patched(scim, user, {"op": "remove", "path": extension}).json


@pytest.mark.parametrize(("core", "extension"), BOTH)
def test_searches_may_use_them(scim: ScimClient, core: str, extension: str) -> None:
    for name, department in (("a", "two"), ("b", "one"), ("c", "two")):
        scim.user(name, title="t", **{ENTERPRISE: {"department": department, "manager": {"value": name}}})

    assert scim.names(f'{extension}:department eq "two" and {core}:userName pr') == ["a", "c"]
    assert scim.names(f'{extension}.manager[value eq "b"]') == ["b"]
    for method, path in (("GET", "/Users"), ("GET", "/"), ("POST", "/Users/.search"), ("POST", "/.search")):
        query: dict[str, Any] = {"sortBy": f"{extension}:department", "filter": f"{core}:userName pr"}
        shown = [f"{core}:userName", f"{extension}:department"]
        if method == "GET":
            answer = scim(method, path, query_string={**query, "attributes": ",".join(shown)})
        else:
            answer = scim(method, path, {**query, "attributes": shown})
        assert [r["userName"] for r in answer.json["Resources"]] == ["b", "a", "c"]
        assert set(answer.json["Resources"][0]) == {"schemas", "id", "userName", ENTERPRISE}
        assert answer.json["Resources"][0][ENTERPRISE] == {"department": "one"}


@pytest.mark.parametrize(("core", "extension"), BOTH)
def test_projections_may_use_them(scim: ScimClient, core: str, extension: str) -> None:
    user = scim.user("a", title="t", **{ENTERPRISE: {"department": "d", "division": "v"}})
    path = user["meta"]["location"]

    left = scim("GET", path, query_string={"excludedAttributes": f"{core}:title,{extension}:division"}).json
    core_only = scim("GET", path, query_string={"attributes": core}).json
    body = {"userName": "a", ENTERPRISE: {"department": "e"}}
    put = scim("PUT", f"{path}?attributes={extension}:department", body)

    assert "title" not in left and left[ENTERPRISE] == {"department": "d"}
    assert core_only["title"] == "t" and ENTERPRISE not in core_only
    assert put.json[ENTERPRISE] == {"department": "e"} and "userName" not in put.json


def test_groups_have_them_too(scim: ScimClient) -> None:
    for name, urn in (("a", "urn:scim:schemas:core:2.0"), ("b", "urn:scim:schemas:core:1.0:Group")):
        answer = scim("POST", "/Groups", {"schemas": [urn], "displayName": name})
        assert (answer.status_code, answer.json["schemas"]) == (201, [GROUP])
        assert scim.names(f'{urn}:displayName eq "{name}"', "/Groups", "displayName") == [name]
    body = {"schemas": ["urn:scim:schemas:core:2.0:User"], "displayName": "c"}
    error_of(scim("POST", "/Groups", body), 400, "invalidValue")


def test_a_manager_may_have_the_name_of_scim_1(scim: ScimClient) -> None:
    user = scim.user("a", **{ENTERPRISE: {"manager": {"managerId": "7", "value": "8"}}})
    path = f"{ENTERPRISE}:manager"

    assert user[ENTERPRISE] == {"manager": {"value": "8"}}
    changed = patched(scim, user, {"op": "replace", "path": path, "value": {"managerId": "9"}}).json
    assert changed[ENTERPRISE] == {"manager": {"value": "9"}}


def test_by_the_letter_they_are_unknown(make_scim: Callable[..., ScimClient]) -> None:
    old, extension = "urn:scim:schemas:core:2.0", "urn:scim:schemas:extension:enterprise:2.0"
    default = make_scim()
    created = default("POST", "/Users", {"schemas": [old, extension], "userName": "a"})
    assert created.status_code == 201
    strict = make_scim(PROFILE="strict")

    whole = {"schemas": [old], "userName": "b"}
    error_of(strict("POST", "/Users", whole), 400, "invalidValue")
    within = {"schemas": [USER], "userName": "b", extension: {"department": "d"}}
    error_of(strict("POST", "/Users", within), 400, "invalidSyntax")
    query = {"filter": f"{old}:userName pr"}
    error_of(strict("GET", "/Users", query_string=query), 400, "invalidFilter")
    error_of(strict("GET", "/Users", query_string={"sortBy": f"{old}:userName"}), 400, "invalidValue")
    operation = {"op": "add", "path": f"{extension}:department", "value": "d"}
    error_of(patched(strict, created.json, operation), 400, "invalidPath")
