"""Discovery (RFC 7643 sections 5 to 7, RFC 7644 section 4), and types made by a file alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from app.configuration.settings import Settings
from schema.errors import DefinitionError
from tests.conftest import ScimClient, error_of

ANONYMOUS = {"Authorization": ""}
DEVICE = "urn:example:params:scim:schemas:core:2.0:Device"


def test_service_provider_config_has_every_attribute(scim: ScimClient) -> None:
    config = scim("GET", "/ServiceProviderConfig", headers=ANONYMOUS).json

    assert set(config) == {
        "schemas",
        "documentationUri",
        "patch",
        "bulk",
        "filter",
        "changePassword",
        "sort",
        "etag",
        "pagination",
        "authenticationSchemes",
        "meta",
    }
    assert set(config["bulk"]) == {"supported", "maxOperations", "maxPayloadSize"}
    assert config["authenticationSchemes"][0]["type"] == "oauthbearertoken"
    assert config["meta"]["resourceType"] == "ServiceProviderConfig"


def test_schemas_and_resource_types_are_lists_and_single(scim: ScimClient) -> None:
    for endpoint in ("/Schemas", "/ResourceTypes"):
        body = scim("GET", endpoint, headers=ANONYMOUS).json

        assert body["totalResults"] == body["itemsPerPage"] == len(body["Resources"])
        assert body["startIndex"] == 1
        for document in body["Resources"]:
            assert None not in document.values()
            assert scim("GET", document["meta"]["location"], headers=ANONYMOUS).json == document


def test_resource_types_list_their_extensions(scim: ScimClient) -> None:
    user = scim("GET", "/ResourceTypes/User").json

    assert user["endpoint"] == "/Users"
    assert user["schema"] == "urn:ietf:params:scim:schemas:core:2.0:User"
    assert {extension["schema"] for extension in user["schemaExtensions"]} == {
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:mace:surf.nl:sram:scim:extension:User",
        "urn:temporaryNamespace:scim:schemas:voPerson:User",
    }


@pytest.mark.parametrize("path", ["/Schemas", "/ResourceTypes", "/ServiceProviderConfig", "/Schemas/x"])
def test_a_filter_on_discovery_is_forbidden(scim: ScimClient, path: str) -> None:
    error_of(scim("GET", f"{path}?filter=id+pr"), 403)


def test_unknown_schema_and_resource_type(scim: ScimClient) -> None:
    assert "urn:nope" in error_of(scim("GET", "/Schemas/urn:nope"), 404)
    error_of(scim("GET", "/ResourceTypes/Nope"), 404)


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    """A schema folder with a type of its own that has an extension."""
    folder = tmp_path / "schemas"
    (folder / "core").mkdir(parents=True)
    (folder / "extensions" / "Device").mkdir(parents=True)
    attributes = [
        {"name": "serial", "type": "string", "required": True, "caseExact": True, "uniqueness": "server"},
        {"name": "model", "type": "string", "mutability": "immutable"},
        {"name": "pin", "type": "string", "returned": "request"},
        {"name": "weight", "type": "decimal"},
        {"name": "seen", "type": "dateTime"},
    ]
    core = {"id": DEVICE, "name": "Device", "description": "A device", "attributes": attributes}
    (folder / "core" / "device.json").write_text(json.dumps(core))
    rack = {
        "id": "urn:example:rack",
        "name": "Rack",
        "required": True,
        "attributes": [{"name": "row", "type": "integer"}],
    }
    (folder / "extensions" / "Device" / "rack.json").write_text(json.dumps(rack))
    return folder


def test_a_file_makes_a_resource_type(make_scim: Callable[..., ScimClient], definitions: Path) -> None:
    scim = make_scim(SCHEMA_PATH=str(definitions))

    body = {"schemas": [DEVICE], "serial": "A1", "weight": 1.5, "urn:example:rack": {"row": 7}, "pin": "1"}
    device = scim("POST", "/Devices", body).json

    assert device["meta"]["location"] == f"/Devices/{device['id']}"
    assert "pin" not in device
    assert scim("GET", f"{device['meta']['location']}?attributes=pin").json["pin"] == "1"
    error_of(scim("POST", "/Devices", body), 409, "uniqueness")
    other = {**body, "serial": "a1", "weight": -20, "seen": "2026-01-01T00:00:00+01:00"}
    assert scim("POST", "/Devices", other).status_code == 201

    def serials(filter_text: str) -> list[str]:
        return scim.names(filter_text, "/Devices", "serial")

    assert serials("weight gt 1") == serials('serial eq "A1"') == ["A1"]
    assert serials("urn:example:rack:row le 7") == ["A1", "a1"]
    assert serials('seen lt "2026-01-01T00:00:00Z"') == ["a1"]
    assert {r["name"] for r in scim("GET", "/ResourceTypes").json["Resources"]} == {"Device"}
    assert {s["id"] for s in scim("GET", "/Schemas").json["Resources"]} == {DEVICE, "urn:example:rack"}
    assert "/Devices/{resource_id}" in scim("GET", "/openapi.json").json["paths"]
    error_of(scim("GET", "/Users"), 404)


def test_a_required_extension_is_required(make_scim: Callable[..., ScimClient], definitions: Path) -> None:
    scim = make_scim(SCHEMA_PATH=str(definitions))

    assert "urn:example:rack" in error_of(scim("POST", "/Devices", {"serial": "A1"}), 400, "invalidValue")


def test_immutable_attributes_stay(make_scim: Callable[..., ScimClient], definitions: Path) -> None:
    scim = make_scim(SCHEMA_PATH=str(definitions))
    body: dict[str, Any] = {"serial": "A1", "urn:example:rack": {"row": 7}}
    path = scim("POST", "/Devices", body).json["meta"]["location"]

    assert scim("PUT", path, {**body, "model": "x"}).json["model"] == "x"
    assert scim("PUT", path, body).json["model"] == "x"
    assert "model" in error_of(scim("PUT", path, {**body, "model": "y"}), 400, "mutability")


@pytest.mark.on("sqlite")
def test_a_schema_may_have_a_name_for_people(make_scim: Callable[..., ScimClient], tmp_path: Path) -> None:
    folder = tmp_path / "code"
    for path, urn, name in (
        ("core/Printer.json", "urn:example:printer", "Core printer schema"),
        ("extensions/Printer/lab.json", "urn:example:lab", "Émilie's lab: \"Extension\""),
    ):
        (folder / "schema" / path).parent.mkdir(parents=True)
        schema = {"id": urn, "name": name, "attributes": [{"name": "room", "type": "string"}]}
        (folder / "schema" / path).write_text(json.dumps(schema))
    scim = make_scim(SCHEMA_PATH=str(folder))

    made = scim("POST", "/Printers", {"room": "a", "urn:example:lab": {"room": "b"}})

    assert made.json["meta"]["resourceType"] == "Printer"
    assert scim.names('urn:example:lab:room eq "B"', "/Printers", "room") == ["a"]
    names = {schema["name"] for schema in scim("GET", "/Schemas").json["Resources"]}
    assert names == {"Core printer schema", "Émilie's lab: \"Extension\""}
    assert [r["name"] for r in scim("GET", "/ResourceTypes").json["Resources"]] == ["Printer"]
    validate(scim("GET", "/openapi.json").json)


def test_broken_definitions_stop_the_start_with_every_problem(
    make_scim: Callable[..., ScimClient], definitions: Path
) -> None:
    (definitions / "core" / "a.json").write_text("{")
    (definitions / "core" / "b.json").write_text('{"id": "x", "name": " ", "attributes": []}')
    wrong = {"name": "d", "type": "text", "multiValued": "yes", "mutability": "never"}
    (definitions / "extensions" / "Device" / "c.json").write_text(
        json.dumps({"id": "urn:example:c", "name": "C", "attributes": [wrong, wrong, {}]})
    )
    (definitions / "extensions" / "Nothing").mkdir()
    (definitions / "extensions" / "Nothing" / "d.json").write_text("{}")

    with pytest.raises(DefinitionError) as caught:
        make_scim(SCHEMA_PATH=str(definitions))

    text = str(caught.value)
    for part in ("a.json", "b.json: id", "b.json: name", "type 'text'", "multiValued", "mutability"):
        assert part in text
    for part in ("defined twice", "attributes[2]", "extensions/Nothing"):
        assert part in text


def test_a_schema_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    from app import create_app

    with pytest.raises(DefinitionError):
        create_app(Settings.from_env({"SCHEMA_PATH": str(tmp_path / "nope"), "DATA_PATH": str(tmp_path)}))
