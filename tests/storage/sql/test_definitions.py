"""Definitions and settings that change over existing data: what is indexed follows them."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import schema
from app.configuration.settings import Settings, SettingsError
from tests.conftest import KEY, ScimClient, error_of


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    folder = tmp_path / "definitions"
    source = Path(schema.__file__).parent
    for name in ("core", "extensions"):
        shutil.copytree(source / name, folder / name)
    return folder


def change(folder: Path, name: str, **characteristics: Any) -> None:
    """Change an attribute of the core schema of users."""
    file = folder / "core" / "User.json"
    document = json.loads(file.read_text())
    next(a for a in document["attributes"] if a["name"] == name).update(characteristics)
    file.write_text(json.dumps(document))


def test_a_changed_definition_is_followed_at_the_next_start(
    definitions: Path, make_scim: Callable[..., ScimClient]
) -> None:
    scim = make_scim(SCHEMA_PATH=str(definitions))
    for name, title in (("a", "Guide"), ("b", "GUIDE"), ("c", "guide")):
        scim.user(name, title=title, nickName=name)
    assert scim.names('title eq "guide"') == ["a", "b", "c"]

    change(definitions, "title", caseExact=True)
    scim = make_scim(SCHEMA_PATH=str(definitions))

    assert scim.names('title eq "guide"') == ["c"]
    assert scim.names('title gt "GUIDE"') == ["a", "c"]
    assert scim.names('nickName eq "B"') == ["b"]


# `storage.complete` reads no resources at the start.
@pytest.mark.on("sqlite", "files", "postgresql", "mariadb", "mongodb")
def test_who_shares_a_value_that_becomes_unique_is_named(
    definitions: Path, make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    scim = make_scim(SCHEMA_PATH=str(definitions))
    for name, nick in (("a", "x"), ("b", "X")):
        scim.user(name, nickName=nick)

    change(definitions, "nickName", uniqueness="server")
    make_scim(SCHEMA_PATH=str(definitions), LOGLEVEL="WARNING")

    # The second one is how flat files name it: they are read again.
    assert re.search("has the same nickName|nickName is in use; both are stored", caplog.text)


def test_an_attribute_that_becomes_unique_is_from_then_on(
    definitions: Path, make_scim: Callable[..., ScimClient]
) -> None:
    scim = make_scim(SCHEMA_PATH=str(definitions))
    for name, nick in (("a", "x"), ("b", "X"), ("c", "y")):
        scim.user(name, nickName=nick)

    change(definitions, "nickName", uniqueness="server")
    scim = make_scim(SCHEMA_PATH=str(definitions), LOGLEVEL="WARNING")

    for taken in ("x", "Y"):
        error_of(scim("POST", "/Users", {"userName": "d", "nickName": taken}), 409, "uniqueness")
    assert scim.names('nickName eq "x"') == ["a", "b"]

    change(definitions, "nickName", uniqueness="none")
    scim = make_scim(SCHEMA_PATH=str(definitions))
    assert scim("POST", "/Users", {"userName": "d", "nickName": "x"}).status_code == 201


def test_an_extension_that_comes_later_is_found(
    definitions: Path, make_scim: Callable[..., ScimClient]
) -> None:
    scim = make_scim(SCHEMA_PATH=str(definitions))
    scim.user("a")
    urn = "urn:example:params:scim:schemas:Desk"
    attribute = {"name": "desk", "type": "string", "multiValued": False, "description": "x"}
    (definitions / "extensions" / "User" / "Desk.json").write_text(
        json.dumps({"id": urn, "name": "Desk", "description": "x", "attributes": [attribute]})
    )

    scim = make_scim(SCHEMA_PATH=str(definitions))
    scim("POST", "/Users", {"userName": "b", urn: {"desk": "12"}})

    assert scim.names(f'{urn}:desk eq "12"') == ["b"]
    assert scim.names(f"not ({urn}:desk pr)") == ["a"]


@pytest.mark.on("sqlite", "files", "postgresql", "mariadb", "mongodb")
def test_a_resource_can_have_several_values_of_one_unique_attribute(
    definitions: Path, make_scim: Callable[..., ScimClient]
) -> None:
    urn = "urn:example:params:scim:schemas:Desk"
    badges = {"name": "badges", "type": "string", "multiValued": True, "uniqueness": "server"}
    badges["description"] = "x"
    (definitions / "extensions" / "User" / "Desk.json").write_text(
        json.dumps({"id": urn, "name": "Desk", "description": "x", "attributes": [badges]})
    )
    scim = make_scim(SCHEMA_PATH=str(definitions))
    first = scim.user("a", **{urn: {"badges": ["1", "2"]}})
    other = scim.user("b")

    for taken in (["2"], ["3", "1"], ["1", "2"]):
        user = {"userName": "c", urn: {"badges": taken}}
        error_of(scim("POST", "/Users", user), 409, "uniqueness")
        error_of(scim("PUT", f"/Users/{other['id']}", user), 409, "uniqueness")
    changed = scim("PUT", f"/Users/{first['id']}", {"userName": "a", urn: {"badges": ["3", "4"]}})
    assert changed.status_code == 200
    assert scim("POST", "/Users", {"userName": "c", urn: {"badges": ["1", "2"]}}).status_code == 201


@pytest.mark.sqlite
def test_a_resource_stands_in_one_place_of_an_order(
    definitions: Path, make_scim: Callable[..., ScimClient]
) -> None:
    urn = "urn:example:params:scim:schemas:Desk"
    floors = {"name": "floors", "type": "integer", "multiValued": True, "description": "x"}
    desk = {"name": "desk", "type": "complex", "multiValued": False, "description": "x"}
    attributes = [{**desk, "subAttributes": [floors]}]
    (definitions / "extensions" / "User" / "Desk.json").write_text(
        json.dumps({"id": urn, "name": "Desk", "description": "x", "attributes": attributes})
    )
    scim = make_scim(SCHEMA_PATH=str(definitions))
    for name, numbers in (("a", [5, 1, 9]), ("b", [2, 3])):
        scim.user(name, **{urn: {"desk": {"floors": numbers}}})
    scim.user("c")

    page = scim("GET", f"/Users?sortBy={urn}:desk.floors&attributes=userName").json

    assert [user["userName"] for user in page["Resources"]] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "filter_text",
    [
        'title eq "guide"',
        'emails.type eq "work"',
        'emails[type eq "home" and value co "@"]',
        "emails pr",
        "name pr",
        'not (title pr) and userName sw "u"',
        'userName eq "u1" or title eq "Guide"',
        'name.familyName gt "f1"',
    ],
)
def test_filters_say_the_same_whatever_is_indexed(
    make_scim: Callable[..., ScimClient], filter_text: str
) -> None:
    found = []
    for chosen in ("", "userName", "emails.value,name", "emails,title"):
        scim = make_scim(**({"INDEXED_ATTRIBUTES": chosen} if chosen else {"INDEXED_ATTRIBUTES": "title"}))
        if not found:
            for number in range(4):
                email = {"value": f"{number}@x", "type": "work" if number % 2 else "home"}
                attributes: dict[str, Any] = {"emails": [email]} if number else {}
                scim.user(f"u{number}", name={"familyName": f"f{number}"}, **attributes)
            scim.user("guide", title="Guide", emails=[{"type": "work"}])
        found.append(scim.names(filter_text))
        sorted_page = scim("GET", "/Users?sortBy=title&attributes=userName").json["Resources"]
        assert [user["userName"] for user in sorted_page] == ["guide", "u0", "u1", "u2", "u3"]

    assert found[1:] == found[:1] * 3
    assert found[0]


def test_what_is_unique_is_indexed_anyway(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(INDEXED_ATTRIBUTES="title")
    scim.user("alice", externalId="x")

    error_of(scim("POST", "/Users", {"userName": "ALICE"}), 409, "uniqueness")
    assert scim.names('userName eq "Alice" and externalId eq "x"') == ["alice"]


def test_names_that_do_not_exist_stop_the_start(make_scim: Callable[..., ScimClient]) -> None:
    with pytest.raises(SettingsError, match="INDEXED_ATTRIBUTES: .* nope.value"):
        make_scim(INDEXED_ATTRIBUTES="title,nope.value")


@pytest.mark.parametrize("name", ["", "a;drop", "x" * 49, "?", "a%s", '"'])
def test_names_of_tables_are_checked(name: str) -> None:
    environ = {"API_KEY": KEY, "USER_MODEL_NAME": name}
    if not name:
        assert Settings.from_env(environ).user_model_name == "Users"
        return
    with pytest.raises(SettingsError, match="USER_MODEL_NAME"):
        Settings.from_env(environ)


def test_an_id_with_a_nul_is_nobodys(scim: ScimClient) -> None:
    for method in ("GET", "DELETE"):
        error_of(scim(method, "/Users/a%00b"), 404)
    group = scim.group("g")["meta"]["location"]
    operation = {"op": "add", "path": "members", "value": [{"value": "a\0b"}]}
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
    error_of(scim("PATCH", group, patch), 400, "invalidValue")
