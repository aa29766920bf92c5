"""Users and groups that another program made in a directory: hidden, read, or taken over."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.conftest import KEY, ScimClient, Server, error_of
from tests.foreign import NAMES, PLACES, Elsewhere
from tests.interop.sram.test_sram import Sram
from tests.interop.sram.test_sram import group as sram_group
from tests.interop.sram.test_sram import user as sram_user

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"

pytestmark = pytest.mark.on(*PLACES)
Make = Callable[..., ScimClient]


@pytest.fixture
def elsewhere(
    request: pytest.FixtureRequest, backend: Any, shared_databases: dict[str, str]
) -> Elsewhere:
    """What another program does in the store of the test, where it has made a user and a group."""
    name = request.node.callspec.params["backend"]
    place = PLACES[name](request.getfixturevalue(name), shared_databases[name])
    place.plant()
    return place


def ids(make_scim: Make) -> tuple[str, str]:
    """Return the ids of the user and of the group that another program made."""
    scim = make_scim(FOREIGN_ENTRIES="read")
    user = scim("GET", "/Users", query_string={"filter": f'userName eq "{NAMES[0]}"'}).json
    group = scim("GET", "/Groups", query_string={"filter": f'displayName eq "{NAMES[1]}"'}).json
    return user["Resources"][0]["id"], group["Resources"][0]["id"]


def paths(user_id: str, group_id: str) -> dict[str, dict[str, str]]:
    """Return the path of a user and of a group, each with another name."""
    return {f"/Users/{user_id}": {"userName": "x"}, f"/Groups/{group_id}": {"displayName": "x"}}


def patch(scim: ScimClient, resource: str, /, **operation: Any) -> Any:
    return scim("PATCH", resource, {"schemas": [PATCH_OP], "Operations": [operation]})


def changes(scim: ScimClient, path: str, name: dict[str, str]) -> dict[str, Any]:
    """Return the answer to every way to change a resource."""
    bulk = {
        "schemas": [BULK],
        "Operations": [
            {"method": "DELETE", "path": path},
            {"method": "PUT", "path": path, "data": {**name, "externalId": "x"}},
        ],
    }
    answers = {
        "PUT": scim("PUT", path, {**name, "externalId": "x"}),
        "PATCH": patch(scim, path, op="add", path="externalId", value="x"),
        "DELETE": scim("DELETE", path),
        "If-Match": scim("DELETE", path, headers={"If-Match": "*"}),
    }
    done = scim("POST", "/Bulk", bulk).json["Operations"]
    return {**{method: answer.json for method, answer in answers.items()}, "Bulk": done[0]["response"]} | {
        "Bulk PUT": done[1]["response"]
    }


# -- hidden


def test_a_hidden_entry_is_found_nowhere_and_not_changed(make_scim: Make, elsewhere: Elsewhere) -> None:
    user_id, group_id = ids(make_scim)
    scim = make_scim()
    own = [scim.user(f"u{number}", title="t") for number in range(5)]
    group = scim.group("own", own[0]["id"])
    elsewhere.join("wheel", "u0")
    elsewhere.join("own", NAMES[0])

    everyone = [f"u{number}" for number in range(5)]
    for text in ("id pr", 'userName co "u"', "not (title eq null)", 'meta.created gt "1999-01-01T00:00:00Z"'):
        assert scim.names(text) == everyone
    for text in ('userName eq "localadmin"', f'id eq "{user_id}"', f'groups.value eq "{group_id}"'):
        assert scim.names(text) == []
    for text in ('displayName eq "wheel"', f'id eq "{group_id}"', f'members.value eq "{user_id}"'):
        assert scim.names(text, "/Groups", "displayName") == []
    assert scim.names("id pr", "/Groups", "displayName") == ["own"]
    assert scim("GET", "/Users?count=0").json["totalResults"] == 5
    assert scim("GET", "/?count=0").json["totalResults"] == 6
    for query in ("", "&sortBy=userName", "&sortBy=userName&sortOrder=descending"):
        assert walked(scim, query) == sorted(everyone, reverse="desc" in query)

    assert [m["value"] for m in scim("GET", f"/Groups/{group['id']}").json["members"]] == [own[0]["id"]]
    assert [g["display"] for g in scim("GET", f"/Users/{own[0]['id']}").json["groups"]] == ["own"]
    for path, name in paths(user_id, group_id).items():
        error_of(scim("GET", path), 404)
        answers = changes(scim, path, name)
        assert {method: one["status"] for method, one in answers.items()} == dict.fromkeys(answers, "404")
    assert elsewhere.names() == {*NAMES, *everyone, "own"}


def walked(scim: ScimClient, query: str) -> list[str]:
    """Return the names of all users, two on a page, by cursor."""
    found, cursor = [], ""
    while cursor is not None:
        page = scim("GET", f"/Users?count=2&cursor={cursor}{query}").json
        assert page["totalResults"] == 5
        found += [user["userName"] for user in page["Resources"]]
        cursor = page.get("nextCursor")
    return found


def test_nobody_gets_the_name_of_a_hidden_entry(make_scim: Make, elsewhere: Elsewhere) -> None:
    scim = make_scim()
    user, group = scim.user("own"), scim.group("other")

    for name in ("localadmin", "LocalAdmin"):
        detail = error_of(scim("POST", "/Users", {"userName": name}), 409, "uniqueness")
        assert "userName" in detail
    body = {"schemas": [GROUP], "displayName": "wheel"}
    assert "displayName" in error_of(scim("POST", "/Groups", body), 409, "uniqueness")
    error_of(scim("PUT", f"/Users/{user['id']}", {"userName": "localadmin"}), 409, "uniqueness")
    error_of(scim("PUT", f"/Groups/{group['id']}", body), 409, "uniqueness")
    assert scim.names("id pr") == ["own"]
    assert scim.names("id pr", "/Groups", "displayName") == ["other"]
    assert elsewhere.names() == {*NAMES, "own", "other"}


def test_a_hidden_user_neither_joins_nor_leaves_a_group(make_scim: Make, elsewhere: Elsewhere) -> None:
    user_id, _ = ids(make_scim)
    scim = make_scim(SET_POLL_ENABLED="true")
    own = scim.user("own")
    group = scim.group("staff", own["id"])
    path = f"/Groups/{group['id']}"

    for body in ({"displayName": "x"}, {"displayName": "staff"}):
        answer = scim("POST", "/Groups", {"schemas": [GROUP], **body, "members": [{"value": user_id}]})
        assert user_id in error_of(answer, 400, "invalidValue")
    error_of(patch(scim, path, op="add", path="members", value=[{"value": user_id}]), 400, "invalidValue")
    assert elsewhere.members("staff") == {"own"}

    elsewhere.join("staff", NAMES[0])
    before = scim("GET", path).json["meta"]["version"]
    removed = patch(scim, path, op="remove", path=f'members[value eq "{user_id}"]')
    assert removed.status_code == 200 and removed.json["meta"]["version"] == before
    assert elsewhere.members("staff") == {"own", NAMES[0]}
    body = {"schemas": [GROUP], "displayName": "staff", "members": []}
    assert "members" not in scim("PUT", path, body).json
    assert elsewhere.members("staff") == {NAMES[0]}


def test_a_deleted_user_leaves_a_hidden_group(make_scim: Make, elsewhere: Elsewhere) -> None:
    scim = make_scim()
    user = scim.user("own")
    elsewhere.join("wheel", "own")

    assert scim("DELETE", f"/Users/{user['id']}").status_code == 204
    assert elsewhere.members("wheel") == {NAMES[0]}


@pytest.mark.parametrize("treatment", ["hidden", "read", "managed"])
def test_a_sweep_of_sram(serve: Callable[..., Server], elsewhere: Elsewhere, treatment: str) -> None:
    server = serve(LOGLEVEL="ERROR", FOREIGN_ENTRIES=treatment)
    sram = Sram(server.url)
    people = [sram.provision("/Users", sram_user(number)) for number in range(2)]
    sram.provision("/Groups", sram_group("co", *people))
    stale = sram.provision("/Groups", sram_group("gone", people[0]))

    known = {"user-0@sram.surf.nl", "user-1@sram.surf.nl", "co@sram.surf.nl"}
    deleted = {}
    for endpoint in ("/Groups", "/Users"):
        for found in sram.sweep(endpoint):
            if found.get("externalId") not in known:
                deleted[found["id"]] = server("DELETE", found["meta"]["location"]).status_code

    assert deleted.pop(stale["id"]) == 204
    assert set(deleted.values()) == {"hidden": set(), "read": {403}, "managed": {204}}[treatment]
    left = {"harry0", "harry1", "co"}
    assert elsewhere.names() == (left if treatment == "managed" else left | {*NAMES})
    if treatment != "managed":
        assert elsewhere.members("wheel") == {NAMES[0]}


# -- read


def test_an_entry_that_is_read_cannot_be_changed(make_scim: Make, elsewhere: Elsewhere) -> None:
    scim = make_scim(FOREIGN_ENTRIES="read")
    own = scim.user("own")
    user_id, group_id = ids(make_scim)

    assert sorted(scim.names("id pr")) == [NAMES[0], "own"]
    group = scim("GET", f"/Groups/{group_id}").json
    assert [member["value"] for member in group["members"]] == [user_id]
    for path, name in paths(user_id, group_id).items():
        answers = changes(scim, path, name)
        assert {method: one["status"] for method, one in answers.items()} == dict.fromkeys(answers, "403")
        assert all("another program" in answer["detail"] for answer in answers.values())
    for operation in ("add", "remove"):
        value = {"path": "members", "value": [{"value": own["id"] if operation == "add" else user_id}]}
        error_of(patch(scim, f"/Groups/{group_id}", op=operation, **value), 403)
    error_of(scim("POST", "/Users", {"userName": NAMES[0]}), 409, "uniqueness")
    error_of(scim("POST", "/Groups", {"schemas": [GROUP], "displayName": NAMES[1]}), 409, "uniqueness")
    assert scim("GET", f"/Users/{user_id}").headers["ETag"]
    assert elsewhere.names() == {*NAMES, "own"} and elsewhere.members("wheel") == {NAMES[0]}


def test_a_user_that_is_read_can_be_a_member(make_scim: Make, elsewhere: Elsewhere) -> None:
    scim = make_scim(FOREIGN_ENTRIES="read")
    user_id, _ = ids(make_scim)
    own = scim.user("own")
    elsewhere.join("wheel", "own")

    group = scim.group("staff", user_id, own["id"])
    assert elsewhere.members("staff") == {NAMES[0], "own"}
    assert {g["display"] for g in scim("GET", f"/Users/{user_id}").json["groups"]} == {"wheel", "staff"}
    assert scim("DELETE", f"/Users/{own['id']}").status_code == 204
    assert elsewhere.members("wheel") == {NAMES[0]}
    path = f"/Groups/{group['id']}"
    assert patch(scim, path, op="remove", path=f'members[value eq "{user_id}"]').status_code == 200
    assert elsewhere.members("staff") == set()
    error_of(scim("DELETE", f"/Users/{user_id}"), 403)


# -- taking over


@pytest.fixture
def run(
    backend: Callable[[set[str]], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run `scim adopt` on the store of the test."""
    for name, value in {"API_KEY": KEY, "LOGLEVEL": "ERROR", "CHANGE_LOG": "on", **backend(set())}.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(main, ["adopt", *words])


