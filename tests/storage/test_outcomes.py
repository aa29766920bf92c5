"""Writes whose answer is lost on the way: the outcome is unknown, whether or not the backend made them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from storage.adapter import Member, StorageAdapter
from storage.errors import OutcomeUnknown, ResourceNotFound, StorageUnavailable
from storage.testing import GROUP, REGISTRY, USER, among, change_members, stored
from tests.backends import open_backend
from tests.cutting import CuttingProxy

_BEFORE = stored("1", userName="a", title="old")
_AFTER = stored("1", userName="a", title="new-title")


@dataclass
class Way:
    """An adapter whose way to its server can be cut, another one that is not, and what is fatal."""

    adapter: StorageAdapter
    other: StorageAdapter
    proxy: CuttingProxy
    fatal: dict[str, bytes]


@pytest.fixture(params=["postgresql", "mariadb", "mongodb", "ldap"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    name = request.param
    server: Any = request.getfixturevalue(name)
    make = {"mongodb": _mongo, "ldap": _ldap}.get(name, _sql)
    kind, direct, port, through, fatal = make(server)
    proxy = CuttingProxy(port)
    adapters = [open_backend(kind, **options) for options in (direct, through(proxy.port))]
    for adapter in adapters:
        adapter.prepare(REGISTRY.resource_types)
    yield Way(adapters[1], adapters[0], proxy, fatal)
    for adapter in adapters:
        adapter.close()
    proxy.close()


Options = Callable[[int], dict[str, Any]]
Parts = tuple[str, dict[str, Any], int, Options, dict[str, bytes]]


def _sql(server: Any) -> Parts:
    options = {"database_url": server.new_database()}

    def through(port: int) -> dict[str, Any]:
        return {"database_url": options["database_url"].replace(f":{server.port}", f":{port}")}

    every = ("create", "create_many", "replace", "delete", "join")
    return "sql", options, server.port, through, dict.fromkeys(every, b"COMMIT")


def _mongo(server: Any) -> Parts:
    options = {"mongo_db": server.new_database()}
    port = int(options["mongo_db"].partition("://")[2].partition("/")[0].rpartition(":")[2])

    def through(proxy_port: int) -> dict[str, Any]:
        return {"mongo_db": options["mongo_db"].replace(f":{port}", f":{proxy_port}")}

    users = {
        "create": b"\x02insert\x00\x06\x00\x00\x00Users\x00",
        "create_many": b"\x02insert\x00\x06\x00\x00\x00Users\x00",
        "replace": b"\x02update\x00\x06\x00\x00\x00Users\x00",
        "delete": b"\x02delete\x00\x06\x00\x00\x00Users\x00",
        "join": b"\x02insert\x00\x0d\x00\x00\x00scim_members\x00",
    }
    return "mongo", options, port, through, users


def _ldap(server: Any) -> Parts:
    base = server.new_database()
    options = server.options(base)

    def through(port: int) -> dict[str, Any]:
        return {**options, "ldap_hostname": f"ldap://127.0.0.1:{port}"}

    name = f"scimId=1,ou=Users,{base}".encode()
    delete = b"\x4a" + bytes([len(name)]) + name
    person = b"organizationalPerson"
    fatal = {"create": person, "create_many": person, "replace": b"new-title"}
    joined = b"\x04\x06member1" + bytes([len(name) + 2]) + b"\x04" + bytes([len(name)]) + name
    return "ldap", options, server.port, through, {**fatal, "delete": delete, "join": joined}


CALLS: dict[str, Callable[[StorageAdapter], object]] = {
    "create": lambda adapter: adapter.create(USER, _AFTER),
    "create_many": lambda adapter: adapter.create_many(USER, [_AFTER]),
    "replace": lambda adapter: adapter.replace(USER, _AFTER),
    "delete": lambda adapter: adapter.delete(USER, "1"),
    "join": lambda adapter: change_members(adapter, "g", [Member("1", "User")], ()),
}


def state(adapter: StorageAdapter, call: str) -> Any:
    if call == "join":
        return sorted(among(adapter, "g", ["1"]))
    try:
        return adapter.get(USER, "1").document["title"]
    except ResourceNotFound:
        return None


_DONE = {"create": "new-title", "create_many": "new-title", "replace": "new-title", "join": ["1"]}


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_write_without_an_answer_is_neither_done_nor_not_done(way: Way, call: str, is_lost: bool) -> None:
    if not call.startswith("create"):
        way.other.create(USER, _BEFORE)
        way.other.create(GROUP, stored("g", displayName="g"))
    before = state(way.other, call)
    # A connection of the pool, which has proved to be alive.
    way.adapter.check()

    way.proxy.fatal, way.proxy.is_lost = way.fatal[call], is_lost
    with pytest.raises(OutcomeUnknown):
        if call.startswith("create"):
            CALLS[call](way.adapter)
        else:
            with way.adapter.transaction():
                CALLS[call](way.adapter)

    assert way.proxy.cuts == 1
    # LDAP deletes in two steps: an entry is no resource after the first one.
    in_two_steps = call == "delete" and "ldap" in type(way.adapter).__module__
    assert state(way.other, call) == (before if is_lost and not in_two_steps else _DONE.get(call))
    # What comes next has a connection of its own.
    assert state(way.adapter, call) == state(way.other, call)


def test_a_write_that_reaches_nobody_is_not_done(way: Way) -> None:
    way.other.create(USER, _BEFORE)
    way.adapter.check()
    way.adapter.close()
    way.proxy.close()

    for call in CALLS.values():
        with pytest.raises(StorageUnavailable):
            call(way.adapter)


def test_reading_ends_in_no_unknown_outcome(way: Way) -> None:
    way.other.create(USER, _BEFORE)
    way.adapter.check()
    texts = {"mongo": b"\x02aggregate\x00", "ldap": b"scimId=1"}
    module = type(way.adapter).__module__
    way.proxy.fatal = next((text for kind, text in texts.items() if kind in module), b"SELECT")

    try:
        found = way.adapter.get(USER, "1").document["title"]
    except StorageUnavailable:
        found = "old"
    assert found == "old" and way.proxy.cuts == 1
