"""Clients with tokens that are --own-only: each is alone on the base, as far as it can tell."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.conftest import GROUP, USER, ScimClient, error_of
from tests.events import BULK, PATCH_OP, POLL
from tests.tokens import Client

# The backends that keep owners.
pytestmark = pytest.mark.on("sqlite", "postgresql", "mariadb", "files", "mongodb")

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
BOTH = "scim.read scim.write"
Make = Callable[..., ScimClient]


class Service(Client):
    """A service that provisions its own users and groups."""

    def __init__(self, scim: ScimClient, name: str) -> None:
        super().__init__(scim, name, BOTH, own_only=True)

    def user(self, name: str, **attributes: Any) -> dict[str, Any]:
        answer = self("POST", "/Users", {"schemas": [USER], "userName": name, **attributes})
        assert answer.status_code == 201, answer.text
        return dict(answer.json)

    def group(self, name: str, *member_ids: str, **attributes: Any) -> dict[str, Any]:
        members = [{"value": member_id} for member_id in member_ids]
        body = {"schemas": [GROUP], "displayName": name, "members": members, **attributes}
        answer = self("POST", "/Groups", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json)

    def found(self, path: str, **query: str) -> list[str]:
        """Return the names of the resources in a list, whose total must be their number."""
        answer = self("GET", path, query_string=query).json
        names = [one.get("userName") or one["displayName"] for one in answer["Resources"]]
        assert answer["totalResults"] == len(names)
        return names


@pytest.fixture
def scim(make_scim: Make) -> ScimClient:
    """A server with a state database for the tokens, whatever the backend."""
    return make_scim(CHANGE_LOG="on")


@pytest.fixture
def services(scim: ScimClient) -> tuple[Service, Service]:
    return Service(scim, "one"), Service(scim, "two")


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": list(operations)}


def test_a_service_reads_what_it_created(services: tuple[Service, Service], scim: ScimClient) -> None:
    one, two = services
    ann, bob = one.user("ann", externalId="7"), two.user("bob", externalId="8")
    nobody = scim.user("zoe", externalId="9")
    one.group("team", ann["id"])
    two.group("team", bob["id"])

    assert one.found("/Users") == ["ann"] and two.found("/Users") == ["bob"]
    assert one.found("/Groups") == ["team"]
    assert one.found("/Users", filter='externalId eq "8"') == []
    assert one.found("/Users", filter='userName sw "z"') == []
    assert one.found("/Users", sortBy="userName", sortOrder="descending") == ["ann"]
    assert one.found("/Users", filter='not (userName eq "x")', sortBy="userName") == ["ann"]
    assert one.found("/Users", filter='title eq "x" or userName pr') == ["ann"]
    for path in ("/.search", "/Users/.search"):
        answer = one("POST", path, {"schemas": [SEARCH]}).json
        assert answer["totalResults"] == (2 if path == "/.search" else 1)
    assert one("GET", "/Users?count=0").json["totalResults"] == 1
    assert one("GET", f"/Users/{ann['id']}").json == {
        **ann,
        "groups": one("GET", f"/Users/{ann['id']}").json["groups"],
    }
    for resource_id in (bob["id"], nobody["id"], "none"):
        detail, absent = (error_of(one("GET", f"/Users/{i}"), 404) for i in (resource_id, "absent"))
        assert detail.replace(resource_id, "") == absent.replace("absent", "")
    everything = scim("GET", "/Users").json
    assert everything["totalResults"] == 3
    assert all("owner" not in str(sorted(resource)) for resource in everything["Resources"])


def test_a_service_changes_nothing_of_others(services: tuple[Service, Service], scim: ScimClient) -> None:
    one, two = services
    bob = two.user("bob")
    path = f"/Users/{bob['id']}"
    put = {"schemas": [USER], "userName": "bob", "title": "x"}
    operations = [
        {"method": "DELETE", "path": path},
        {"method": "PUT", "path": path, "data": put},
        {"method": "PATCH", "path": path, "data": patch({"op": "add", "path": "title", "value": "x"})},
    ]

    error_of(one("PUT", path, put), 404)
    error_of(one("PUT", path, put, {"If-Match": bob["meta"]["version"]}), 404)
    error_of(one("PATCH", path, patch({"op": "add", "path": "title", "value": "x"})), 404)
    error_of(one("DELETE", path), 404)
    bulk = one("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}).json
    assert [operation["status"] for operation in bulk["Operations"]] == ["404"] * 3
    assert scim("GET", path).json == bob
    assert two("PUT", path, put).json["title"] == "x"
    assert two.found("/Users") == ["bob"]
    assert two("DELETE", path).status_code == 204


def test_a_sweep_deletes_nothing_of_the_other_service(services: tuple[Service, Service]) -> None:
    """SRAM deletes every resource whose externalId it does not know."""
    one, two = services
    for service in services:
        ann = service.user(f"ann of {service.name}", externalId="ann@sram")
        service.group("co", ann["id"], externalId="co@sram")
    old = one.user("old", externalId="old@sram")

    for endpoint, known in (("/Groups", {"co@sram"}), ("/Users", {"ann@sram"})):
        for resource in one("GET", endpoint).json["Resources"]:
            if resource["externalId"] not in known:
                assert one("DELETE", resource["meta"]["location"]).status_code == 204

    error_of(one("GET", f"/Users/{old['id']}"), 404)
    assert one.found("/Users") == ["ann of one"] and two.found("/Users") == ["ann of two"]
    assert one.found("/Groups") == two.found("/Groups") == ["co"]


def test_an_external_id_belongs_to_its_owner_and_a_user_name_to_all(
    services: tuple[Service, Service],
) -> None:
    one, two = services
    ann = one.user("ann", externalId="7")

    two.user("bob", externalId="7")
    again = {"schemas": [USER], "userName": "x", "externalId": "7"}
    error_of(one("POST", "/Users", again), 409, "uniqueness")
    answer = two("POST", "/Users", {"schemas": [USER], "userName": "ANN"})
    detail = error_of(answer, 409, "uniqueness")
    # The name is taken, and no more than that.
    assert ann["id"] not in detail and "one" not in detail
    bob = two("GET", "/Users").json["Resources"][0]
    path = f"/Users/{bob['id']}"
    error_of(two("PUT", path, {"schemas": [USER], "userName": "ann"}), 409, "uniqueness")
    change = patch({"op": "replace", "path": "externalId", "value": "8"})
    assert two("PATCH", path, change).json["externalId"] == "8"
    assert two.user("cid", externalId="7")["externalId"] == "7"


def test_members_of_others_are_neither_shown_nor_taken(
    services: tuple[Service, Service], scim: ScimClient
) -> None:
    one, two = services
    ann, bob = one.user("ann")["id"], two.user("bob")["id"]
    mixed = scim.group("mixed", ann, bob)["id"]
    team = one.group("team", ann)["id"]
    member = {"schemas": [GROUP], "displayName": "x", "members": [{"value": bob}]}

    assert bob in error_of(one("POST", "/Groups", member), 400, "invalidValue")
    add = patch({"op": "add", "path": "members", "value": [{"value": bob}]})
    error_of(one("PATCH", f"/Groups/{team}", add), 400, "invalidValue")
    error_of(one("GET", f"/Groups/{mixed}"), 404)
    assert [group["value"] for group in one("GET", f"/Users/{ann}").json["groups"]] == [team]
    assert one.found("/Groups", filter=f'members.value eq "{ann}"') == ["team"]
    assert one.found("/Groups", filter=f'members.value eq "{bob}"') == []
    assert one.found("/Users", filter=f'groups.value eq "{mixed}"') == []
    assert one.found("/Users", filter=f'groups.value eq "{team}"') == ["ann"]


def test_a_removed_member_leaves_groups_of_others(make_scim: Make) -> None:
    scim = make_scim(CHANGE_LOG="on", **POLL)
    one = Service(scim, "one")
    ann = one.user("ann")["id"]
    mixed = scim.group("mixed", ann)["id"]

    assert one("DELETE", f"/Users/{ann}").status_code == 204

    assert "members" not in scim("GET", f"/Groups/{mixed}").json
    delivery = scim.app.extensions["scim.delivery"]
    delivery.dispatcher.run(lambda: True)
    rows = delivery.database.rows("SELECT resource_id, origin, principal FROM scim_change ORDER BY seq")
    assert (mixed, "system", one.id) in {tuple(row) for row in rows}
    assert (ann, "rest", one.id) in {tuple(row) for row in rows}


def test_an_asynchronous_request_sees_as_much(make_scim: Make) -> None:
    scim = make_scim(CHANGE_LOG="on", ASYNC_REQUEST="request", **POLL)
    one, two = Service(scim, "one"), Service(scim, "two")
    bob = two.user("bob")["id"]

    sent = {"Prefer": "respond-async"}
    foreign = one("DELETE", f"/Users/{bob}", headers=sent).headers["Location"]
    own = one("POST", "/Users", {"schemas": [USER], "userName": "ann"}, sent).headers["Location"]
    scim.work()

    assert one("GET", foreign).json["status"] == "404"
    assert one("GET", own).json["status"] == "201"
    assert one.found("/Users") == ["ann"] and two.found("/Users") == ["bob"]


# -- the commands


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, backend: Callable[[set[str]], dict[str, str]]
) -> Callable[..., Result]:
    for name, value in {**backend(set()), "CHANGE_LOG": "on", "LOGLEVEL": "ERROR", "API_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(main, words)


def test_resources_are_listed_by_owner_and_handed_over(
    services: tuple[Service, Service], scim: ScimClient, run: Callable[..., Result]
) -> None:
    one, two = services
    ann, bob = one.user("ann", externalId="7"), two.user("bob", externalId="7")
    one.group("team", ann["id"])
    zoe = scim.user("zoe")

    listed = run("owner", "list")
    assert listed.exit_code == 0, listed.output
    rows = {tuple(line.split("\t")) for line in listed.output.splitlines()}
    assert rows == {("-", "User", "1"), (one.id, "User", "1"), (one.id, "Group", "1"), (two.id, "User", "1")}
    assert run("owner", "list", two.id).output == f"User/{bob['id']}\tbob\n"

    moved = run("owner", "hand-over", one.id, "--to", two.id)
    assert moved.exit_code == 1
    assert f"User/{ann['id']}: " in moved.output and "handed over 1, failed 1" in moved.output
    assert two.found("/Groups") == ["team"] and one.found("/Users") == ["ann"]

    given = run("owner", "hand-over", "-", "--to", one.id, "--resource", f"User/{zoe['id']}")
    assert given.output == "handed over 1, failed 0\n"
    assert sorted(one.found("/Users")) == ["ann", "zoe"]
    assert run("owner", "hand-over", two.id, "--to-nobody").exit_code == 0
    assert two.found("/Users") == two.found("/Groups") == []
    assert scim("GET", "/Users").json["totalResults"] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("hand-over", "x"),
        ("hand-over", "x", "--to", "y", "--to-nobody"),
        ("hand-over", "-", "--to", "y"),
        ("hand-over", "x", "--to", "y", "--resource", "User"),
        ("hand-over", "x", "--to", "y", "--resource", "User/absent"),
    ],
)
def test_what_is_wrong_is_refused(run: Callable[..., Result], words: tuple[str, ...]) -> None:
    assert run("owner", *words).exit_code == 2


def test_a_token_is_own_only_by_an_option(run: Callable[..., Result]) -> None:
    made = run("token", "create", "sram", "--own-only", "--json")
    assert made.exit_code == 0 and '"ownOnly":true' in made.output, made.output

    refused = run("token", "create", "other", "--own-only", "--scope", "scim.events")
    assert refused.exit_code == 1 and "scim.events is about all resources" in refused.output


@pytest.mark.on("ldap", "forward", "lines")
def test_a_storage_without_owners_refuses(run: Callable[..., Result]) -> None:
    refused = run("token", "create", "sram", "--own-only")
    assert refused.exit_code == 1 and "keeps no owners" in refused.output
    assert run("owner", "list").exit_code == 2


def test_hidden_members_cannot_be_removed_by_their_id(scim: ScimClient) -> None:
    one = Service(scim, "one")
    own, foreign = one.user("own")["id"], scim.user("foreign")["id"]
    group = one.group("team", own)
    path = f"/Groups/{group['id']}"
    add = {"op": "add", "path": "members", "value": [{"value": foreign}]}
    version = scim("PATCH", path, patch(add)).headers["ETag"]

    for operation in (
        {"op": "remove", "path": f'members[value eq "{foreign}"]'},
        {"op": "remove", "path": "members", "value": [{"value": foreign}]},
        {"op": "remove", "path": "members", "value": [{"$ref": f"../Users/{foreign}"}]},
        {"op": "remove", "path": 'members[value eq "absent"]'},
    ):
        answer = one("PATCH", path, patch(operation))
        # As for the id of no member: nothing tells whether there is such a member.
        assert (answer.status_code, answer.headers.get("ETag")) in ((200, version), (400, None))
    assert {member["value"] for member in scim("GET", path).json["members"]} == {own, foreign}
    remove = {"op": "remove", "path": f'members[value eq "{own}"]'}
    assert one("PATCH", path, patch(remove)).status_code == 200
    assert {member["value"] for member in scim("GET", path).json["members"]} == {foreign}


@pytest.mark.parametrize("to", ["-", "", "token nobody 12345678", "x" * 400])
def test_resources_are_handed_over_to_a_token_that_exists(
    services: tuple[Service, Service], run: Callable[..., Result], to: str
) -> None:
    one, _ = services
    one.user("ann")

    assert run("owner", "hand-over", one.id, "--to", to).exit_code == 2
    assert one.found("/Users") == ["ann"]
