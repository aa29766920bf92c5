"""Where resource and event are not written together: what becomes of a write whose process dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import KEY, ScimClient
from tests.events import PATCH_OP, kinds, sets

# One transaction there: nothing is begun that is not ended.
_TOGETHER = ("sqlite", "postgresql", "mariadb")


class Service:
    """A service, and processes on the same store that die."""

    def __init__(self, scim: ScimClient, environ: dict[str, str]) -> None:
        self.scim = scim
        self._environ = environ

    def dies(self, point: str, method: str, path: str, body: Any = None) -> None:
        """Make a request in a process that dies where the adapter is asked for `point`."""
        words = [sys.executable, "-m", "tests.dying", point, method, path, json.dumps(body)]
        ended = subprocess.run(words, env={**os.environ, **self._environ}, timeout=60)
        assert ended.returncode == -signal.SIGKILL

    def recover(self) -> list[tuple[str, str]]:
        """Find out what became of it, and return what was told since the beginning."""
        database = self.scim.app.extensions["scim.delivery"].database
        with database.transaction():
            # As if the time for an answer had passed.
            statement = "UPDATE scim_intent SET made_at = 0, due_at = 1"
            assert database.run(statement).rowcount == 1
        self.scim.work()
        assert database.row("SELECT COUNT(*) FROM scim_intent")[0] == 0
        assert database.row("SELECT COUNT(*) FROM scim_queue")[0] == 0
        return kinds(sets(self.scim))


@pytest.fixture
def service(
    request: pytest.FixtureRequest,
    backend: Callable[[set[str]], dict[str, str]],
    make_scim: Callable[..., ScimClient],
) -> Service:
    if request.node.callspec.params["backend"] in _TOGETHER:
        pytest.skip("resource and event are written in one transaction")
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", "SET_POLL_ENABLED": "true", "EMBEDDED_WORKER": "false"}
    return Service(make_scim(**environ), {**environ, **backend(set())})


def test_a_create_that_took_effect_is_told(service: Service) -> None:
    service.dies("confirm", "POST", "/Users", {"userName": "a", "displayName": "A"})
    (user,) = service.scim("GET", "/Users").json["Resources"]

    assert service.recover() == [("prov:create:notice", f"/Users/{user['id']}")]


def test_a_create_that_did_not_take_effect_is_not_told(service: Service) -> None:
    service.dies("create", "POST", "/Users", {"userName": "a", "displayName": "A"})

    assert service.recover() == []
    assert service.scim("GET", "/Users").json["totalResults"] == 0
    # And nothing is in the way of the next one.
    service.scim.user("a")


@pytest.mark.parametrize("point, is_told", [("confirm", True), ("replace", False)])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_is_told_if_it_took_effect(
    service: Service, method: str, point: str, is_told: bool
) -> None:
    user = service.scim.user("a", displayName="A")
    path = f"/Users/{user['id']}"
    operation = {"op": "replace", "path": "displayName", "value": "B"}
    body: dict[str, Any] = {"schemas": [PATCH_OP], "Operations": [operation]}
    if method == "PUT":
        body = {"userName": "a", "displayName": "B"}

    service.dies(point, method, path, body)

    assert (service.scim("GET", path).json["displayName"] == "B") is is_told
    told = [("prov:create:notice", path)] + [(f"prov:{method.lower()}:notice", path)] * is_told
    assert service.recover() == told


@pytest.mark.parametrize("point, is_told", [("confirm", True), ("delete", False)])
def test_a_delete_is_told_if_it_took_effect(service: Service, point: str, is_told: bool) -> None:
    path = f"/Users/{service.scim.user('a')['id']}"

    service.dies(point, "DELETE", path)

    assert (service.scim("GET", path).status_code == 404) is is_told
    assert service.recover() == [("prov:create:notice", path)] + [("prov:delete", path)] * is_told


@pytest.mark.parametrize("point", ["change_members", "replace", "confirm"])
def test_a_member_is_told_of_if_it_joined(service: Service, point: str) -> None:
    scim = service.scim
    user, group = scim.user("a")["id"], scim.group("g")["id"]
    path, before = f"/Groups/{group}", scim("GET", f"/Groups/{group}").headers["ETag"]
    operation = {"op": "add", "path": "members", "value": [{"value": user}]}
    if scim.app.extensions["scim.storage"].capabilities.versions_members and point == "replace":
        pytest.skip("members are not followed by anything")

    service.dies(point, "PATCH", path, {"schemas": [PATCH_OP], "Operations": [operation]})

    joined = bool(scim("GET", path).json.get("members"))
    told = service.recover()[2:]
    assert told == [("prov:patch:notice", path), ("feed:add", f"/Users/{user}")] * joined
    assert joined or point != "confirm"
    # Who asks whether anything has changed is told the same.
    assert (scim("GET", path).headers["ETag"] != before) is joined
