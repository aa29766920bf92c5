"""Documents of other programs without an attribute that is required: adopted, named, and deprovisioned."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app import create_app
from app.cli import main
from app.configuration.settings import Settings
from tests.conftest import KEY, USER, ScimClient, error_of

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
USERS = {
    # The reader passes over the unknown part.
    "u": {"active": True, "externalId": "x", "emails": [{"value": "u@x", "verified": True}]},
    "v": {"userName": "v", "active": True},
}
GROUPS = {"g": {"externalId": "y", "members": [{"value": "u"}, {"value": "v"}]}}
LINES = [
    "User u: userName: is required and has no value",
    "Group g: displayName: is required and has no value",
]


def sqlite(folder: Path) -> dict[str, str]:
    """Make the tables of the earlier product, and return the settings for them."""
    database = sqlite3.connect(folder / "scim.db")
    with database:
        for table, documents in (("Users", USERS), ("Groups", GROUPS)):
            database.execute(f"CREATE TABLE {table} (id VARCHAR(255) PRIMARY KEY, details JSON)")
            rows = [(key, json.dumps(one)) for key, one in documents.items()]
            database.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
    database.close()
    return {"DATABASE_URL": f"sqlite:///{folder}/scim.db"}


def files(folder: Path) -> dict[str, str]:
    """Make the files of the earlier product, and return the settings for them."""
    for name, documents in (("Users", USERS), ("Groups", GROUPS)):
        (folder / name).mkdir()
        for key, one in documents.items():
            (folder / name / key).write_text(json.dumps(one))
    return {"DATA_PATH": str(folder)}


Plant = Callable[[Path], dict[str, str]]
everywhere = pytest.mark.parametrize("plant", [sqlite, files])


@pytest.fixture
def opened() -> Iterator[Callable[[dict[str, str]], ScimClient]]:
    """Return a function that opens a base."""
    apps = []

    def client(variables: dict[str, str]) -> ScimClient:
        apps.append(create_app(Settings.from_env({"API_KEY": KEY, "EMBEDDED_WORKER": "false", **variables})))
        return ScimClient(apps[-1].test_client())

    yield client
    for app in apps:
        app.extensions["scim.delivery"].database.close()
        app.extensions["scim.storage"].close()


def patch(scim: ScimClient, path: str, *operations: dict[str, Any]) -> Any:
    return scim("PATCH", path, {"schemas": [PATCH_OP], "Operations": operations})


def unknown(scim: ScimClient) -> dict[str, float]:
    return {name: count for name, count in scim.figures().items() if "unknown-attributes" in name}


@everywhere
def test_each_is_named_at_the_adoption_and_before(
    plant: Plant, tmp_path: Path, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    variables = plant(tmp_path)

    checked = CliRunner().invoke(main, ["check", "--adopt"], env={"LOGLEVEL": "ERROR", **variables})
    with caplog.at_level(logging.INFO):
        opened(variables)

    assert checked.exit_code == 1
    assert checked.stdout.splitlines() == [
        LINES[0],
        LINES[1],
        "User: 2 documents to adopt, 1 with problems, 0 of them left out",
        "Group: 1 documents to adopt, 1 with problems, 0 of them left out",
    ]
    assert [line for line in caplog.messages if "is required" in line] == LINES
    # No client has sent the part that no schema has.
    assert "deviates from the RFCs" not in caplog.text


@everywhere
def test_patch_deprovisions_what_lacks_a_name(plant: Plant, tmp_path: Path, opened: Any) -> None:
    scim = opened(plant(tmp_path))
    inactive = {"op": "replace", "path": "active", "value": False}
    counted = unknown(scim)

    answer = patch(scim, "/Users/u", inactive)
    assert (answer.status_code, answer.json["active"]) == (200, False), answer.text
    assert patch(scim, "/Groups/g", {"op": "remove", "path": 'members[value eq "u"]'}).status_code == 200
    members = scim("GET", "/Groups/g?attributes=members").json["members"]
    assert [one["value"] for one in members] == ["v"]
    data = {"schemas": [PATCH_OP], "Operations": [{"op": "remove", "path": "members"}]}
    operation = {"method": "PATCH", "path": "/Groups/g", "data": data}
    bulk = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": [operation]})
    assert bulk.json["Operations"][0]["status"] == "200", bulk.text
    assert "members" not in scim("GET", "/Groups/g").json

    assert unknown(scim) == counted


@everywhere
def test_a_name_is_required_as_ever(plant: Plant, tmp_path: Path, opened: Any) -> None:
    scim = opened(plant(tmp_path))

    for operation in ({"op": "remove", "path": "userName"}, {"op": "replace", "value": {"userName": ""}}):
        assert patch(scim, "/Users/u", operation).status_code == 400
        assert patch(scim, "/Users/v", operation).status_code == 400
    put = scim("PUT", "/Users/u", {"schemas": [USER], "active": False})
    assert error_of(put, 400, "invalidValue") == "userName: is required"
    named = patch(scim, "/Users/u", {"op": "add", "path": "userName", "value": "u"})
    assert named.json["userName"] == "u"
    assert patch(scim, "/Users/u", {"op": "replace", "path": "userName", "value": ""}).status_code == 400
