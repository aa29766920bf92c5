"""The storage contract over an upstream service provider, and what is special about one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from app import create_app
from app.configuration.settings import Settings
from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection, Sort, StorageAdapter
from storage.errors import StorageUnavailable
from storage.search import position_of, search
from storage.testing import (
    GROUP,
    REGISTRY,
    USER,
    StorageContract,
    among,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    represent,
    stored,
)
from storage.testing.own_ids import OwnIds
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient
from tests.upstream import UPSTREAM_KEY, Upstream, UpstreamServer


@pytest.fixture(scope="module")
def upstream(forward: UpstreamServer) -> Upstream:
    return forward.running[forward.new_database()]


@pytest.fixture
def adapter(upstream: Upstream) -> Iterator[StorageAdapter]:
    upstream.empty()
    adapter = OwnIds(open_backend("forward", forward_scim_url=upstream.url, forward_scim_key=UPSTREAM_KEY))
    adapter.prepare(REGISTRY.resource_types)
    yield adapter
    adapter.close()


class TestForward(StorageContract):
    @pytest.fixture
    def adapter(self, adapter: StorageAdapter) -> StorageAdapter:
        return adapter


# -- how much is asked of the upstream


@pytest.fixture
def front(upstream: Upstream) -> Iterator[ScimClient]:
    """A service in front of the upstream, which it has got to know."""
    upstream.empty()
    environ = {"API_KEY": KEY, "FORWARD_SCIM_URL": upstream.url, "FORWARD_SCIM_KEY": UPSTREAM_KEY}
    app = create_app(Settings.from_env({**environ, "PAGE_SIZE": "1000", "LOGLEVEL": "ERROR"}))
    client = ScimClient(app.test_client())
    user = client.user("known")
    client.group("known", user["id"])
    client("GET", "/Users", query_string={"filter": 'userName eq "known"'})
    client("GET", "/Groups", query_string={"filter": 'members.value eq "known"'})
    upstream.requests.clear()
    yield client
    app.extensions["scim.storage"].close()


def _filled(upstream: Upstream, count: int) -> None:
    storage = upstream.app.extensions["scim.storage"]
    storage.create_many(USER, [stored(f"u{n}", userName=f"u{n}") for n in range(count)])


def test_a_list_of_1000_takes_a_request_per_page_of_the_upstream(
    upstream: Upstream, front: ScimClient
) -> None:
    _filled(upstream, 999)

    answer = front("GET", "/Users")

    assert len(answer.json["Resources"]) == answer.json["totalResults"] == 1000
    assert len(upstream.requests) == 10


def test_a_look_up_by_user_name_takes_one_request(upstream: Upstream, front: ScimClient) -> None:
    assert front.names('userName eq "KNOWN"') == ["known"]

    (only,) = upstream.requests
    assert only.startswith("GET /Users?") and "userName+eq" in only


def test_creating_takes_one_request(upstream: Upstream, front: ScimClient) -> None:
    front.user("new", title="t")

    assert upstream.requests == ["POST /Users"]


def test_reading_takes_one_request(upstream: Upstream, front: ScimClient) -> None:
    user = front.user("new")
    upstream.requests.clear()

    front("GET", f"/Users/{user['id']}")

    assert upstream.requests == [f"GET /Users/{user['id']}"]


def test_changing_a_user_takes_two_requests(upstream: Upstream, front: ScimClient) -> None:
    user = front.user("new")
    operation = {"op": "replace", "path": "title", "value": "t"}
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
    for method, body in (("PUT", {**user, "title": "x"}), ("PATCH", patch)):
        upstream.requests.clear()
        assert front(method, f"/Users/{user['id']}", body).status_code == 200
        assert upstream.requests == [f"GET /Users/{user['id']}", f"PUT /Users/{user['id']}"]


def test_deleting_a_user_takes_two_requests_and_two_per_group(
    upstream: Upstream, front: ScimClient
) -> None:
    user = front.user("new")
    front.group("g", user["id"])
    upstream.requests.clear()

    assert front("DELETE", f"/Users/{user['id']}").status_code == 204

    asked = [request.split("/")[0:2] for request in upstream.requests]
    assert asked == [["GET ", "Users"], ["GET ", "Groups"], ["PATCH ", "Groups"], ["DELETE ", "Users"]]


@pytest.mark.parametrize("op", ["add", "remove"])
def test_one_member_of_10000_changes_without_the_others(
    upstream: Upstream, front: ScimClient, op: str
) -> None:
    _filled(upstream, 10_001)
    storage = upstream.app.extensions["scim.storage"]
    storage.create_many(GROUP, [stored("big", displayName="big")])
    change_members(storage, "big", [Member(f"u{n}", "User") for n in range(10_000)], ())
    value = {"op": "add", "path": "members", "value": [{"value": "u10000"}]}
    if op == "remove":
        value = {"op": "remove", "path": 'members[value eq "u5"]'}
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [value]}

    answer = front("PATCH", "/Groups/big", body)

    assert answer.status_code == 204
    without = "/Groups/big?excludedAttributes=members"
    found = [f"GET /Users/{'u10000'}"] if op == "add" else []
    # The last is given up when it shows that the group is too large to be repeated.
    last = "GET /Groups/big?attributes=members"
    assert upstream.requests == [f"GET {without}", *found, f"PATCH {without}", last]
    members = {member.resource_id for member in members_of(storage, "big")}
    assert ("u10000" in members) == (op == "add") and ("u5" in members) == (op == "add")


def test_many_members_are_looked_up_together(upstream: Upstream, front: ScimClient) -> None:
    _filled(upstream, 100)

    front.group("g", *(f"u{n}" for n in range(100)))

    asked = [request.split("?")[0] for request in upstream.requests]
    group = asked[-1].rpartition("/")[2]
    written = ["POST /Groups", f"PATCH /Groups/{group}", f"GET /Groups/{group}"]
    assert asked == ["GET /Users"] * 4 + written


def test_no_more_of_a_resource_is_asked_for_than_is_needed(upstream: Upstream, adapter: Any) -> None:
    for n in range(3):
        adapter.create(USER, stored(str(n), userName=str(n)))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("0", "User")], ())
    # Once, to get to know the upstream.
    memberships_of(adapter, ["0", "1"])
    among(adapter, "g", ["0"])
    group, users = adapter.get(GROUP, "g"), [adapter.get(USER, one) for one in "01"]
    upstream.requests.clear()

    assert set(found_by_id(adapter, ["0", "1", "g"])) == {"0", "1", "g"}
    assert [member.resource_id for member in adapter.among_members(GROUP, group, ["0", "1"])] == ["0"]
    assert set(adapter.memberships(USER, users)) == {"0"}

    asked = [parse_qs(request.partition("?")[2]) for request in upstream.requests]
    named = [query.get("attributes", query.get("excludedAttributes")) for query in asked]
    # The last one tells the type of the member that was found; memberships came with the users.
    assert named == [["displayName,userName"], ["members"], ["id"], ["id"], None]


def test_pages_and_order_are_those_of_the_upstream(upstream: Upstream, front: ScimClient) -> None:
    _filled(upstream, 500)
    query = {"sortBy": "userName", "sortOrder": "descending", "startIndex": "300", "count": "5"}

    answer = front("GET", "/Users", query_string=query)

    assert answer.json["totalResults"] == 501 and len(answer.json["Resources"]) == 5
    (only,) = upstream.requests
    assert "startIndex=300" in only and "count=5" in only and "sortBy=userName" in only


# -- cursors where resources come and go


@pytest.mark.parametrize(
    ("sort_by", "descending"), [("", False), ("userName", False), ("userName", True)]
)
def test_a_position_holds_though_everything_before_it_is_deleted(
    adapter: StorageAdapter, sort_by: str, descending: bool
) -> None:
    for n in range(120):
        adapter.create(USER, stored(str(n), userName=f"u{n:03}"))
    path = USER.path(sort_by) if sort_by else None
    selection = Selection(sort=Sort(path, descending) if path else None, limit=100)
    page = search(adapter, USER, selection, represent).resources
    names = [one.document["userName"] for one in page]
    position = position_of(page[-1], selection.sort, represent(page[-1], False))

    for one in page:
        adapter.delete(USER, one.id)
    rest = search(adapter, USER, Selection(sort=selection.sort, limit=100, after=position), represent)
    back = search(adapter, USER, Selection(sort=selection.sort, limit=100, before=position), represent)

    left = sorted({f"u{n:03}" for n in range(120)} - set(names), reverse=descending)
    assert [one.document["userName"] for one in rest.resources] == left
    assert rest.total == 20 and back.resources == []


def test_a_position_holds_though_others_came_ahead_of_it(adapter: StorageAdapter) -> None:
    for n in range(10):
        adapter.create(USER, stored(str(n), userName=f"u{n}"))
    path = USER.path("userName")
    assert path is not None
    selection = Selection(sort=Sort(path), limit=5)
    last = search(adapter, USER, selection, represent).resources[-1]
    position = position_of(last, selection.sort, represent(last, False))
    for n in range(80):
        adapter.create(USER, stored(f"a{n}", userName=f"a{n}"))

    rest = search(adapter, USER, Selection(sort=selection.sort, limit=3, after=position), represent)

    assert [one.document["userName"] for one in rest.resources] == ["u5", "u6", "u7"]


# -- the upstream comes and goes


def test_a_restart_of_the_upstream_is_not_seen(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "scim.db")
    adapter = open_backend("forward", forward_scim_url=upstream.url, forward_scim_key=UPSTREAM_KEY)
    adapter.prepare(REGISTRY.resource_types)
    created = adapter.create(USER, stored("x", userName="a"))
    upstream.stop()

    with pytest.raises(StorageUnavailable):
        adapter.get(USER, created.id)
    upstream = Upstream(tmp_path / "scim.db", upstream.port)

    assert adapter.get(USER, created.id).document["userName"] == "a"
    adapter.check()
    adapter.close()
    upstream.stop()


def test_a_service_starts_before_its_upstream(tmp_path: Path) -> None:
    environ = {"API_KEY": KEY, "FORWARD_SCIM_URL": "http://127.0.0.1:9", "FORWARD_SCIM_KEY": "k"}

    app = create_app(Settings.from_env({**environ, "REMOTE_TIMEOUT": "0.3"}))

    answer = ScimClient(app.test_client())("GET", "/Users")
    assert answer.status_code == 503 and answer.headers["Retry-After"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_fork_has_connections_of_its_own(adapter: Any) -> None:
    adapter.create(USER, stored("1", userName="a"))
    child = os.fork()
    if child == 0:
        try:
            for _ in range(20):
                assert adapter.get(USER, "1").document["userName"] == "a"
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(20):
        assert adapter.get(USER, "1").document["userName"] == "a"

    assert os.waitpid(child, 0)[1] == 0


def test_secrets_reach_the_upstream(upstream: Upstream, front: ScimClient) -> None:
    user = front.user("new", password="t1meMa$heen")

    kept = upstream.app.extensions["scim.storage"].get(USER, user["id"]).secrets
    assert kept["password"].startswith("$argon2")
    assert "password" not in front("GET", f"/Users/{user['id']}").json


def test_filters_are_forwarded_but_for_what_is_ours(upstream: Upstream, adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="a", title="t"))
    search(adapter, USER, Selection(resolve(parse_filter("title pr"), USER)), represent)
    upstream.requests.clear()

    for text, forwarded in (
        ('title sw "t" and meta.created pr', "title+sw+%22t%22+and+meta.created+pr"),
        ('title pr and meta.location pr', "title+pr"),
    ):
        search(adapter, USER, Selection(resolve(parse_filter(text), USER)), represent)
        assert upstream.requests[-1].endswith(f"filter={forwarded}")
