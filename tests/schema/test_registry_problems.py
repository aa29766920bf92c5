"""What is wrong with definition files: each problem with its file, all of them at once."""

from pathlib import Path
from typing import Any

import pytest

from schema.errors import DefinitionError
from schema.registry import load_registry
from tests.schema.files import DEVICE, LAB, ROOM, Load, core, device, lab, problems_of


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "cannot be read as JSON: "),
        ("nul", "cannot be read as JSON: "),
        ("[]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        (core(id=None), "id None is not a URN"),
        (core(id=7), "id 7 is not a URN"),
        (core(id="User"), "id 'User' is not a URN"),
        (core(id="urn:example:"), "id 'urn:example:' is not a URN"),
        (core(id="urn:exa mple:x"), "id 'urn:exa mple:x' is not a URN"),
        (core(id="urn:example:x[y]"), "id 'urn:example:x[y]' is not a URN"),
        (core(id='urn:example:"x'), "id 'urn:example:\"x' is not a URN"),
        (core(id="urn:example:(x)"), "id 'urn:example:(x)' is not a URN"),
        (core(id="urn:example:é"), "id 'urn:example:é' is not a URN"),
        ({**core(), "name": None}, "name None is not a name such as User"),
        ({**core(), "name": " "}, "name ' ' is not a name such as User"),
        ({**core(), "name": "a\nb"}, "name 'a\\nb' is not a name such as User"),
        (core(endpoint="Devices"), "endpoint 'Devices' is not a path such as /Users"),
        (core(endpoint="/"), "endpoint '/' is not a path such as /Users"),
        (core(endpoint="/a/b"), "endpoint '/a/b' is not a path such as /Users"),
        (core(endpoint="/é"), "endpoint '/é' is not a path such as /Users"),
        (core(endpoint=7), "endpoint 7 is not a path such as /Users"),
        (core(attributes=None), "attributes: must be a list of attributes"),
        (core(attributes=[]), "attributes: must be a list of attributes"),
        (core(attributes={"x": 1}), "attributes: must be a list of attributes"),
        (core(attributes=["x"]), "attributes[0]: name None is not an attribute name"),
        (core(attributes=[ROOM, {}]), "attributes[1]: name None is not an attribute name"),
        (core(attributes=[{"name": "1a"}]), "attributes[0]: name '1a' is not an attribute name"),
        (core(attributes=[{"name": "a.b"}]), "attributes[0]: name 'a.b' is not an attribute name"),
        (core(attributes=[{"name": "a:b"}]), "attributes[0]: name 'a:b' is not an attribute name"),
        (core(attributes=[{"name": "é"}]), "attributes[0]: name 'é' is not an attribute name"),
        (core(attributes=[ROOM, {"name": "ROOM"}]), "ROOM: is defined twice"),
        (device(type="text"), "x: type 'text' is not one of string, "),
        (device(type=["string"]), "x: type ['string'] is not one of string, "),
        (device(mutability="never"), "x: mutability 'never' is not one of readOnly, "),
        (device(returned="readOnly"), "x: returned 'readOnly' is not one of always, "),
        (device(uniqueness=True), "x: uniqueness True is not one of none, server, global"),
        (device(multiValued="yes"), "x: multiValued must be true or false"),
        (device(required=1), "x: required must be true or false"),
        (device(caseExact=None), "x: caseExact must be true or false"),
        (device(canonicalValues="a"), "x: canonicalValues must be a list of strings"),
        (device(referenceTypes=["a", 7]), "x: referenceTypes must be a list of strings"),
        (device(subAttributes=[ROOM]), "x: only a complex attribute has subAttributes"),
        (device(type="complex"), "x.: must be a list of attributes"),
        (device(type="complex", subAttributes=[7]), "x.[0]: name None is not an attribute name"),
        (
            device(type="complex", subAttributes=[{"name": "y", "type": "complex"}]),
            "x.y: a sub-attribute cannot be complex",
        ),
        (
            device(type="complex", subAttributes=[{"name": "y", "returned": "z"}]),
            "x.y: returned 'z' is not one of always, ",
        ),
        (device(type="complex", subAttributes=[ROOM, ROOM]), "x.room: is defined twice"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) > 5 else "",
)
def test_each_problem_is_named_with_its_file_in_core_and_in_an_extension(
    load: Load, document: Any, said: str
) -> None:
    (problem,) = problems_of(load, {"core/a.json": document})
    assert problem.startswith(f"core/a.json: {said}")

    if not said.startswith("endpoint"):
        (problem,) = problems_of(load, {"core/a.json": core(), "extensions/Device/b.json": document})
        assert problem.startswith(f"extensions/Device/b.json: {said}")


