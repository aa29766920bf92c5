"""/openapi.json: it is valid, whole, and every example in it is accepted."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.conftest import ScimClient
from tests.description import (
    assert_described,
    document_of,
    operations_in,
    path_of,
    resolved,
)

EVERYTHING = {"SET_POLL_ENABLED": "true", "ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
GADGET = "urn:example:params:scim:schemas:core:2.0:Gadget"
TOOL = "urn:example:params:scim:schemas:core:2.0:Tool"
RACK = "urn:example:params:scim:schemas:extension:Rack"


def attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


# Names that examples know, with other definitions; every type of value; nothing that can be changed.
OWN_TYPES: dict[str, list[dict[str, Any]]] = {
    GADGET: [
        attribute("name", required=True),
        attribute("displayName", "complex", subAttributes=[attribute("text", required=True)]),
        attribute("emails", multiValued=True),
        attribute("active"),
        attribute("serial", required=True, uniqueness="server", caseExact=True),
        attribute("size", "integer", required=True),
        attribute("weight", "decimal", required=True),
        attribute("seen", "dateTime", required=True),
        attribute("photo", "binary", required=True),
        attribute("home", "reference", required=True, referenceTypes=["external"]),
        attribute("works", "boolean", required=True),
        attribute("color", required=True, canonicalValues=["red", "blue"]),
        attribute("parts", "complex", multiValued=True, required=True, subAttributes=[attribute("value")]),
        attribute("pin", mutability="writeOnly", returned="never"),
        attribute("code", required=True, mutability="immutable"),
    ],
    TOOL: [
        attribute("userName", required=True, mutability="immutable"),
        attribute("given", mutability="readOnly"),
    ],
}


@pytest.fixture
def own_types(tmp_path: Path) -> Path:
    folder = tmp_path / "schemas"
    (folder / "core").mkdir(parents=True)
    (folder / "extensions" / "Gadget").mkdir(parents=True)
    for urn, attributes in OWN_TYPES.items():
        name = urn.rpartition(":")[2]
        core = {"id": urn, "name": name, "description": name, "attributes": attributes}
        (folder / "core" / f"{name}.json").write_text(json.dumps(core))
    rack = {"id": RACK, "name": "Rack", "required": True, "attributes": [attribute("row", "integer")]}
    (folder / "extensions" / "Gadget" / "rack.json").write_text(json.dumps(rack))
    return folder


@pytest.fixture(params=["ours", "own"])
def described(
    request: pytest.FixtureRequest, make_scim: Callable[..., ScimClient], own_types: Path
) -> Callable[..., ScimClient]:
    """Make an application with our resource types, or with an operator's own."""
    types = {"SCHEMA_PATH": str(own_types)} if request.param == "own" else {}
    return lambda **environ: make_scim(**EVERYTHING, **types, **environ)


