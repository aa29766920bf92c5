"""Defects of HarryKodden/scim, the earlier product: each test proves that one does not exist here."""

import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.index.database import Database
from tests.conftest import ScimClient, error_of

SRAM = "urn:mace:surf.nl:sram:scim:extension:User"


def test_a_member_id_that_is_a_path_reveals_no_file(scim: ScimClient) -> None:
    user, group = scim.user("a"), scim.group("g")
    details = set()

    traversals = ("../../x/s.json", f"../Users/{user['id']}", f"../Groups/{group['id']}", "/etc/passwd")
    for member_id in traversals:
        answer = scim("POST", "/Groups", {"displayName": "h", "members": [{"value": member_id}]})
        details.add(error_of(answer, 400, "invalidValue").replace(member_id, ""))

    # The answer does not tell what exists beyond the resources.
    assert len(details) == 1


@pytest.mark.sqlite
def test_a_mapped_id_cannot_be_a_path(make_scim: Callable[..., ScimClient], tmp_path: Path) -> None:
    scim = make_scim(USER_MAPPING='{"id": "userName"}')

    for name in ("../../pwned", "../Groups/x", "a/../b"):
        error_of(scim("POST", "/Users", {"userName": name}), 400, "invalidValue")

    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    assert scim("GET", "/Groups").json["totalResults"] == 0


@pytest.mark.sqlite
def test_broken_documents_are_refused_and_foreign_rows_do_no_harm(scim: ScimClient, tmp_path: Path) -> None:
    user = scim.user("a")
    database = sqlite3.connect(tmp_path / "data" / "scim.db")

    for broken in ("", "not json", "[]", '{"userName": '):
        with pytest.raises(sqlite3.IntegrityError):
            database.execute('UPDATE "Users" SET details = ?', (broken,))
    database.execute('INSERT INTO "Users" (id, details) VALUES (?, ?)', ("lost+found", "{}"))
    database.commit()
    database.close()

    assert scim("GET", "/Users").json["Resources"] == [user]
    scim.user("b")


@pytest.mark.sqlite
def test_a_failing_storage_is_503_and_not_404(scim: ScimClient, tmp_path: Path) -> None:
    path = scim.user("a")["meta"]["location"]
    with sqlite3.connect(tmp_path / "data" / "scim.db") as database:
        database.execute("DROP TABLE scim_resource")

    for method in ("GET", "DELETE"):
        error_of(scim(method, path), 503)
    error_of(scim("GET", "/health/ready"), 503)


@pytest.mark.sqlite
def test_no_statement_scans_a_whole_table(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [scim.user(f"u{number}", emails=[{"value": f"{number}@x"}])["id"] for number in range(3)]
    group = scim.group("g", *users)
    plans: list[tuple[str, str]] = []
    run, here = Database._execute, threading.get_ident()

    def explained(database: Database, statement: str, params: Any) -> Any:
        # Other threads look for work in the databases of tests that are over.
        is_explained = statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
        if is_explained and threading.get_ident() == here:
            steps = run(database, f"EXPLAIN QUERY PLAN {statement}", params).fetchall()
            plans.extend((statement, step[-1]) for step in steps)
        return run(database, statement, params)

    monkeypatch.setattr(Database, "_execute", explained)
    scim.user("new", externalId="x", emails=[{"value": "n@x"}])
    scim("PUT", f"/Users/{users[0]}", {"userName": "other"})
    for op in ("remove", "add"):
        operation = {"op": op, "path": "members", "value": [{"value": users[0]}]}
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
        assert scim("PATCH", group["meta"]["location"], body).status_code == 200
    for text in ('userName eq "u1"', 'emails.value eq "1@x"', 'emails[value eq "1@x"]'):
        assert scim.names(text)
    assert scim.names(f'groups.value eq "{group["id"]}"')
    scim("DELETE", f"/Users/{users[1]}")

    # Tables go by these names or their own; only the few rows found before may be walked through,
    # and the one row of `scim_generation`.
    table = re.compile(r"SCAN (scim_(?!generation)\w+|Users|Groups|[adehmorsx])\b")
    assert [plan for plan in plans if table.match(plan[1])] == []
    assert len(plans) > 50


@pytest.mark.parametrize(
    "name", ['o"brien', 'x" or userName pr or userName eq "y', "a\\", "100%", "*", ")(uid=*"]
)
def test_names_are_values_and_never_part_of_a_query(scim: ScimClient, name: str) -> None:
    scim.user("somebody")
    user = scim.user(name, externalId=name)

    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    assert scim.names(f'userName eq "{quoted}" and externalId eq "{quoted}"') == [name]
    assert scim("PUT", user["meta"]["location"], {"userName": name}).status_code == 200


def test_uniqueness_holds_for_post_put_and_patch(scim: ScimClient) -> None:
    scim.user("alice")
    other = scim.user("bob")
    patch = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "userName", "value": "Alice"}],
    }

    error_of(scim("POST", "/Users", {"userName": "ALICE"}), 409, "uniqueness")
    error_of(scim("PUT", other["meta"]["location"], {"userName": "Alice"}), 409, "uniqueness")
    error_of(scim("PATCH", other["meta"]["location"], patch), 409, "uniqueness")
    error_of(scim("PUT", other["meta"]["location"], {"title": "x"}), 400, "invalidValue")
    assert scim("GET", other["meta"]["location"]).json == other


