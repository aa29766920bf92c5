"""A day on one base: two services like SRAM, Entra ID, and an auditor, each with a token of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.interop.sram.test_sram import Sram
from tests.interop.sram.test_sram import group as sram_group
from tests.interop.sram.test_sram import user as sram_user

SCIM = Path(sys.executable).parent / "scim"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


def command(server: Server, *words: str) -> str:
    """Run `scim` with the settings of a server, and return what it prints."""
    done = subprocess.run(
        [SCIM, *words], env=server.environ, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


class Service(Sram):
    """A service that provisions and sweeps as SRAM does, with a token of its own."""

    def __init__(self, base: str, token: str) -> None:
        super().__init__(base)
        self._token = token

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "Authorization": f"Bearer {self._token}"}

    def sweep_others(self, known: set[str]) -> None:
        """Delete every resource whose externalId this service does not know."""
        for endpoint in ("/Groups", "/Users"):
            for found in self.sweep(endpoint):
                if found.get("externalId") not in known:
                    self.send("DELETE", found["meta"]["location"])


class Client:
    """A client with a token."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self._token = token

    def __call__(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/scim+json"}
        return requests.request(method, self._server.url + path, json=body, headers=headers, timeout=30)


def people(first: int, count: int) -> list[dict[str, Any]]:
    return [sram_user(number) for number in range(first, first + count)]


# The backends that keep owners.
@pytest.mark.on("sqlite", "postgresql", "files")
def test_a_day_on_one_base(serve: Callable[..., Server]) -> None:
    server = serve(METRICS_TOKEN="metrics-of-the-day", DEPROVISION_LIMIT="3", LOGLEVEL="ERROR")
    create = ("token", "create")
    limits = ("--own-only", "--profile", "sram")
    one = Service(server.url, command(server, *create, "one", *limits, "--rate", "1000/s"))
    two = Service(server.url, command(server, *create, "two", *limits))
    entra = Client(server, command(server, *create, "entra", "--profile", "entra", "--expires", "90d"))
    auditor = Client(server, command(server, *create, "auditor", "--scope", "scim.admin"))

    # The morning: everybody provisions. The services use the same names of groups and externalIds.
    for service, first in ((one, 0), (two, 10)):
        members = [service.provision("/Users", person) for person in people(first, 3)]
        service.provision("/Groups", sram_group("co", *members))
    ann = {"schemas": [USER], "userName": "ann@contoso.example", "externalId": "user-0@sram.surf.nl"}
    created = entra("POST", "/Users", {**ann, "active": "True"})
    assert created.status_code == 201 and created.json()["active"] is True
    path = f"/Users/{created.json()['id']}"
    assert one.look_up("/Users", "user-0")["userName"] != ann["userName"]
    # A name of another client is taken, and that is all that is said.
    taken = {**sram_user(20), "userName": ann["userName"]}
    refused = requests.post(f"{server.url}/Users", json=taken, headers=one.headers(), timeout=30)
    assert refused.status_code == 409 and created.json()["id"] not in refused.text

    # Noon: a sweep of one service finds nothing of the others.
    known = {person["externalId"] for person in people(0, 2)} | {"co@sram.surf.nl"}
    one.sweep_others(known)
    assert len(one.sweep("/Users")) == 2 and len(two.sweep("/Users")) == 3
    assert entra("GET", path).status_code == 200
    assert entra("GET", "/Users").json()["totalResults"] == 6

    # The afternoon: a wrong mapping lets the other service remove everybody. The guard stops it.
    everybody = [*two.sweep("/Users"), two.provision("/Users", sram_user(13))]
    locations = [server.url + person["meta"]["location"] for person in everybody]
    removed = [
        requests.delete(location, headers=two.headers(), timeout=30).status_code for location in locations
    ]
    assert removed == [204, 204, 204, 429]
    deactivate = {"op": "Replace", "path": "active", "value": "False"}
    patched = entra("PATCH", path, {"schemas": [PATCH_OP], "Operations": [deactivate]})
    assert patched.json()["active"] is False

    # The evening: an auditor, and an operator.
    assert auditor("GET", "/Users").status_code == 403
    figures = auditor("GET", "/metrics").text
    two_id = json.loads(command(server, "token", "list", "--json").splitlines()[-1])["id"]
    assert f'scim_guard_closed{{principal="{two_id}"}} 1.0' in figures
    assert command(server, "token", "suggest", "entra") == "entra"
    log = [json.loads(line) for line in command(server, "audit", "export").splitlines()]
    by = [(row["principal"], row["kind"]) for row in log]
    assert by.count((two_id, "delete")) == 3 and (two_id, "guard") in by
    assert all(row["principal"] != two_id for row in log if row["resourceId"] == created.json()["id"])
    command(server, "audit", "verify")
    command(server, "guard", "release", two_id)
    command(server, "token", "revoke", "two")
    command(server, "owner", "hand-over", two_id, "--to-nobody")
    assert entra("GET", "/Groups").json()["totalResults"] == 2