def derived(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """Return the sample that Swagger UI makes of the schema of a body."""
    schema = resolved(document, schema)
    for given in ("example", "default"):
        if given in schema:
            return schema[given]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "array":
        return [derived(document, schema["items"])]
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        return {n: derived(document, s) for n, s in properties.items() if not s.get("readOnly")}
    samples = {"string": "string", "boolean": True, "number": 0}
    return schema.get("minimum", 0) if kind == "integer" else samples.get(kind or "")


def bodies(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield media type and text of every body that Swagger UI offers for an operation."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        examples = [one["value"] for one in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        for example in examples or [derived(document, content["schema"])]:
            yield kind, example


def prefilled(document: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Swagger UI puts into the fields of parameters, by name."""
    found = {}
    for parameter in (resolved(document, one) for one in operation.get("parameters", ())):
        schema = parameter.get("schema", {})
        examples = [one["value"] for one in parameter.get("examples", {}).values()]
        examples += [one[key] for one in (parameter, schema) for key in ("example", "default") if key in one]
        if examples:
            found[parameter["name"]] = examples[0]
    return found


def filled(scim: ScimClient, path: str, made: Mapping[str, str]) -> str:
    """Return a path of the description with what is there in place of its parameters."""
    if path.startswith("/Async"):
        accepted = scim("DELETE", f"{next(iter(made))}/x", headers={"Prefer": "respond-async"})
        return str(accepted.headers["Location"])
    documents = scim("GET", path.removesuffix("/{name}")).json if path.endswith("/{name}") else {}
    name = documents["Resources"][0]["id"] if documents else ""
    return path.format(resource_id=made.get(path.rpartition("/")[0]), feed_id="default", name=name)


def execute(scim: ScimClient, method: str, path: str, made: dict[str, str]) -> list[Any]:
    """Send what Swagger UI offers for an operation, as often as it has bodies; return the answers."""
    document = document_of(scim.app)
    operation = document["paths"][path][method.lower()]
    answers = []
    for kind, body in [*bodies(document, operation)] or [("", None)]:
        answers.append(
            scim(
                method,
                filled(scim, path, made),
                body,
                headers={"Content-Type": kind} if kind else {},
                query_string=prefilled(document, operation),
            )
        )
        if method == "POST" and answers[-1].status_code == 201:
            made[path] = answers[-1].json["id"]
    return answers


def try_everything(scim: ScimClient) -> None:
    """Execute every operation with every body and parameter that the page offers, in a sensible order."""
    # /Me is not there for an API key.
    meant = [one for one in operations_in(document_of(scim.app)) if one[1] != "/Me"]
    order = {"POST": 0, "DELETE": 2}
    made: dict[str, str] = {}

    for method, path, operation in sorted(meant, key=lambda one: (order.get(one[0], 1), len(one[1]))):
        for answer in execute(scim, method, path, made):
            assert answer.status_code < 300, (operation["operationId"], answer.text)
            for result in (answer.json or {}).get("Operations", ()) if path == "/Bulk" else ():
                assert result["status"] < "300", result
                if result["method"] == "PATCH":
                    # What an own type must have is the same in all examples, and may be unique.
                    scim("DELETE", result["location"])

    assert len(made) == 2


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_what_the_page_offers_to_send_is_accepted(make_scim: Callable[..., ScimClient], profile: str) -> None:
    try_everything(make_scim(**EVERYTHING, PROFILE=profile))


@pytest.mark.on("sqlite", "files", "postgresql", "mariadb", "mongodb", "ldap")
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_what_the_page_offers_for_own_types_is_accepted(
    make_scim: Callable[..., ScimClient], own_types: Path, profile: str
) -> None:
    try_everything(make_scim(**EVERYTHING, PROFILE=profile, SCHEMA_PATH=str(own_types)))


@pytest.mark.sqlite
def test_the_document_is_valid_and_names_every_operation_once(described: Callable[..., ScimClient]) -> None:
    document = document_of(described().app)

    validate(document)

    names = Counter(operation["operationId"] for _, _, operation in operations_in(document))
    assert set(names.values()) == {1}
    assert {"findAll", "runBulk", "pollEvents"} <= set(names)


@pytest.mark.sqlite
def test_operations_of_a_resource_have_names_that_stay(scim: ScimClient) -> None:
    verbs = ("create", "delete", "get", "list", "patch", "replace", "search")

    for name in ("User", "Group"):
        tagged = [o for _, _, o in operations_in(document_of(scim.app)) if o["tags"] == [name]]
        assert sorted(operation.get("operationId", "") for operation in tagged) == [v + name for v in verbs]


@pytest.mark.sqlite
def test_the_table_has_every_route_and_nothing_else(described: Callable[..., ScimClient]) -> None:
    app = described().app
    unlisted = ("/openapi.json", "/docs", "/docs/start.js", "/docs/assets/<path:filename>")
    routes = {
        (method, path_of(rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule not in unlisted
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    named = {(method, path): o.get("operationId") for method, path, o in operations_in(document_of(app))}

    assert set(named) == routes and None not in named.values()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("getUser", {"If-Match", "If-None-Match"}),
        ("replaceUser", {"If-Match", "If-None-Match", "Prefer"}),
        ("patchGroup", {"If-Match", "If-None-Match", "Prefer"}),
        ("deleteGroup", {"If-Match", "If-None-Match", "Prefer"}),
        ("createUser", {"Prefer", "attributes", "excludedAttributes"}),
        ("runBulk", {"Prefer"}),
        ("listUser", {"filter", "startIndex", "count", "sortBy", "sortOrder", "cursor", "attributes"}),
        ("findAll", {"filter", "startIndex", "count", "sortBy", "sortOrder", "cursor", "attributes"}),
        ("readFeeds", {"startIndex", "count"}),
    ],
)
def test_all_that_can_be_sent_has_a_field(scim: ScimClient, name: str, names: set[str]) -> None:
    document = document_of(scim.app)
    operation = {o.get("operationId"): o for _, _, o in operations_in(document)}.get(name, {})
    parameters = [resolved(document, one) for one in operation.get("parameters", ())]

    assert names <= {parameter["name"] for parameter in parameters}
    # An empty cursor asks for the first page.
    assert all(p.get("allowEmptyValue") for p in parameters if p["name"] == "cursor")
    # Whatever is sent unasked must be wanted.
    assert prefilled(document, operation) == {}


@pytest.mark.sqlite
def test_messages_are_described_as_they_are_read(scim: ScimClient) -> None:
    schemas = document_of(scim.app)["components"]["schemas"]
    operation = schemas["BulkOperationMessage"]["properties"]

    assert schemas["PatchOperationMessage"]["properties"]["op"]["enum"] == ["add", "remove", "replace"]
    assert operation["method"]["enum"] == ["POST", "PUT", "PATCH", "DELETE"]
    results = {name for name, one in operation.items() if one.get("readOnly")}
    assert results == {"location", "response", "status"}
    assert schemas["BulkMessage"]["properties"]["failOnErrors"]["minimum"] == 0
    for name in ("PatchMessage", "BulkMessage"):
        assert sorted(schemas[name]["required"]) == ["Operations", "schemas"]
    assert schemas["SearchMessage"]["required"] == ["schemas"]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("name", "status", "headers"),
    [
        ("createUser", "201", {"ETag", "Location"}),
        ("createUser", "202", {"Set-Txn", "Preference-Applied", "Location"}),
        ("getUser", "200", {"ETag", "Location"}),
        ("getUser", "304", {"ETag"}),
        ("patchGroup", "204", {"ETag", "Location"}),
        ("readResult", "202", {"Retry-After"}),
        ("listUser", "401", {"WWW-Authenticate"}),
        ("listUser", "503", {"Retry-After"}),
        ("listUser", "500", set()),
        ("deleteUser", "403", {"WWW-Authenticate"}),
        ("createUser", "413", set()),
        ("patchUser", "415", set()),
        ("readSchema", "200", {"Location"}),
    ],
)
def test_answers_and_their_headers_are_described(
    scim: ScimClient, name: str, status: str, headers: set[str]
) -> None:
    document = document_of(scim.app)
    operation = {o.get("operationId"): o for _, _, o in operations_in(document)}.get(name, {})

    answer = operation.get("responses", {}).get(status)

    assert answer is not None
    assert set(resolved(document, answer).get("headers", {})) == headers


@pytest.mark.sqlite
def test_an_answer_that_is_not_described_is_noticed(scim: ScimClient) -> None:
    answer = scim("GET", "/Users")
    answer.headers["X-New"] = "1"
    with pytest.raises(AssertionError, match="listUser: 200: .*X-New"):
        assert_described(scim.app, answer)

    answer = scim("GET", "/Users")
    answer.status_code = 418
    with pytest.raises(AssertionError, match="listUser: 418"):
        assert_described(scim.app, answer)