def test_what_is_taken_over_is_a_resource_from_then_on(
    make_scim: Make, elsewhere: Elsewhere, run: Callable[..., Result]
) -> None:
    user_id, group_id = ids(make_scim)
    scim = make_scim(CHANGE_LOG="on")
    own = scim.user("own")
    elsewhere.join("wheel", "own")

    tried = run("id pr", "--dry-run")
    assert tried.exit_code == 0
    assert tried.output.splitlines() == [f"User/{user_id}\tlocaladmin", f"Group/{group_id}\twheel", "found 2"]
    assert scim.names("id pr") == ["own"]

    done = run('displayName eq "WHEEL"', "--json", "--resource-type", "Group")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"resourceType": "Group", "id": group_id, "name": "wheel"}
    group = scim("GET", f"/Groups/{group_id}").json
    assert [member["value"] for member in group["members"]] == [own["id"]]
    assert scim.names("id pr") == ["own"]
    assert run('members.display eq "nobody"').exit_code == 0

    assert "adopted 1, failed 0" in run('userName eq "localadmin"').output
    assert "adopted 0, failed 0" in run("id pr").output
    scim.work()
    logged = scim.app.extensions["scim.delivery"].log.newest(2)
    rows = [(row.entry.kind, row.entry.resource_id, row.entry.origin, row.entry.paths) for row in logged]
    assert rows == [("adopt", user_id, "system", "[]"), ("adopt", group_id, "system", "[]")]
    group = scim("GET", f"/Groups/{group_id}").json
    assert {member["value"] for member in group["members"]} == {own["id"], user_id}
    changed = scim("PUT", f"/Users/{user_id}", {"userName": "localadmin", "externalId": "x"})
    assert changed.status_code == 200 and elsewhere.names() == {*NAMES, "own"}
    assert scim("DELETE", f"/Groups/{group_id}").status_code == 204
    assert elsewhere.names() == {NAMES[0], "own"}


