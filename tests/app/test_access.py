"""Who may do what: each client, operation and resource type, with the expected answers written by hand."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from app.edge.access import Access
from tests.conftest import GROUP, USER, ScimClient, error_of
from tests.description import document_of, operations_in, path_of
from tests.events import BULK, PATCH_OP, POLL
from tests.tokens import Client

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
NOBODY = {"Authorization": ""}

# The scope of every route: `public`, or what a request without it is refused for.
ROUTES = {
    "GET /": "public",
    "GET /openapi.json": "public",
    "GET /docs": "public",
    "GET /docs/assets/{filename}": "public",
    "GET /docs/start.js": "public",
    "GET /ServiceProviderConfig": "public",
    "GET /ResourceTypes": "public",
    "GET /ResourceTypes/{name}": "public",
    "GET /Schemas": "public",
    "GET /Schemas/{name}": "public",
    "GET /health": "public",
    "GET /health/ready": "public",
    "GET /health/writable": "public",
    "GET /.well-known/jwks.json": "public",
    "POST /.search": "scim.read",
    "GET /Users": "scim.read",
    "POST /Users": "scim.write",
    "POST /Users/.search": "scim.read",
    "GET /Users/{resource_id}": "scim.read",
    "PUT /Users/{resource_id}": "scim.write",
    "PATCH /Users/{resource_id}": "scim.write",
    "DELETE /Users/{resource_id}": "scim.write",
    "GET /Groups": "scim.read",
    "POST /Groups": "scim.write",
    "POST /Groups/.search": "scim.read",
    "GET /Groups/{resource_id}": "scim.read",
    "PUT /Groups/{resource_id}": "scim.write",
    "PATCH /Groups/{resource_id}": "scim.write",
    "DELETE /Groups/{resource_id}": "scim.write",
    "GET /Me": "scim.read",
    "POST /Me": "scim.write",
    "PUT /Me": "scim.write",
    "PATCH /Me": "scim.write",
    "DELETE /Me": "scim.write",
    "POST /Bulk": "scim.write",
    "GET /Async/{txn}": "scim.write",
    "DELETE /Async/{txn}": "scim.write",
    "GET /Events/Feeds": "scim.events",
    "GET /Events/Feeds/{feed_id}": "scim.events",
    "GET /Events/Feeds/{feed_id}/Stream": "scim.events",
    "POST /Events/Feeds/{feed_id}/Stream": "scim.events",
    "GET /metrics": "scim.admin",
}
# The scopes of the clients of the matrix.
CLIENTS = {
    "reader": "scim.read",
    "user reader": "scim.read:User",
    "group reader": "scim.read:Group",
    "writer": "scim.write",
    "user writer": "scim.write:User",
    "group writer": "scim.write:Group",
    "user keeper": "scim.read:User scim.write:User",
    "listener": "scim.events",
    "feed reader": "scim.events scim.read",
    "operator": "scim.admin",
    "none": "",
}
# What each client is answered, in the order of CLIENTS; a status of 403 comes with the scope that is missing.
R, W, E, A = "scim.read", "scim.write", "scim.events", "scim.admin"
RU, RG, WU, WG = "scim.read:User", "scim.read:Group", "scim.write:User", "scim.write:Group"
MATRIX: dict[str, tuple[int | str, ...]] = {
    #                reader  u.read  g.read  writer  u.write g.write u.keep  listen  feeds   oper    none
    "list users":    (200,    200,    RU,     RU,     RU,     RU,     200,    RU,     200,    RU,     RU),
    "search users":  (200,    200,    RU,     R,      R,      R,      200,    R,      200,    R,      R),
    "get user":      (200,    200,    RU,     RU,     RU,     RU,     200,    RU,     200,    RU,     RU),
    "head user":     (200,    200,    RU,     RU,     RU,     RU,     200,    RU,     200,    RU,     RU),
    "known version": (304,    304,    RU,     RU,     RU,     RU,     304,    RU,     304,    RU,     RU),
    "other version": (412,    412,    RU,     RU,     RU,     RU,     412,    RU,     412,    RU,     RU),
    "unknown user":  (404,    404,    RU,     RU,     RU,     RU,     404,    RU,     404,    RU,     RU),
    "slash in id":   (404,    404,    RU,     R,      R,      R,      404,    R,      404,    R,      R),
    "list groups":   (200,    RG,     200,    RG,     RG,     RG,     RG,     RG,     200,    RG,     RG),
    "get group":     (200,    RG,     200,    RG,     RG,     RG,     RG,     RG,     200,    RG,     RG),
    "root search":   (200,    RG,     RU,     R,      R,      R,      RG,     R,      200,    R,      R),
    "root post":     (200,    RG,     RU,     R,      R,      R,      RG,     R,      200,    R,      R),
    "create user":   (W,      W,      W,      201,    201,    WU,     201,    W,      W,      W,      W),
    "create later":  (W,      W,      W,      202,    202,    WU,     202,    W,      W,      W,      W),
    "bad user":      (W,      W,      W,      400,    400,    WU,     400,    W,      W,      W,      W),
    "put user":      (W,      W,      W,      200,    200,    WU,     200,    W,      W,      W,      W),
    "put old":       (W,      W,      W,      412,    412,    WU,     412,    W,      W,      W,      W),
    "patch user":    (W,      W,      W,      200,    200,    WU,     200,    W,      W,      W,      W),
    "patch later":   (W,      W,      W,      202,    202,    WU,     202,    W,      W,      W,      W),
    "delete later":  (W,      W,      W,      202,    202,    WU,     202,    W,      W,      W,      W),
    "delete none":   (W,      W,      W,      404,    404,    WU,     404,    W,      W,      W,      W),
    "create group":  (W,      W,      W,      201,    WG,     201,    WG,     W,      W,      W,      W),
    "patch group":   (W,      W,      W,      200,    WG,     200,    WG,     W,      W,      W,      W),
    "bulk":          (W,      W,      W,      200,    200,    200,    200,    W,      W,      W,      W),
    "bulk later":    (W,      W,      W,      202,    202,    202,    202,    W,      W,      W,      W),
    "result":        (W,      W,      W,      404,    404,    404,    404,    W,      W,      W,      W),
    "me":            (501,    501,    501,    R,      R,      R,      501,    R,      501,    R,      R),
    "put me":        (W,      W,      W,      501,    501,    501,    501,    W,      W,      W,      W),
    "feeds":         (E,      E,      E,      E,      E,      E,      E,      200,    200,    E,      E),
    "feed":          (E,      E,      E,      E,      E,      E,      E,      RU,     200,    E,      E),
    "group feed":    (E,      E,      E,      E,      E,      E,      E,      RG,     200,    E,      E),
    "stream":        (E,      E,      E,      E,      E,      E,      E,      200,    200,    E,      E),
    "group stream":  (E,      E,      E,      E,      E,      E,      E,      200,    200,    E,      E),
    "poll":          (E,      E,      E,      E,      E,      E,      E,      200,    200,    E,      E),
    "metrics":       (A,      A,      A,      A,      A,      A,      A,      A,      A,      200,    A),
    "discovery":     (200,    200,    200,    200,    200,    200,    200,    200,    200,    200,    200),
}


class World:
    """A store with a user and a group, and the requests of the matrix."""

    def __init__(self, scim: ScimClient) -> None:
        self.scim = scim
        self.user = scim.user("ann")
        self.group = scim.group("team", self.user["id"])
        self._count = 0

    def _new(self, prefix: str) -> dict[str, Any]:
        self._count += 1
        return {"schemas": [USER], "userName": f"{prefix}{self._count}"}

    def ask(self, client: Callable[..., Any], operation: str) -> Any:
        """Send the request of this name."""
        name = self._new("g")["userName"]
        user, group = f"/Users/{self.user['id']}", f"/Groups/{self.group['id']}"
        later, version = {"Prefer": "respond-async"}, self.scim("GET", user).headers["ETag"]
        patch = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "title", "value": "t"}]}
        rename = {
            "schemas": [PATCH_OP],
            "Operations": [{"op": "replace", "path": "displayName", "value": "t"}],
        }
        operations = [{"method": "POST", "path": "/Users", "bulkId": "1", "data": self._new("b")}]
        bulk = {"schemas": [BULK], "Operations": operations}
        whole = {"schemas": [USER], "userName": "ann"}
        feeds = "/Events/Feeds"
        method, path, *rest = {
            "list users": ("GET", "/Users"),
            "search users": ("POST", "/Users/.search", {"schemas": [SEARCH]}),
            "get user": ("GET", user),
            "head user": ("HEAD", user),
            "known version": ("GET", user, None, {"If-None-Match": version}),
            "other version": ("GET", user, None, {"If-Match": 'W/"other"'}),
            "unknown user": ("GET", "/Users/unknown"),
            "slash in id": ("GET", "/Users/un/known"),
            "list groups": ("GET", "/Groups"),
            "get group": ("GET", group),
            "root search": ("GET", "/?count=1"),
            "root post": ("POST", "/.search", {"schemas": [SEARCH]}),
            "create user": ("POST", "/Users", self._new("c")),
            "create later": ("POST", "/Users", self._new("l"), later),
            "bad user": ("POST", "/Users", {"schemas": [USER]}),
            "put user": ("PUT", user, whole),
            "put old": ("PUT", user, whole, {"If-Match": 'W/"other"'}),
            "patch user": ("PATCH", user, patch),
            "patch later": ("PATCH", user, patch, later),
            "delete later": ("DELETE", "/Users/unknown", None, later),
            "delete none": ("DELETE", "/Users/unknown"),
            "create group": ("POST", "/Groups", {"schemas": [GROUP], "displayName": name}),
            "patch group": ("PATCH", group, rename),
            "bulk": ("POST", "/Bulk", bulk),
            "bulk later": ("POST", "/Bulk", bulk, later),
            "result": ("GET", "/Async/unknown"),
            "me": ("GET", "/Me"),
            "put me": ("PUT", "/Me", whole),
            "feeds": ("GET", feeds),
            "feed": ("GET", f"{feeds}/default"),
            "group feed": ("GET", f"{feeds}/{self.group['id']}"),
            "stream": ("GET", f"{feeds}/default/Stream"),
            "group stream": ("GET", f"{feeds}/{self.group['id']}/Stream"),
            "poll": ("POST", f"{feeds}/default/Stream", {"returnImmediately": True}),
            "metrics": ("GET", "/metrics"),
            "discovery": ("GET", "/ServiceProviderConfig"),
        }[operation]
        return client(method, path, *rest)


def assert_refused(answer: Any, scope: str) -> None:
    """Assert that an answer names the scope that is missing, in both places."""
    expected = f'Bearer realm="SCIM", error="insufficient_scope", scope="{scope}"'
    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (403, expected), answer.text
    if answer.request.method != "HEAD":
        general = scope.partition(":")[0]
        either = scope if general == scope else f"{general} or {scope}"
        assert error_of(answer, 403) == f"the credentials do not include the scope {either}"


@pytest.mark.on("sqlite", "postgresql", "files", "ldap")
def test_each_client_may_do_what_its_scopes_say(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**POLL, ASYNC_REQUEST="request", SET_GROUP_AS_FEED="true")
    world = World(scim)
    clients = [Client(scim, name.replace(" ", "-"), scopes) for name, scopes in CLIENTS.items()]
    wrong = []
    for operation, expected in MATRIX.items():
        for client, outcome in zip(clients, expected, strict=True):
            answer = world.ask(client, operation)
            try:
                if isinstance(outcome, str):
                    assert_refused(answer, outcome)
                else:
                    assert answer.status_code == outcome, answer.text
            except AssertionError as exc:
                wrong.append(f"{operation} by {client.name}: {exc}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.sqlite
@pytest.mark.parametrize("operation", MATRIX)
def test_an_api_key_has_every_scope(make_scim: Callable[..., ScimClient], operation: str) -> None:
    scim = make_scim(**POLL, ASYNC_REQUEST="request", SET_GROUP_AS_FEED="true")
    expected = next(one for one in MATRIX[operation] if isinstance(one, int))

    assert World(scim).ask(scim, operation).status_code == expected


@pytest.mark.sqlite
def test_a_refused_write_changes_nothing(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**POLL, ASYNC_REQUEST="request")
    world = World(scim)
    reader, keeper = Client(scim, "reader", "scim.read"), Client(scim, "keeper", "scim.write:Group")
    before = scim("GET", "/?count=100").json

    for client in (reader, keeper):
        for operation in ("create user", "create later", "put user", "patch user", "patch later"):
            assert world.ask(client, operation).status_code == 403
        answer = client("DELETE", f"/Users/{world.user['id']}")
        assert answer.status_code == 403
    scim.work()

    assert scim("GET", "/?count=100").json == before


# -- Bulk


@pytest.mark.on("sqlite", "postgresql", "files", "ldap")
@pytest.mark.parametrize("is_later", [False, True])
def test_bulk_asks_for_the_scope_of_each_operation(
    make_scim: Callable[..., ScimClient], is_later: bool
) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    user, group = scim.user("ann"), scim.group("team")
    keeper = Client(scim, "keeper", "scim.write:User")
    patch = {"Operations": [{"op": "replace", "path": "displayName", "value": "x"}]}
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"schemas": [USER], "userName": "bob"}},
        {"method": "POST", "path": "/Groups", "bulkId": "2", "data": {"displayName": "new"}},
        {"method": "PATCH", "path": f"/Users/{user['id']}", "data": patch},
        {"method": "PATCH", "path": f"/Groups/{group['id']}", "data": patch},
        {"method": "DELETE", "path": f"/Groups/{group['id']}"},
        {"method": "DELETE", "path": f"/Users/{user['id']}"},
    ]
    body = {"schemas": [BULK], "Operations": operations}
    if is_later:
        answer = keeper("POST", "/Bulk", body, {"Prefer": "respond-async"})
        assert answer.status_code == 202
        scim.work()
        answer = keeper("GET", answer.headers["Location"])
    else:
        answer = keeper("POST", "/Bulk", body)

    results = answer.json["Operations"]
    assert [one["status"] for one in results] == ["201", "403", "200", "403", "403", "204"]
    details = {one["response"]["detail"] for one in results if one["status"] == "403"}
    assert details == {"the credentials do not include the scope scim.write or scim.write:Group"}
    assert scim.names("userName pr") == ["bob"]
    assert scim.names("displayName pr", "/Groups", "displayName") == ["team"]


@pytest.mark.sqlite
def test_an_operation_that_refers_to_a_refused_one_fails(scim: ScimClient) -> None:
    keeper = Client(scim, "keeper", "scim.write:Group")
    members = [{"value": "bulkId:1"}]
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"schemas": [USER], "userName": "bob"}},
        {
            "method": "POST",
            "path": "/Groups",
            "bulkId": "2",
            "data": {"schemas": [GROUP], "displayName": "team", "members": members},
        },
    ]

    results = keeper("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}).json["Operations"]

    assert [one["status"] for one in results] == ["403", "400"]
    assert scim("GET", "/?count=10").json["totalResults"] == 0


# -- a client that may write and not read


@pytest.mark.on("sqlite", "postgresql", "files", "ldap")
def test_a_writer_learns_only_the_id_of_what_it_writes(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    writer = Client(scim, "writer", "scim.write")
    ann = scim.user("ann", title="secret")
    path = f"/Users/{ann['id']}"
    nothing = {"schemas": [PATCH_OP], "Operations": [{"op": "remove", "path": "nickName"}]}

    created = writer("POST", "/Users", {"schemas": [USER], "userName": "bob"})
    patched = writer("PATCH", path, nothing)
    chosen = writer("PATCH", f"{path}?attributes=title", nothing)
    later = writer("PATCH", path, nothing, {"Prefer": "respond-async"})
    scim.work()
    result = writer("GET", later.headers["Location"]).json

    assert set(created.json) == {"schemas", "id"}
    assert created.headers["Location"].endswith(f"/Users/{created.json['id']}")
    for shown in (patched.json, chosen.json, result["response"]):
        assert shown == {"schemas": ann["schemas"], "id": ann["id"]}


# -- routes


def routes(scim: ScimClient) -> dict[str, tuple[str, str]]:
    """Return the Flask endpoint and the method of each route, as ROUTES names it."""
    return {
        f"{method} {path_of(rule.rule)}": (rule.endpoint, method)
        for rule in scim.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }


@pytest.mark.sqlite
def test_every_route_is_public_or_names_its_scope(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**POLL, ASYNC_REQUEST="request")
    nothing = Client(scim, "nothing", "")
    found = routes(scim)
    assert set(found) == set(ROUTES)

    for name, (_, method) in found.items():
        path = re.sub(r"{\w+}", "x", name.partition(" ")[2])
        without = scim(method, path, headers=NOBODY)
        answer = nothing(method, path)
        if ROUTES[name] == "public":
            assert without.status_code not in (401, 403), name
            assert answer.status_code not in (401, 403), name
        else:
            error_of(without, 401)
            assert f'scope="{ROUTES[name]}' in answer.headers["WWW-Authenticate"], name


@pytest.mark.sqlite
def test_a_route_that_nobody_has_listed_is_refused(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim()
    scim.app.add_url_rule("/new", "New.view", lambda: "open")

    for headers in ({}, NOBODY):
        assert "no scope gives access" in error_of(scim("GET", "/new", headers=headers), 403)


@pytest.mark.sqlite
def test_the_description_names_the_scopes(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**POLL, ASYNC_REQUEST="request")
    access, found = Access(["User", "Group"]), routes(scim)

    for method, path, operation in operations_in(document_of(scim.app)):
        scope = access.scope(*found[f"{method} {path}"])
        schemes = {name for one in operation["security"] for name in one}
        named = {text for one in operation["security"] for scopes in one.values() for text in scopes}
        if scope is None:
            assert operation["security"] == []
            continue
        assert schemes == {"bearer", "apiKey"}
        assert scope in named and all(text.partition(":")[0] == scope for text in named), operation
        assert ({} in operation["security"]) == (path == "/")
