"""Definition files and the resource types that they make (RFC 7643 sections 6 and 7)."""

import json
from pathlib import Path
from typing import Any

import pytest

from schema.registry import load_registry
from tests.schema.files import DEVICE, LAB, Load, core, device, lab


def test_every_core_file_makes_a_resource_type_and_user_comes_first(load: Load) -> None:
    registry = load({f"core/{name}.json": core(name) for name in ("Zone", "Alarm", "User")})

    assert [r.name for r in registry.resource_types] == ["User", "Alarm", "Zone"]
    assert [r.endpoint for r in registry.resource_types] == ["/Users", "/Alarms", "/Zones"]


def test_the_definitions_that_come_with_the_server_are_loaded_by_default() -> None:
    registry = load_registry()

    assert [(r.name, r.endpoint) for r in registry.resource_types] == [
        ("User", "/Users"),
        ("Group", "/Groups"),
    ]
    assert [s.name for s in registry.schemas][:2] == ["User", "Group"]


@pytest.mark.parametrize(
    ("document", "file", "name", "endpoint"),
    [
        (core(endpoint="/Machines"), "Device", "Device", "/Machines"),
        (core(), "other", "Device", "/Devices"),
        (core(name="Core device schema", id=DEVICE), "Device", "Device", "/Devices"),
        (core(name="Appareil d'élève", id=DEVICE), "Device", "Device", "/Devices"),
        (core(name="Core device schema", id=DEVICE, endpoint="/D-1_x"), "Device", "Device", "/D-1_x"),
    ],
    ids=["endpoint", "name before file", "name for people", "name of any letters", "both"],
)
def test_a_type_has_the_name_of_its_schema_or_of_its_file_where_that_is_for_people(
    load: Load, document: dict[str, Any], file: str, name: str, endpoint: str
) -> None:
    (made,) = load({f"core/{file}.json": document}).resource_types

    assert (made.name, made.endpoint, made.schema.name) == (name, endpoint, document["name"])


@pytest.mark.parametrize("described", ["What it is.", "", None])
def test_a_schema_without_a_description_is_described_by_its_name(load: Load, described: str | None) -> None:
    (made,) = load({"core/a.json": core(description=described)}).resource_types

    assert made.description == made.schema.description == (described or "Device")


@pytest.mark.parametrize(("member", "required"), [({}, False), ({"required": True}, True)])
def test_an_extension_is_required_only_where_its_file_says_so(
    load: Load, member: dict[str, Any], required: bool
) -> None:
    files = {"core/a.json": core(), "extensions/Device/b.json": lab(**member)}

    ((extension,),) = [r.extensions for r in load(files).resource_types]

    assert (extension.schema.id, extension.required) == (LAB, required)


def test_extensions_are_those_in_the_folder_of_the_type_in_the_order_of_their_files(load: Load) -> None:
    files = {
        "core/a.json": core(name="Core device schema", id=DEVICE),
        "core/Zone.json": core("Zone"),
        "extensions/a/2.json": lab(id="urn:example:2"),
        "extensions/a/1.json": lab(id="urn:example:1"),
        "extensions/Zone/3.json": lab(id="urn:example:3"),
        "extensions/Empty/readme.txt": "no definition",
    }

    registry = load(files)

    found = {r.name: [e.schema.id for e in r.extensions] for r in registry.resource_types}
    assert found == {"a": ["urn:example:1", "urn:example:2"], "Zone": ["urn:example:3"]}
    assert [s.id for s in registry.schemas] == [
        *("urn:example:core:Zone", DEVICE, "urn:example:3", "urn:example:1", "urn:example:2"),
    ]


def test_a_schema_that_extends_two_types_is_listed_once(load: Load) -> None:
    files = {"core/a.json": core(), "core/b.json": core("Zone")}
    files |= {f"extensions/{name}/x.json": lab() for name in ("Device", "Zone")}

    registry = load(files)

    assert [s.id for s in registry.schemas] == [DEVICE, "urn:example:core:Zone", LAB]


@pytest.mark.parametrize("name", ["Device", "device", "DEVICE"])
def test_a_type_is_found_by_its_name_in_any_case_and_by_its_endpoint(load: Load, name: str) -> None:
    registry = load({"core/a.json": core()})

    assert registry.resource_type(name) is registry.by_endpoint("/Devices") is registry.resource_types[0]
    assert registry.resource_type("Devices") is registry.by_endpoint("/Device") is None


@pytest.mark.parametrize("below", ["", "schema", "schemas"])
def test_the_folder_may_be_that_of_the_definitions_or_the_one_above(tmp_path: Path, below: str) -> None:
    folder = tmp_path / below / "core"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(core()))

    assert [r.name for r in load_registry(tmp_path).resource_types] == ["Device"]


@pytest.mark.parametrize(("unique", "uniqueness"), [(True, "server"), (False, "none")])
def test_external_id_is_as_unique_as_the_installation_says(unique: bool, uniqueness: str) -> None:
    for resource_type in load_registry(unique_external_id=unique).resource_types:
        path = resource_type.path("externalId")
        assert path is not None and path.leaf.uniqueness == uniqueness


def test_every_characteristic_is_read(load: Load) -> None:
    given = {
        **{"name": "codes", "type": "complex", "multiValued": True, "description": "d", "required": True},
        **{"caseExact": True, "mutability": "immutable", "returned": "request", "uniqueness": "global"},
        **{"canonicalValues": ["a"], "referenceTypes": ["uri"]},
    }
    sub = {**given, "name": "$ref", "type": "reference"}

    (made,) = load({"core/a.json": core(attributes=[{**given, "subAttributes": [sub]}])}).resource_types

    assert made.schema.attributes[0].as_json() == {**given, "subAttributes": [sub]}


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        ({}, False),
        ({"type": "reference"}, True),
        ({"type": "binary"}, True),
        ({"type": "reference", "caseExact": False}, False),
        ({"caseExact": True}, True),
    ],
    ids=str,
)
def test_references_and_binary_values_are_case_exact_unless_the_definition_says_otherwise(
    load: Load, given: dict[str, Any], exact: bool
) -> None:
    (made,) = load({"core/a.json": device(**given)}).resource_types

    assert made.schema.attributes[0].case_exact is exact


def test_common_attributes_in_a_definition_are_passed_over_but_not_as_sub_attributes(load: Load) -> None:
    listed: list[dict[str, Any]] = [{"name": n, "type": "integer"} for n in ("ID", "externalId", "schemas")]
    listed += [{"name": "x", "type": "complex", "subAttributes": [{"name": "id"}]}]

    (made,) = load({"core/a.json": core(attributes=listed)}).resource_types

    assert [a.name for a in made.attributes] == ["schemas", "id", "externalId", "meta", "x"]
    assert [s.name for s in made.attributes[-1].sub_attributes] == ["id"]
    assert {a.name: a.type for a in made.attributes}["id"] == "string"


@pytest.mark.parametrize(("returned", "parts"), [("never", "never"), ("request", "default")])
def test_the_parts_of_an_attribute_that_is_never_returned_are_secret_too(
    load: Load, returned: str, parts: str
) -> None:
    document = device(type="complex", returned=returned, subAttributes=[{"name": "value"}])

    (made,) = load({"core/a.json": document}).resource_types

    assert [s.returned for s in made.schema.attributes[0].sub_attributes] == [parts]
    assert [p.text for p in made.secret_paths] == (["x.value"] if parts == "never" else [])