def test_core_attributes_are_stored_and_active_may_be_absent(scim: ScimClient) -> None:
    body = {
        "title": "Tour Guide",
        "nickName": "Babs",
        "phoneNumbers": [{"value": "555"}],
        "roles": [{"value": "admin"}],
        "name": {"formatted": "B J"},
        "emails": [{"value": "b@x", "primary": True}],
    }

    user = scim.user("a", **body)

    assert {name: user[name] for name in body} == body and "active" not in user


def patched(scim: ScimClient, resource: dict[str, Any], *operations: dict[str, Any]) -> Any:
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": list(operations)}
    answer = scim("PATCH", resource["meta"]["location"], body)
    assert answer.status_code == 200, answer.text
    return scim("GET", resource["meta"]["location"]).json


def test_a_patch_answered_with_200_is_stored(scim: ScimClient) -> None:
    user = scim.user("a", emails=[{"value": "a@x", "type": "work"}])

    changed = patched(
        scim,
        user,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "b@x"},
        {"op": "Replace", "path": f"{SRAM}:eduPersonUniqueId", "value": "u@x"},
        {"op": "Replace", "path": "DISPLAYNAME", "value": "D"},
    )

    assert changed["emails"] == [{"value": "b@x", "type": "work"}]
    assert changed[SRAM] == {"eduPersonUniqueId": "u@x"} and changed["displayName"] == "D"
    assert patched(scim, user, {"op": "replace", "path": "displayName", "value": "D"}) == changed


def test_values_that_share_a_sub_attribute_are_not_lost(scim: ScimClient) -> None:
    first, second, group = scim.user("a"), scim.user("b"), scim.group("g")
    members = [{"value": user["id"], "type": "User"} for user in (first, second)]
    emails = [{"value": value, "type": "work"} for value in ("1@x", "2@x")]

    for member in members:
        group = patched(scim, group, {"op": "add", "path": "members", "value": [member]})
    for email in emails:
        first = patched(scim, first, {"op": "add", "path": "emails", "value": [email]})

    assert [member["value"] for member in group["members"]] == [m["value"] for m in members]
    assert first["emails"] == emails


def test_bulk_resolves_references_and_survives_bad_operations(scim: ScimClient) -> None:
    group = {"displayName": "g", "members": [{"value": "bulkId:u"}]}
    operations: list[dict[str, Any]] = [
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group},
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": 'q"q'}},
        {"method": "POST", "path": "/Users", "bulkId": "x", "data": [1]},
    ]
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations}

    answer = scim("POST", "/Bulk", body)

    assert [operation["status"] for operation in answer.json["Operations"]] == ["201", "201", "400"]
    body["Operations"] = [{**operations[1], "data": {"userName": "x" * 2**20}}]
    error_of(scim("POST", "/Bulk", body), 413, "tooLarge")


def test_projection_etags_search_by_post_and_nested_groups_work(scim: ScimClient) -> None:
    user = scim.user("a", title="t")
    group = scim.group("g", user["id"])
    scim.group("outer", group["id"])
    path, version = user["meta"]["location"], user["meta"]["version"]

    assert set(scim("GET", f"{path}?attributes=title").json) == {"schemas", "id", "title"}
    assert "title" not in scim("GET", f"{path}?excludedAttributes=title").json
    assert scim("GET", path, headers={"If-None-Match": version}).status_code == 304
    assert scim("POST", "/.search", {"filter": "title pr", "sortBy": "title"}).json["totalResults"] == 1
    assert [one["display"] for one in scim("GET", path).json["groups"]] == ["g", "outer"]
    error_of(scim("GET", "/Me"), 501)


def test_filters_mean_what_the_rfc_says(scim: ScimClient) -> None:
    emails = [{"value": "a@work", "type": "work"}, {"value": "a@home", "type": "home"}]
    scim.user('q"q', emails=emails)

    assert scim.names('emails[type eq "work" and value eq "a@home"]') == []
    for text in (
        'emails.value eq "A@HOME"',
        'emails co "work"',
        'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "q\\"q"',
        'USERNAME Eq "Q\\"Q"',
    ):
        assert scim.names(text) == ['q"q']
    for text in ("userName eq", "nope pr", "active gt true"):
        error_of(scim("GET", "/Users", query_string={"filter": text}), 400, "invalidFilter")


