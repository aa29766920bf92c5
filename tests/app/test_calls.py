"""How many calls of the backend an operation takes: the table in docs/reference/backends/index.md.

Statements of SQL, round trips to PostgreSQL, commands of MongoDB, operations of LDAP, requests of an upstream
and of iRODS, calls of JumpCloud. They are counted where the driver or the server gets them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo import monitoring

from storage.index import lacking
from storage.index.connections import Connections
from tests.conftest import ScimClient
from tests.storage.mongo.conftest import Recorder

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "backends" / "index.md"
TITLE = "## Calls of the backend\n"
LDAP_OPERATION = re.compile(r" op=\d+ (?:SRCH base|ADD|MOD dn|DEL|MODRDN|CMP|EXT) ?")

Count = Callable[[], int]


def documented() -> dict[str, dict[str, int]]:
    """Return the table of the page: calls by backend and operation."""
    table = DOCUMENT.read_text().partition(TITLE)[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    heads = rows[0][1:]
    return {
        head: {row[0]: int(row[number + 1]) for row in rows[1:]} for number, head in enumerate(heads)
    }


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    recorder = Recorder()
    monitoring.register(recorder)
    return recorder


@pytest.fixture
def calls(
    request: pytest.FixtureRequest, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Count]]:
    """Yield the name of the backend, and a function that returns the calls since it was called before."""
    name = request.node.callspec.params["backend"]
    yield name, _since(COUNTERS[name](request, recorder, monkeypatch))


def _since(total: Count) -> Count:
    before = [0]

    def since() -> int:
        now = total()
        before.append(now)
        return now - before.pop(0)

    return since


def _round_trips(request: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Count:
    count, execute = [0], Connections.execute

    def counted(connections: Connections, statements: Sequence[Any]) -> list[Any]:
        # What PostgreSQL gets at once is one round trip.
        count[0] += 1
        return execute(connections, statements)

    monkeypatch.setattr(Connections, "execute", counted)
    # The user that is created lacks what all others lack, so that no list of these is kept.
    monkeypatch.setattr(lacking, "_NOTED", 1)
    monkeypatch.setattr(lacking, "_FEW", 0)
    return lambda: count[0]


def _commands(request: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Count:
    return lambda: len(recorder.commands)


def _ldap_operations(request: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Count:
    server = request.getfixturevalue("ldap")

    def total() -> int:
        server.logged()
        return len(LDAP_OPERATION.findall((server.folder / "log").read_text(errors="replace")))

    return total


def _upstream_requests(request: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Count:
    running = request.getfixturevalue("forward").running
    return lambda: sum(len(upstream.requests) for upstream in running.values())


def _jumpcloud_calls(request: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Count:
    fake = request.getfixturevalue("jumpcloud")
    return lambda: len(fake.requests)


def _irods_requests(request: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Count:
    server, shared = request.getfixturevalue("irods"), request.getfixturevalue("shared_databases")
    return lambda: len(server.zone(shared["irods"]).mischief.requests)


COUNTERS: dict[str, Callable[[Any, Recorder, pytest.MonkeyPatch], Count]] = {
    "sqlite": _round_trips,
    "postgresql": _round_trips,
    "mariadb": _round_trips,
    "files": _round_trips,
    "mongodb": _commands,
    "ldap": _ldap_operations,
    "forward": _upstream_requests,
    "jumpcloud": _jumpcloud_calls,
    "irods": _irods_requests,
}


def operations(scim: ScimClient) -> dict[str, Callable[[], Any]]:
    """Return the operations of the table; the store has 60 users, half of them in a group."""
    users = [scim.user(f"u{number}", title="t") for number in range(60)]
    group = scim.group("g", *(user["id"] for user in users[:30]))
    members = f"/Groups/{group['id']}?attributes=displayName"

    def patch(path: str, op: str, attribute: str, value: Any) -> Any:
        operation = {"op": op, "path": attribute, "value": value}
        return scim("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})

    one = users[40]
    return {
        "GET a user in no group": lambda: scim("GET", f"/Users/{one['id']}"),
        "GET a group without `members`": lambda: scim("GET", members),
        "a page of 20 users": lambda: scim("GET", "/Users?count=20"),
        "`userName eq`": lambda: scim("GET", "/Users", query_string={"filter": 'userName eq "u40"'}),
        "POST a user": lambda: scim("POST", "/Users", {"schemas": one["schemas"], "userName": "new"}),
        "PUT a user": lambda: scim("PUT", f"/Users/{one['id']}", {**one, "title": "x"}),
        "PATCH `title`": lambda: patch(f"/Users/{one['id']}", "replace", "title", "y"),
        "PATCH: add a member": lambda: patch(members, "add", "members", [{"value": one["id"]}]),
        "PATCH: remove a member": lambda: patch(members, "remove", "members", [{"value": one["id"]}]),
        "DELETE a user in no group": lambda: scim("DELETE", f"/Users/{one['id']}"),
    }


@pytest.mark.on(*COUNTERS)
def test_operations_take_the_documented_number_of_calls(
    calls: tuple[str, Count], make_scim: Callable[..., ScimClient]
) -> None:
    name, since = calls
    table = operations(make_scim(EMBEDDED_WORKER="false"))
    # A process asks once how a service behaves.
    table["GET a user in no group"]()
    counted = {}
    for operation, work in table.items():
        since()
        assert work().status_code < 300
        counted[operation] = since()

    assert counted == documented()[name]