def test_what_was_changed_while_it_was_managed_stays(make_scim: Make, elsewhere: Elsewhere) -> None:
    user_id, group_id = ids(make_scim)
    before = make_scim(FOREIGN_ENTRIES="managed")
    assert patch(before, f"/Users/{user_id}", op="add", path="title", value="t").status_code == 200
    members = {"op": "remove", "path": "members"}
    assert patch(before, f"/Groups/{group_id}", **members).status_code == 200

    scim = make_scim()
    assert scim.names("id pr") == [NAMES[0]] and scim.names("id pr", "/Groups", "displayName") == [NAMES[1]]


def test_a_wrong_command_says_so(run: Callable[..., Result]) -> None:
    assert run("userName is x").exit_code == 2
    assert run("nobody eq 1").exit_code == 2
    assert run("id pr", "--resource-type", "Device").exit_code == 2
    assert run().exit_code == 2


def test_the_start_counts_what_is_hidden(
    make_scim: Make, elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    make_scim(LOGLEVEL="WARNING")
    counts = "? User, ? Group" if "jumpcloud" in request.node.name else "1 User, 1 Group"
    assert f"entries of other programs are hidden (FOREIGN_ENTRIES): {counts}" in caplog.text
    caplog.clear()
    make_scim(LOGLEVEL="WARNING", FOREIGN_ENTRIES="read")
    assert "FOREIGN_ENTRIES" not in caplog.text