def test_an_empty_api_key_admits_nobody(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(API_KEY="")

    error_of(scim("GET", "/Users", headers={"Authorization": "Bearer "}), 401)


def test_extension_attributes_stay_in_their_extension(scim: ScimClient) -> None:
    user = scim.user(
        "a",
        name={"familyName": "J", "voPersonID": "x", "eduPersonUniqueId": "x"},
        emails=[{"value": "a@x", "voPersonID": "x"}],
        sramInactiveDays=3,
    )

    assert user["name"] == {"familyName": "J"} and user["emails"] == [{"value": "a@x"}]
    assert "sramInactiveDays" not in user and SRAM not in user


def test_pages_have_a_start_index_and_a_largest_size(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(PAGE_SIZE="2")
    names = [scim.user(name)["userName"] for name in "cab"]

    pages = [scim("GET", f"/Users?startIndex={start}&count=1000").json for start in (1, 3)]

    assert [page["startIndex"] for page in pages] == [1, 3]
    assert [user["userName"] for page in pages for user in page["Resources"]] == names


def test_deleting_is_conditional_and_happens_once(scim: ScimClient) -> None:
    user = scim.user("a")
    group = scim.group("g", user["id"])

    error_of(scim("DELETE", user["meta"]["location"], headers={"If-Match": 'W/"0"'}), 412)
    assert scim("DELETE", user["meta"]["location"]).status_code == 204
    error_of(scim("DELETE", user["meta"]["location"]), 404)
    stale = {"If-Match": group["meta"]["version"]}
    error_of(scim("PUT", group["meta"]["location"], {"displayName": "h"}, headers=stale), 412)


@pytest.mark.parametrize("base_path", ["", "/api/v2", "scim/"])
def test_locations_lead_to_the_resource(make_scim: Callable[..., ScimClient], base_path: str) -> None:
    scim = make_scim(BASE_PATH=base_path)
    prefix = "/" + base_path.strip("/") if base_path else ""

    answer = scim("POST", f"{prefix}/Users", {"userName": "a"})
    location = answer.headers["Location"]

    assert location == answer.json["meta"]["location"] == f"{prefix}/Users/{answer.json['id']}"
    # As a reference, appended to the base URL as SRAM does it, and behind a proxy that strips.
    for path in (location, prefix + location, location.removeprefix(prefix)):
        assert scim("GET", path).json == answer.json
    assert scim("GET", f"{prefix}/Schemas").json["Resources"][0]["meta"]["location"].startswith(prefix)
    assert scim("GET", prefix or "/").status_code == 200
    assert answer.json["meta"]["created"].endswith("Z") and "etag" not in answer.json["meta"]


def test_locations_may_be_absolute(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(BASE_PATH="/v2", BASE_URL="https://scim.example.com/", LOCATION_STYLE="absolute")

    user = scim("POST", "/v2/Users", {"userName": "a"}).json

    assert user["meta"]["location"] == f"https://scim.example.com/v2/Users/{user['id']}"


def test_every_error_is_a_scim_error(scim: ScimClient) -> None:
    error_of(scim("GET", "/Nope"), 404)
    assert "Allow" in scim("DELETE", "/Users").headers
    error_of(scim("DELETE", "/Users"), 405)
    unauthorized = scim("GET", "/Users", headers={"Authorization": ""})
    error_of(unauthorized, 401)
    assert unauthorized.headers["WWW-Authenticate"]
    error_of(scim("GET", "/Users/x"), 404)
    path = scim.user("a")["meta"]["location"]
    error_of(scim("PUT", path, {"userName": "a"}, headers={"If-Match": '"x"'}), 412)
    error_of(scim("POST", "/Users", {}), 400, "invalidValue")


def test_large_bodies_and_deep_nesting_are_refused(scim: ScimClient) -> None:
    error_of(scim("POST", "/Users", {"userName": "a", "displayName": "x" * 30_000_000}), 413, "tooLarge")
    nested = "(" * 2000 + "title pr" + ")" * 2000
    error_of(scim("GET", "/Users", query_string={"filter": nested}), 400, "invalidFilter")
    deep = '{"userName": "a", "x": ' + "[" * 5000 + "]" * 5000 + "}"
    error_of(scim("POST", "/Users", data=deep), 400, "invalidSyntax")
    assert scim("GET", "/Users").json["totalResults"] == 0
