"""The examples of RFC 7644, sections 3.3 to 3.14, by section; those of 3.5.2 are in test_patch.py."""

from typing import Any

import pytest

from tests.conftest import GROUP, USER, ScimClient, error_of

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

BJENSEN: dict[str, Any] = {
    "schemas": [USER],
    "userName": "bjensen",
    "externalId": "bjensen",
    "name": {"formatted": "Ms. Barbara J Jensen III", "familyName": "Jensen", "givenName": "Barbara"},
}


@pytest.fixture
def bjensen(scim: ScimClient) -> dict[str, Any]:
    created: dict[str, Any] = scim("POST", "/Users", BJENSEN).json
    return created


def test_3_3_creating_resources(scim: ScimClient) -> None:
    answer = scim("POST", "/Users", BJENSEN)

    assert answer.status_code == 201
    assert answer.headers["Location"] == answer.json["meta"]["location"]
    assert answer.headers["ETag"] == answer.json["meta"]["version"]
    assert {name: answer.json[name] for name in BJENSEN} == BJENSEN
    assert answer.json["meta"]["resourceType"] == "User"
    error_of(scim("POST", "/Users", BJENSEN), 409, "uniqueness")


def test_3_4_1_retrieving_a_known_resource(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    answer = scim("GET", f"/Users/{bjensen['id']}")

    assert (answer.status_code, answer.json) == (200, bjensen)
    assert answer.headers["ETag"] == bjensen["meta"]["version"]


def test_3_4_2_query_resources(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    jsmith = scim.user("jsmith")

    body = scim("GET", "/Users?attributes=userName").json

    assert body["schemas"] == [LIST] and body["totalResults"] == 2
    assert body["Resources"] == [
        {"schemas": [USER], "id": user["id"], "userName": user["userName"]} for user in (bjensen, jsmith)
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('userName Eq "john"', "john"),
        ('Username eq "john"', "john"),
        ('userName eq "bjensen"', "bjensen"),
        ('name.familyName co "O\'Malley"', "john"),
        ('userName sw "J"', "john"),
        (f'{USER}:userName sw "J"', "john"),
        ("title pr", "john worker"),
        ('meta.lastModified gt "2011-05-13T04:42:34Z"', "bjensen john worker"),
        ('meta.lastModified ge "2011-05-13T04:42:34Z"', "bjensen john worker"),
        ('meta.lastModified lt "2011-05-13T04:42:34Z"', ""),
        ('meta.lastModified le "2011-05-13T04:42:34Z"', ""),
        ('title pr and userType eq "Employee"', "worker"),
        ('title pr or userType eq "Intern"', "john worker"),
        (f'schemas eq "{ENTERPRISE}"', "worker"),
        ('userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")', "worker"),
        (
            'userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")',
            "bjensen",
        ),
        ('userType eq "Employee" and (emails.type eq "work")', "worker"),
        ('userType eq "Employee" and emails[type eq "work" and value co "@example.com"]', "worker"),
        (
            'emails[type eq "work" and value co "@example.com"] or '
            'ims[type eq "xmpp" and value co "@foo.com"]',
            "john worker",
        ),
    ],
)
def test_3_4_2_2_filtering(scim: ScimClient, bjensen: dict[str, Any], text: str, found: str) -> None:
    scim.user(
        "john",
        name={"familyName": "O'Malley"},
        title="x",
        ims=[{"type": "xmpp", "value": "j@foo.com"}],
        emails=[{"type": "home", "value": "j@example.com"}],
    )
    work = [{"type": "work", "value": "w@example.com"}]
    scim.user("worker", userType="Employee", title="y", emails=work, **{ENTERPRISE: {"division": "d"}})

    assert scim.names(text) == found.split()


def test_3_4_2_4_pagination(scim: ScimClient) -> None:
    for number in range(12):
        scim.user(f"u{number}")

    body = scim("GET", "/Users?startIndex=1&count=10").json

    assert (body["totalResults"], body["itemsPerPage"], body["startIndex"]) == (12, 10, 1)
    assert len(scim("GET", "/Users?startIndex=11&count=10").json["Resources"]) == 2


def test_3_4_3_querying_by_post(scim: ScimClient) -> None:
    scim.user("a", displayName="Smith, James")
    scim.group("Smith Family")
    scim.user("b", displayName="Jones")
    body = {
        "schemas": [SEARCH],
        "attributes": ["displayName", "userName"],
        "filter": 'displayName sw "smith"',
        "startIndex": 1,
        "count": 10,
    }

    answer = scim("POST", "/.search", body)

    assert (answer.status_code, answer.json["totalResults"]) == (200, 2)
    assert [set(resource) for resource in answer.json["Resources"]] == [
        {"schemas", "id", "userName", "displayName"},
        {"schemas", "id", "displayName"},
    ]


def test_3_5_1_replacing_with_put(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    body = {
        **BJENSEN,
        "id": bjensen["id"],
        "roles": [],
        "emails": [{"value": "bjensen@example.com"}, {"value": "babs@jensen.org"}],
    }

    answer = scim("PUT", f"/Users/{bjensen['id']}", body, headers={"If-Match": bjensen["meta"]["version"]})

    assert answer.status_code == 200
    assert answer.headers["ETag"] == answer.json["meta"]["version"] != bjensen["meta"]["version"]
    assert answer.json["emails"] == body["emails"] and "roles" not in answer.json
    assert answer.json["meta"]["created"] == bjensen["meta"]["created"]


def test_3_6_deleting_resources(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    path = f"/Users/{bjensen['id']}"

    deleted = scim("DELETE", path, headers={"If-Match": bjensen["meta"]["version"]})

    assert (deleted.status_code, deleted.data) == (204, b"")
    assert bjensen["id"] in error_of(scim("GET", path), 404)
    assert scim("POST", "/Users", BJENSEN).status_code == 201


def bulk(scim: ScimClient, *operations: Any, **more: Any) -> Any:
    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": list(operations), **more})
    assert answer.status_code == 200
    return answer.json["Operations"]


def test_3_7_1_circular_references(scim: ScimClient) -> None:
    def group(name: str, bulk_id: str, other: str) -> dict[str, Any]:
        member = {"type": "Group", "value": f"bulkId:{other}"}
        data = {"schemas": [GROUP], "displayName": name, "members": [member]}
        return {"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data}

    results = bulk(scim, group("Group A", "qwerty", "ytrewq"), group("Group B", "ytrewq", "qwerty"))

    assert [result["status"] for result in results] == ["201", "201"]
    a, b = (scim("GET", result["location"]).json for result in results)
    assert (a["members"][0]["value"], b["members"][0]["value"]) == (b["id"], a["id"])
    assert (a["members"][0]["type"], a["members"][0]["$ref"]) == ("Group", b["meta"]["location"])


def test_3_7_2_a_user_and_a_group_with_the_user_in_it(scim: ScimClient) -> None:
    alice = {"schemas": [USER], "userName": "Alice"}
    tour = {
        "schemas": [GROUP],
        "displayName": "Tour Guides",
        "members": [{"type": "User", "value": "bulkId:qwerty"}],
    }

    results = bulk(
        scim,
        {"method": "POST", "path": "/Users", "bulkId": "qwerty", "data": alice},
        {"method": "POST", "path": "/Groups", "bulkId": "ytrewq", "data": tour},
    )

    assert [(result["bulkId"], result["status"]) for result in results] == [
        ("qwerty", "201"),
        ("ytrewq", "201"),
    ]
    assert scim("GET", results[1]["location"]).json["members"][0]["display"] == "Alice"


def test_3_7_3_all_methods_and_a_stale_version(scim: ScimClient) -> None:
    bob, dave, carol, old = scim.user("Bob"), scim.user("Dave"), scim.user("Carol"), scim.user("Old")
    change = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "userName", "value": "Dave2"}]}

    results = bulk(
        scim,
        {"method": "POST", "path": "/Users", "bulkId": "qwerty", "data": {"userName": "Alice"}},
        {
            "method": "PUT",
            "path": f"/Users/{bob['id']}",
            "version": bob["meta"]["version"],
            "data": {"schemas": [USER], "userName": "Bobby"},
        },
        {
            "method": "PATCH",
            "path": f"/Users/{dave['id']}",
            "version": dave["meta"]["version"],
            "data": change,
        },
        {"method": "DELETE", "path": f"/Users/{carol['id']}", "version": carol["meta"]["version"]},
        {"method": "DELETE", "path": f"/Users/{old['id']}", "version": 'W/"99"'},
        {"method": "POST", "path": "/Users", "bulkId": "again", "data": {"userName": "alice"}},
        failOnErrors=10,
    )

    assert [result["status"] for result in results] == ["201", "200", "200", "204", "412", "409"]
    assert results[5]["response"]["scimType"] == "uniqueness"
    assert all(result["version"] for result in results[:3])


def test_3_7_3_an_operation_without_a_body_of_the_right_form(scim: ScimClient) -> None:
    (result,) = bulk(scim, {"method": "POST", "path": "/Users", "bulkId": "qwerty"}, failOnErrors=1)

    assert (result["method"], result["bulkId"], result["status"]) == ("POST", "qwerty", "400")
    assert result["response"]["scimType"] == "invalidSyntax" and "location" not in result


def test_3_7_4_too_much_at_once(scim: ScimClient) -> None:
    body = {"schemas": [BULK], "Operations": [{"method": "POST", "data": "x" * 1048576}]}

    assert "1048576" in error_of(scim("POST", "/Bulk", body), 413, "tooLarge")


def test_3_9_attributes(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    body = scim("GET", f"/Users/{bjensen['id']}?attributes=userName").json

    assert body == {"schemas": [USER], "id": bjensen["id"], "userName": "bjensen"}


def test_3_10_attribute_notation(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    names = f"{USER}:name.formatted,{USER}:userName"

    body = scim("GET", f"/Users/{bjensen['id']}?attributes={names}").json

    assert body["name"] == {"formatted": "Ms. Barbara J Jensen III"} and body["userName"] == "bjensen"


def test_3_11_me(scim: ScimClient) -> None:
    error_of(scim("GET", "/Me"), 501)


def test_3_12_errors(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    body = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "id", "value": "x"}]}

    assert "id" in error_of(scim("PATCH", f"/Users/{bjensen['id']}", body), 400, "mutability")
    error_of(scim("GET", "/Users/2819c223-7f76-453a-919d-413861904646"), 404)


def test_3_14_versioning(scim: ScimClient, bjensen: dict[str, Any]) -> None:
    path, version = f"/Users/{bjensen['id']}", bjensen["meta"]["version"]

    assert version.startswith('W/"')
    assert scim("GET", path, headers={"If-None-Match": version}).status_code == 304
    changed = scim("PUT", path, {**BJENSEN, "title": "x"}, headers={"If-Match": version})
    assert changed.status_code == 200
    error_of(scim("PUT", path, BJENSEN, headers={"If-Match": version}), 412)
    assert scim("GET", path, headers={"If-None-Match": version}).status_code == 200
