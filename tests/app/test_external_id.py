"""UNIQUE_EXTERNAL_ID: whether two resources of a type may have one externalId (RFC 7643 section 3.1)."""

import logging
from collections.abc import Callable

import pytest

from tests.conftest import ScimClient, error_of

# An upstream SCIM service provider has a rule of its own.
OURS = pytest.mark.on(
    "sqlite", "files", "postgresql", "mariadb", "mongodb", "ldap", "jumpcloud", "irods"
)


@OURS
def test_external_ids_need_not_be_unique(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(UNIQUE_EXTERNAL_ID="false")

    first, second = (scim.user(name, externalId="x") for name in "ab")
    groups = [scim.group(name, externalId="x") for name in "gh"]

    assert sorted(scim.names('externalId eq "x"')) == ["a", "b"]
    assert scim("PUT", second["meta"]["location"], {"userName": "b", "externalId": "y"}).status_code == 200
    assert scim.names('externalId eq "x"') == ["a"]
    assert scim("DELETE", first["meta"]["location"]).status_code == 204
    assert len(groups) == 2
    error_of(scim("POST", "/Users", {"userName": "B"}), 409, "uniqueness")


@OURS
def test_the_setting_may_change_over_existing_data(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(UNIQUE_EXTERNAL_ID="true")
    scim.user("a", externalId="x")
    error_of(scim("POST", "/Users", {"userName": "b", "externalId": "x"}), 409, "uniqueness")

    scim = make_scim(UNIQUE_EXTERNAL_ID="false")
    shared = scim.user("b", externalId="x")
    lone = scim.user("c", externalId="y")

    scim = make_scim(UNIQUE_EXTERNAL_ID="true")
    for taken in ("x", "y"):
        error_of(scim("POST", "/Users", {"userName": "d", "externalId": taken}), 409, "uniqueness")
    assert sorted(scim.names('externalId eq "x"')) == ["a", "b"]
    kept = scim("PUT", shared["meta"]["location"], {"userName": "b", "externalId": "x", "title": "t"})
    assert kept.status_code == 200
    assert scim("DELETE", lone["meta"]["location"]).status_code == 204
    scim.user("d", externalId="y")


@pytest.mark.on("sqlite", "files", "postgresql", "mariadb", "mongodb")
def test_who_shares_an_external_id_that_becomes_unique_is_named(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    scim = make_scim(UNIQUE_EXTERNAL_ID="false")
    users = [scim.user(name, externalId="x") for name in "ab"]

    with caplog.at_level(logging.WARNING):
        make_scim(UNIQUE_EXTERNAL_ID="true")

    # Flat files are loaded again, and the log names the file.
    assert "has the same externalId" in caplog.text or "externalId is in use" in caplog.text
    assert any(user["id"] in caplog.text for user in users)


@pytest.mark.sqlite
@pytest.mark.parametrize(("setting", "shown"), [("true", "server"), ("false", "none")])
def test_schemas_say_whether_it_is_unique(
    make_scim: Callable[..., ScimClient], setting: str, shown: str
) -> None:
    scim = make_scim(UNIQUE_EXTERNAL_ID=setting, INDEXED_ATTRIBUTES="title")
    scim.user("a", externalId="x")

    for schema in scim("GET", "/Schemas").json["Resources"]:
        found = [a for a in schema["attributes"] if a["name"] == "externalId"]
        is_core = schema["id"].startswith("urn:ietf:params:scim:schemas:core:2.0:")
        assert [one["uniqueness"] for one in found] == ([shown] if is_core else [])
    assert scim.names('externalId eq "x"') == ["a"]