@pytest.mark.parametrize(
    "endpoint",
    [
        *("/Me", "/Bulk", "/Schemas", "/ResourceTypes", "/ServiceProviderConfig", "/health"),
        *("/Async", "/docs", "/metrics"),
    ],
)
@pytest.mark.parametrize("spelling", [str, str.lower, str.upper], ids=["as is", "lower", "upper"])
def test_an_endpoint_of_the_server_itself_is_reserved(load: Load, endpoint: str, spelling: Any) -> None:
    taken = spelling(endpoint)

    problems = problems_of(load, {"core/a.json": core(endpoint=taken)})

    assert problems == [f"core/a.json: endpoint {taken} is reserved by the server"]


def test_an_endpoint_that_follows_from_the_name_may_be_reserved_too(load: Load) -> None:
    problems = problems_of(load, {"core/Schema.json": core("Schema")})

    assert problems == ["core/Schema.json: endpoint /Schemas is reserved by the server"]


def test_a_file_name_that_has_to_be_the_name_of_the_type_is_one(load: Load) -> None:
    document = core(name="Core device schema", id=DEVICE, endpoint="/Devices")

    problems = problems_of(load, {"core/a b.json": document})

    assert problems == [
        "core/a b.json: neither name 'Core device schema' nor the file name is a resource type",
    ]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (core("device", id="urn:example:2", endpoint="/Others"), "share the name or endpoint device"),
        (core("Other", endpoint="/DEVICES"), "share the name or endpoint /devices"),
        (core("Other", id="URN:example:core:Device"), "id 'URN:example:core:Device' is not a URN"),
        (core("Other", id="urn:EXAMPLE:core:device"), "core: two resource types have the same schema URN"),
    ],
    ids=["name", "endpoint", "scheme in upper case", "URN"],
)
def test_two_types_share_no_name_no_endpoint_and_no_urn(
    load: Load, other: dict[str, Any], said: str
) -> None:
    (problem,) = problems_of(load, {"core/a.json": core(), "core/b.json": other})

    assert said in problem


@pytest.mark.parametrize("urns", [[LAB, LAB.upper().replace("URN", "urn")], ["urn:example:core:DEVICE"]])
def test_a_type_has_no_schema_twice(load: Load, urns: list[str]) -> None:
    extensions = {f"extensions/Device/{n}.json": lab(id=urn) for n, urn in enumerate(urns)}

    assert problems_of(load, {"core/a.json": core(), **extensions}) == [
        "core: Device has the same schema URN twice",
    ]


@pytest.mark.parametrize("required", ["yes", 1, None])
def test_required_of_an_extension_is_true_or_false(load: Load, required: Any) -> None:
    files = {"core/a.json": core(), "extensions/Device/b.json": {**lab(), "required": required}}

    assert problems_of(load, files) == ["extensions/Device/b.json: `required` must be true or false"]


def test_an_extension_of_no_type_is_a_problem(load: Load) -> None:
    files = {"core/a.json": core(), "extensions/device/b.json": lab()}

    assert problems_of(load, files) == [
        "extensions/device: extends no resource type: there is no core schema of that name",
    ]


def test_a_folder_without_definitions_is_a_problem(tmp_path: Path, load: Load) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_registry(tmp_path)
    assert caught.value.problems == [
        f"{tmp_path}: there is no folder `core` with schema definitions in it",
    ]

    assert problems_of(load, {}) == [f"{tmp_path / 'core'}: there is no schema definition in it"]


@pytest.mark.parametrize(
    "broken",
    [core(attributes=[]), core(id="x"), core(endpoint=7), {**core(id=DEVICE), "name": 7}],
    ids=["attributes", "id", "endpoint", "name"],
)
def test_the_extensions_of_a_broken_type_are_checked_and_not_blamed(
    load: Load, broken: dict[str, Any]
) -> None:
    files = {
        "core/Device.json": broken,
        "extensions/Device/good.json": lab(),
        "extensions/Device/wrong.json": lab(id=7),
    }

    problems = problems_of(load, files)

    assert sorted(problem.split(":")[0] for problem in problems) == [
        "core/Device.json",
        "extensions/Device/wrong.json",
    ]


def test_every_problem_of_every_file_is_named_at_once(load: Load) -> None:
    wrong = {"name": "d", "type": "text", "multiValued": "yes", "returned": "x"}
    files = {
        "core/a.json": "{",
        "core/b.json": core("Zone", id="x", attributes=[wrong, wrong]),
        "core/c.json": core(),
        "extensions/Device/d.json": lab(attributes=[{}, wrong]),
    }

    problems = problems_of(load, files)

    assert [problem.split(": ")[0] for problem in problems] == [
        "core/a.json",
        *["core/b.json"] * 8,
        *["extensions/Device/d.json"] * 4,
    ]
