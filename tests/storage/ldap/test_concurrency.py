"""Several processes and threads on one directory, and servers that end in between."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import ldap
import pytest

from storage.adapter import Member
from storage.claims import Claim, Claims, UniqueValue
from storage.errors import (
    OutcomeUnknown,
    ResourceNotFound,
    StorageUnavailable,
    UniquenessConflict,
    VersionMismatch,
)
from storage.ldap.claims import LdapClaims
from storage.ldap.wire import Session
from storage.testing import GROUP, USER, change_members, members_of, stored
from tests.openldap import LdapServer
from tests.storage.ldap.conftest import Place, make_place

PROCESSES = 8


def in_processes(work: Callable[[int], str]) -> list[str]:
    """Run `work` in forked processes, all at once, and return what each of them returned."""
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(PROCESSES), context.Queue()

    def run(number: int) -> None:
        barrier.wait()
        try:
            answers.put(work(number))
        except Exception as exc:
            answers.put(repr(exc))

    processes = [context.Process(target=run, args=(number,)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return sorted(found)


def test_of_eight_processes_one_creates_a_user_name(place: Place) -> None:
    for turn in range(3):

        def create(number: int, name: str = f"same{turn}") -> str:
            try:
                place.adapter.create(USER, stored(f"{name}-{number}", userName=name.upper(), externalId=name))
                return "created"
            except UniquenessConflict:
                return "conflict"

        assert in_processes(create) == ["conflict"] * 7 + ["created"]
    assert len(list(place.adapter.scan(USER))) == 3


def test_of_eight_processes_one_renames_to_a_user_name(place: Place) -> None:
    for number in range(PROCESSES):
        place.adapter.create(USER, stored(str(number), userName=f"u{number}"))

    def rename(number: int) -> str:
        try:
            place.adapter.replace(USER, stored(str(number), userName="wanted"))
            return "renamed"
        except UniquenessConflict:
            return "conflict"

    assert in_processes(rename) == ["conflict"] * 7 + ["renamed"]
    names = sorted(r.document["userName"] for r in place.adapter.scan(USER))
    assert len(set(names)) == PROCESSES and "wanted" in names


def test_of_eight_processes_one_changes_a_version(place: Place) -> None:
    version = place.adapter.create(USER, stored("1", userName="a")).version
    for _ in range(3):

        def change(number: int, version: str = version) -> str:
            try:
                resource = stored("1", userName="a", title=str(number))
                return place.adapter.replace(USER, resource, version).version
            except VersionMismatch:
                return ""

        *stale, version = in_processes(change)
        assert stale == [""] * 7
        assert place.adapter.get(USER, "1").version == version


def test_of_eight_processes_one_takes_over_an_entry_by_others(place: Place) -> None:
    place.add("uid=carol,ou=Users", objectClass=b"inetOrgPerson", cn=b"C", sn=b"C")
    [before] = place.adapter.scan(USER)

    def change(number: int) -> str:
        try:
            resource = stored(before.id, userName="carol", title=str(number))
            place.adapter.replace(USER, resource, before.version)
            return "changed"
        except VersionMismatch:
            return "late"

    assert in_processes(change) == ["changed"] + ["late"] * 7
    place.adapter.replace(USER, stored(before.id, userName="carol"))


def test_of_a_change_and_a_deletion_one_wins(place: Place) -> None:
    for _ in range(3):
        version = place.adapter.create(USER, stored("1", userName="a")).version

        def work(number: int, version: str = version) -> str:
            try:
                if number % 2:
                    place.adapter.delete(USER, "1", version)
                    return "deleted"
                place.adapter.replace(USER, stored("1", userName="a", title="t"), version)
                return "changed"
            except (VersionMismatch, ResourceNotFound):
                return "late"

        outcomes = in_processes(work)
        assert outcomes.count("late") == 7
        if "changed" in outcomes:
            place.adapter.delete(USER, "1")
        with pytest.raises(ResourceNotFound):
            place.adapter.get(USER, "1")


def test_no_member_is_lost_when_many_join_at_once(place: Place) -> None:
    for number in range(PROCESSES):
        for step in range(5):
            place.adapter.create(USER, stored(f"{number}-{step}", userName=f"{number}-{step}"))
    place.adapter.create(GROUP, stored("g", displayName="G"))

    def join(number: int) -> str:
        for step in range(5):
            change_members(place.adapter, "g", [Member(f"{number}-{step}", "User", "Shown")], ())
        change_members(place.adapter, "g", (), [f"{number}-0"])
        return "done"

    assert in_processes(join) == ["done"] * PROCESSES
    members = list(members_of(place.adapter, "g"))
    assert {m.resource_id for m in members} == {f"{n}-{s}" for n in range(PROCESSES) for s in range(1, 5)}
    assert {m.display for m in members} == {"Shown"}


def test_a_child_of_a_fork_leaves_the_connections_of_its_parent_alone(place: Place) -> None:
    place.adapter.create(USER, stored("1", userName="a"))

    def read(number: int) -> str:
        for _ in range(20):
            place.adapter.get(USER, "1")
        return "read"

    assert in_processes(read) == ["read"] * PROCESSES
    assert place.adapter.get(USER, "1").document["userName"] == "a"


def claims_for(place: Place, session: Session, resource_id: str, **clock: Any) -> tuple[Claims, str]:
    """Return the claims of a writer, and the name of the entry that they are for."""
    unit = place.adapter._tree.units["User"]
    dn = unit.name_of(resource_id)
    return place.adapter._writer._uniqueness.claims(session, unit, dn, **clock), dn


def test_an_abandoned_claim_is_taken_over_by_one(place: Place) -> None:
    with place.adapter._directory.lease() as session:
        claims, dn = claims_for(place, session, "gone", clock=lambda: 1)
        claims.claim(dn, [UniqueValue("User", "userName", "left")])

    def create(number: int) -> str:
        try:
            place.adapter.create(USER, stored(str(number), userName="left"))
            return "created"
        except UniquenessConflict:
            return "conflict"

    assert in_processes(create) == ["conflict"] * 7 + ["created"]


def test_a_young_claim_is_left_alone(place: Place) -> None:
    with place.adapter._directory.lease() as session:
        claims, dn = claims_for(place, session, "coming")
        claims.claim(dn, [UniqueValue("User", "userName", "pending")])

    with pytest.raises(UniquenessConflict):
        place.adapter.create(USER, stored("1", userName="pending"))


def test_an_owner_who_writes_after_all_keeps_its_claim(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = UniqueValue("User", "userName", "slow")
    replace_if = LdapClaims.replace_if

    def late(self: LdapClaims, seen: Claim, new: Claim) -> bool:
        monkeypatch.undo()
        place.add("uid=slow,ou=Users", objectClass=b"inetOrgPerson", cn=b"S", sn=b"S")
        return replace_if(self, seen, new)

    with place.adapter._directory.lease() as session:
        dn = f"uid=slow,ou=Users,{place.base}"
        unit = place.adapter._tree.units["User"]
        slow = place.adapter._writer._uniqueness.claims(session, unit, dn, clock=lambda: 1)
        made = slow.claim(dn, [value])
        monkeypatch.setattr(LdapClaims, "replace_if", late)

        with pytest.raises(UniquenessConflict):
            claims, other = claims_for(place, session, "other")
            claims.claim(other, [value])
        assert not slow.lost(made)


def test_a_writer_whose_claim_was_taken_over_gives_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Session.add

    def slow(self: Session, dn: str, *rest: Any) -> Any:
        # Before the entry is there, another writer replaces the claim, which is old.
        if dn.startswith("scimId=1,") or dn.startswith("uniqueIdentifier=1,"):
            monkeypatch.undo()
            connection = place.server.connect()
            [(claim, _)] = connection.search_s(place.base, ldap.SCOPE_SUBTREE, "(serialNumber=*)")
            changes = [(ldap.MOD_REPLACE, "serialNumber", b"1"), (ldap.MOD_REPLACE, "description", b"cn=x")]
            connection.modify_s(claim, changes)
            connection.unbind_s()
        return add(self, dn, *rest)

    monkeypatch.setattr(Session, "add", slow)

    with pytest.raises(UniquenessConflict, match="userName"):
        place.adapter.create(USER, stored("1", userName="a"))
    place.adapter.create(USER, stored("2", userName="a"))

    assert [r.id for r in place.adapter.scan(USER)] == ["2"]


def test_a_claim_of_another_writer_of_the_same_entry_is_not_released(place: Place) -> None:
    value = UniqueValue("User", "userName", "a")
    with place.adapter._directory.lease() as session:
        (first, dn), (second, _) = claims_for(place, session, "1"), claims_for(place, session, "1")
        slow = first.claim(dn, [value])
        made = second.claim(dn, [value])

        first.release(slow)

        assert not second.lost(made)
        assert [claim.token for claim in second._store.read([value])] == [made[0].token]


def test_a_claim_is_stored_as_releases_before_stored_it(place: Place) -> None:
    name = sha256(b"User\0userName\0ann").hexdigest()
    owner = f"cn=gone,ou=Users,{place.base}".encode()
    claim = {"cn": name.encode(), "o": b"User userName", "description": owner}
    serial_number = str(time.time_ns()).encode()
    place.add(f"cn={name},ou=scim-unique", objectClass=b"device", serialNumber=serial_number, **claim)

    with pytest.raises(UniquenessConflict):
        place.adapter.create(USER, stored("1", userName="Ann"))
    place.change(place.entry(f"(cn={name})")["dn"][0], (ldap.MOD_REPLACE, "serialNumber", b"1"))
    place.adapter.create(USER, stored("1", userName="Ann"))

    found = place.entry(f"(cn={name})", "cn", "o", "description", "serialNumber", "objectClass")
    age_ns = time.time_ns() - int(found.pop("serialNumber")[0])
    assert 0 < age_ns < 60 * 10**9
    dn, unit = found.pop("dn")[0].decode(), place.adapter._tree.units["User"]
    assert dn == f"cn={name},ou=scim-unique,{place.base}"
    expected = {**claim, "objectClass": b"device", "description": unit.name_of("1").encode()}
    assert found == {attribute: [value] for attribute, value in expected.items()}


@pytest.fixture(params=[True, False], ids=["schema", "plain"])
def own_place(request: pytest.FixtureRequest) -> Any:
    server = LdapServer(with_schema=request.param)
    yield make_place(server)
    server.remove()


def test_a_server_that_is_killed_and_comes_back_is_used_again(own_place: Place) -> None:
    place = own_place
    for number in range(3):
        place.adapter.create(USER, stored(str(number), userName=f"u{number}"))
    place.server.stop(signal.SIGKILL)

    with pytest.raises(StorageUnavailable):
        place.adapter.get(USER, "1")
    with pytest.raises(StorageUnavailable):
        place.adapter.create(USER, stored("9", userName="u9"))
    with pytest.raises(StorageUnavailable):
        place.adapter.check()
    place.server.restart()

    place.adapter.check()
    assert place.adapter.get(USER, "1").document["userName"] == "u1"
    place.server.stop(signal.SIGKILL)
    place.server.restart()
    place.adapter.create(USER, stored("9", userName="u9"))
    assert len(list(place.adapter.scan(USER))) == 4


def test_what_was_acknowledged_before_a_kill_is_there_after_it(own_place: Place) -> None:
    place, acknowledged, stop = own_place, [], threading.Event()

    def work(number: int) -> None:
        step = 0
        while not stop.is_set():
            step += 1
            try:
                created = place.adapter.create(USER, stored(f"{number}-{step}", userName=f"{number}-{step}"))
                place.adapter.replace(USER, stored(created.id, userName=created.id + "x"), created.version)
                acknowledged.append(created.id)
            except (StorageUnavailable, OutcomeUnknown):
                # What the server did not answer was not acknowledged.
                stop.wait(0.01)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        stop.wait(0.3)
        place.server.stop(signal.SIGKILL)
        place.server.restart()
    stop.wait(0.3)
    stop.set()
    for thread in threads:
        thread.join()

    kept = {r.id: r.document["userName"] for r in place.adapter.scan(USER)}
    assert len(acknowledged) > 20
    assert {i: kept.get(i) for i in acknowledged} == {i: f"{i}x" for i in acknowledged}
    assert len(set(kept.values())) == len(kept)


@pytest.mark.parametrize(
    "call",
    [
        lambda adapter: adapter.check(),
        lambda adapter: adapter.get(USER, "1"),
        lambda adapter: adapter.create(USER, stored("2", userName="b")),
        lambda adapter: adapter.replace(USER, stored("1", userName="b")),
        lambda adapter: adapter.replace(USER, replace(stored("1", userName="b"), secrets={"password": "x"})),
        lambda adapter: adapter.delete(USER, "1"),
        lambda adapter: list(adapter.scan(USER)),
        lambda adapter: list(adapter.members(GROUP, stored("g"))),
        lambda adapter: adapter.among_members(GROUP, stored("g"), ["1"]),
        lambda adapter: adapter.change_members(
            GROUP, stored("g"), [Member("1", "User")], [Member("2", "User")]
        ),
        lambda adapter: adapter.memberships(USER, [stored("1")]),
        lambda adapter: adapter.find(["1"]),
        lambda adapter: adapter.prepare([USER]),
    ],
)
def test_every_failure_of_the_server_is_one_of_the_storage(
    gone: Any, call: Callable[[Any], object]
) -> None:
    with pytest.raises(StorageUnavailable):
        call(gone)


@pytest.fixture(scope="module")
def gone() -> Any:
    """An adapter whose server has ended."""
    server = LdapServer()
    place = make_place(server)
    place.adapter.create(USER, stored("1", userName="a"))
    server.remove()
    assert not os.path.exists(server.folder)
    return place.adapter
