"""Two servers with other settings on one store: what a client, an operator and a load balancer are told.

tests/storage has the storage itself, with each setting and each write.
"""

from collections.abc import Callable

import pytest
import requests

from tests.conftest import USER, ScimClient, Server, error_of

SHARED = ("sqlite", "postgresql", "mariadb")
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def bulk(*user_names: str) -> dict[str, object]:
    """Return a Bulk request that creates these users."""
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": name, "data": {"schemas": [USER], "userName": name}}
        for name in user_names
    ]
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations}


@pytest.mark.on(*SHARED)
def test_a_server_with_earlier_settings_reads_and_refuses_changes(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    old = make_scim(INDEXED_ATTRIBUTES="title")
    ann = old.user("ann", nickName="n", title="t")
    path = f"/Users/{ann['id']}"
    crew = old.group("crew")
    assert old("GET", "/health/writable").status_code == 200
    new = make_scim(INDEXED_ATTRIBUTES="nickName")
    patch = {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "x"}]}
    join = {"op": "add", "path": "members", "value": [{"value": ann["id"]}]}

    for answer in (
        old("POST", "/Users", {"schemas": [USER], "userName": "bob"}),
        old("PUT", path, {"schemas": [USER], "userName": "ann", "nickName": "m"}),
        old("PATCH", path, patch),
        old("DELETE", path),
        old("POST", "/Bulk", bulk("bob", "cleo")),
    ):
        assert "earlier settings" in error_of(answer, 503)
        assert answer.headers["Retry-After"] == "5"
    assert "another process has begun to index User resources by other definitions" in caplog.text

    assert old("GET", path).json["meta"]["version"] == ann["meta"]["version"]
    assert old.names('nickName eq "n"') == old.names('title eq "t"') == ["ann"]
    assert old("GET", "/health/ready").status_code == 200
    # `displayName` is indexed in neither, and the rules of groups are the same.
    assert old("PATCH", f"/Groups/{crew['id']}", {**patch, "Operations": [join]}).status_code == 200
    assert new("PATCH", path, patch).status_code == 200
    assert new.names('title eq "x" and nickName eq "n"') == ["ann"]


@pytest.mark.on(*SHARED)
def test_health_tells_that_a_server_has_earlier_settings(make_scim: Callable[..., ScimClient]) -> None:
    old = make_scim(INDEXED_ATTRIBUTES="title")
    make_scim(INDEXED_ATTRIBUTES="nickName")

    assert "earlier settings" in error_of(old("GET", "/health/writable"), 503)


@pytest.mark.on(*SHARED, "files", "mongodb")
@pytest.mark.parametrize("is_old_first", [True, False])
def test_whatever_is_accepted_is_found_by_the_server_that_goes_on(
    make_scim: Callable[..., ScimClient], is_old_first: bool
) -> None:
    """Both orders: the server with the old settings is there before, or starts after the new one."""
    servers = {}
    for name in ("old", "new") if is_old_first else ("new", "old"):
        servers[name] = make_scim(INDEXED_ATTRIBUTES="title" if name == "old" else "title,nickName")
    accepted = []
    for number in range(4):
        name = "old" if number % 2 else "new"
        body = {"schemas": [USER], "userName": f"u{number}", "nickName": "n"}
        if servers[name]("POST", "/Users", body).status_code == 201:
            accepted.append(f"u{number}")

    last = servers["new"] if is_old_first else make_scim(INDEXED_ATTRIBUTES="title,nickName")
    last("GET", "/health/ready")

    assert len(accepted) >= 2
    assert last.names('nickName eq "n"') == accepted


@pytest.mark.on("sqlite", "postgresql", "mariadb")
def test_two_processes_hand_over_while_a_client_writes(serve: Callable[..., Server]) -> None:
    def post(server: Server, name: str) -> requests.Response:
        body = {"schemas": [USER], "userName": name, "nickName": "n"}
        return server("POST", "/Users", json=body)

    old = serve(INDEXED_ATTRIBUTES="title", LOGLEVEL="ERROR")
    written = [name for name in ("a", "b") if post(old, name).status_code == 201]
    new = serve(INDEXED_ATTRIBUTES="title,nickName", LOGLEVEL="ERROR")
    refused = post(old, "c")
    written += [name for name in ("d", "e") if post(new, name).status_code == 201]

    assert refused.status_code == 503 and refused.headers["Retry-After"] == "5"
    assert written == ["a", "b", "d", "e"]
    found = new("GET", "/Users", params={"filter": 'nickName eq "n"'}).json()
    assert [user["userName"] for user in found["Resources"]] == written
