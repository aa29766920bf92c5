"""What is in flight when the last process of commit 8a276f1 dies is finished by the new server, once.

tests/in_flight says what the processes had done. These tests look at outcomes alone: SETs that arrive,
results of requests, resources.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY, ScimClient
from tests.events import ask, kinds, sets
from tests.in_flight import Left, read, restored, signed_as_before
from tests.receivers import HttpReceiver
from tests.servers import SqliteFolder

# Backends where a resource and its event are written in one transaction.
TOGETHER = ("sqlite", "postgresql", "mariadb")
FOR_EVER = {name: "999999999" for name in ("SET_RETENTION", "ASYNC_RESULT_TTL", "CURSOR_TIMEOUT")}

# SETs that nobody has confirmed, then changes that are no SETs yet, in this order.
WAITING = [
    *(("create", name) for name in ("bob", "cleo", "gus", "oscar", "Crew")),
    ("add", "ann"),
    ("create", "hugo"),
    ("asyncresp", "hugo"),
    ("create", "Team"),
    *(("add", name) for name in ("ann", "bob", "cleo", "hugo")),
    ("patch", "ann"),
    ("patch", "ann"),
    ("put", "bob"),
    ("create", "dora"),
    ("delete", "gus"),
    ("create", "jack"),
]
# What the requests become, for each resource in this order.
REQUESTED = [
    *(("patch", name) for name in ("bob", "cleo", "hugo", "dora")),
    *(("create", name) for name in ("lena", "kate", "Band", "ivan")),
    ("add", "jack"),
    ("add", "kate"),
    *(("asyncresp", n) for n in ("bob", "cleo", "hugo", "dora", "lena", "jack", "kate", "Band", "ivan")),
]
# Writes that took effect, and that no process has confirmed.
UNCONFIRMED = [("patch", "dora"), ("create", "mia"), ("delete", "oscar"), ("patch", "Crew"), ("add", "dora")]
TITLES = {"ann": "two", "bob": "not begun", "cleo": "begun", "hugo": "after the bulk request"}


class Upgraded:
    """A new server on the store that the processes left."""

    def __init__(self, scim: ScimClient, left: Left, is_together: bool) -> None:
        self.scim = scim
        self.left = left
        self.unconfirmed = [] if is_together else UNCONFIRMED

    def listed(self, path: str, attribute: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a type by name."""
        found = self.scim("GET", path).json
        assert found["totalResults"] == len(found["Resources"])
        listed = {resource[attribute]: resource for resource in found["Resources"]}
        assert len(listed) == found["totalResults"], "a name stands for one resource"
        return listed

    def told(self, claims: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
        """Return the last word of each kind of event, and the name of the resource."""
        names = {resource_id: name for name, resource_id in self.left.ids.items()}
        listed = self.listed("/Users", "userName") | self.listed("/Groups", "displayName")
        names |= {resource["id"]: name for name, resource in listed.items()}
        return [
            (kind.removesuffix(":notice").rpartition(":")[2], names[uri.rpartition("/")[2]])
            for kind, uri in kinds(list(claims))
        ]

    def work(self) -> None:
        """Do what is due until it makes nothing due."""
        for _ in range(3):
            self.scim.work()


@pytest.fixture
def upgraded(
    request: pytest.FixtureRequest,
    backend: Callable[[set[str]], dict[str, str]],
    make_scim: Callable[..., ScimClient],
    receiver: HttpReceiver,
    tmp_path: Path,
) -> Upgraded:
    name = request.node.callspec.params["backend"]
    environ = {"INDEXED_ATTRIBUTES": "title"} if name in TOGETHER else {}
    if name in TOGETHER:
        left = read(name)
        (tmp_path / "data").mkdir()
        server = SqliteFolder(tmp_path) if name == "sqlite" else request.getfixturevalue(name)
        server.execute(backend(set(environ))["DATABASE_URL"], *left.statements)
    else:
        left = read("state")
        environ["STATE_DATABASE_URL"] = f"sqlite:///{tmp_path}/in-flight.db"
        before = make_scim(API_KEY=",".join(left.api_keys))
        restored(left, before.app.extensions["scim.storage"], tmp_path / "in-flight.db")
        page = before("GET", "/Users", query_string={"cursor": "", "count": 1}).json
        left.cursor = signed_as_before(page["nextCursor"], left.api_keys)
    assert left.api_keys[0] == KEY
    scim = make_scim(
        API_KEY=",".join(left.api_keys),
        EMBEDDED_WORKER="false",
        SET_PUSH_URL=receiver.url,
        SET_POLL_ENABLED="true",
        ASYNC_REQUEST="request",
        **FOR_EVER,
        **environ,
    )
    return Upgraded(scim, left, name in TOGETHER)


def test_what_was_in_flight_is_finished_once(upgraded: Upgraded, receiver: HttpReceiver) -> None:
    scim, left = upgraded.scim, upgraded.left
    # The page that follows, before anything is written.
    known, walked, cursor = list(upgraded.listed("/Users", "userName")), [], left.cursor
    while cursor:
        page = scim("GET", "/Users", query_string={"cursor": cursor, "count": 1}).json
        assert "Resources" in page, page
        walked += [user["userName"] for user in page["Resources"]]
        cursor = page.get("nextCursor", "")
    assert known[0] == "ann" and walked == known[1:]

    upgraded.work()

    told = upgraded.told(receiver.claims)
    expected = WAITING + upgraded.unconfirmed + REQUESTED
    assert Counter(told) == Counter(expected)
    in_order = [one for one in WAITING if one not in REQUESTED]
    assert [one for one in told if one in in_order] == in_order
    for name in sorted({resource for _, resource in told}):
        assert writes_of(name, told) == writes_of(name, expected)
    jtis = [claims["jti"] for claims in receiver.claims]
    assert len(set(jtis)) == len(jtis)
    _check_feed(upgraded, jtis)
    _check_results(upgraded)
    _check_resources(upgraded)
    # What comes next comes last, and nothing comes again.
    scim.user("pia")
    upgraded.work()
    assert upgraded.told(receiver.claims)[len(told) :] == [("create", "pia")]


def writes_of(name: str, told: list[tuple[str, str]]) -> list[str]:
    """Return the events of one resource in their order, without its memberships: those belong to groups."""
    return [kind for kind, other in told if other == name and kind != "add"]


def _check_feed(upgraded: Upgraded, jtis: list[str]) -> None:
    """Check that a reader gets all SETs but the one that it has acknowledged."""
    scim, left = upgraded.scim, upgraded.left
    assert jtis[0] == left.unacknowledged
    first = ask(scim, {"maxEvents": 3})
    assert list(first["sets"]) == jtis[:3] and first["moreAvailable"]
    assert list(ask(scim, {"ack": jtis[:3]})["sets"]) == jtis[3:]
    assert ask(scim, {"ack": jtis})["sets"] == {}
    assert [one["jti"] for one in sets(scim)] == [left.acknowledged, *jtis]
    joined = upgraded.told(sets(scim, left.ids["Team"]))
    assert [one for one in joined if one[0] == "add"] == [
        ("add", name) for name in ("ann", "bob", "cleo", "hugo")
    ]


def _check_results(upgraded: Upgraded) -> None:
    """Check the result of each request: it is that of one effect."""
    scim, left = upgraded.scim, upgraded.left
    users = upgraded.listed("/Users", "userName")
    for name in ("bob", "cleo", "dora", "lena", "ivan", "finished"):
        result = scim("GET", f"/Async/{left.jobs[name]}").json
        assert result["status"] == ("201" if name in ("lena", "ivan", "finished") else "200"), result
        assert result["response"]["id"] == users["hugo" if name == "finished" else name]["id"]
        if name != "finished":
            assert result["version"] == users[name]["meta"]["version"]
    other = {"Authorization": f"Bearer {left.api_keys[1]}"}
    bulk = scim("GET", f"/Async/{left.jobs['bulk']}", headers=other).json["Operations"]
    assert [(one["bulkId"], one["status"]) for one in bulk] == [(n, "201") for n in ("jack", "kate", "Band")]
    hugo = scim("GET", f"/Async/{left.jobs['hugo']}", headers=other).json
    assert hugo["response"]["title"] == TITLES["hugo"]
    assert scim("GET", f"/Async/{left.jobs['hugo']}").status_code == 404, "another client sent it"


def _check_resources(upgraded: Upgraded) -> None:
    users, groups = upgraded.listed("/Users", "userName"), upgraded.listed("/Groups", "displayName")
    names = {user["id"]: name for name, user in users.items()}
    there = {"ann", "bob", "cleo", "dora", "hugo", "ivan", "jack", "kate", "lena"}
    assert set(users) == there | ({"mia"} if upgraded.unconfirmed else {"oscar"})
    titles = {name: user["title"] for name, user in users.items() if "title" in user}
    assert titles == {**TITLES, "dora": "waiting"}
    members = {name: {names[m["value"]] for m in group["members"]} for name, group in groups.items()}
    crew = {"ann", "dora"} if upgraded.unconfirmed else {"ann"}
    assert members == {"Crew": crew, "Team": {"ann", "bob", "cleo", "hugo"}, "Band": {"jack", "kate"}}
    for name in ("cleo", "lena", "kate", "mia") if upgraded.unconfirmed else ():
        version = upgraded.left.versions[name]
        assert users[name]["meta"]["version"] == f'W/"{version}"', "its write is not repeated"
