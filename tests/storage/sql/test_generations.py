"""Processes with other settings on one database: every index row is there, unique values are unique.

A process of an older generation is an adapter here, or a process of a release up to 0.2.0, which knows no
generation: its SQL statements, as those releases have them.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from schema.resource_type import ResourceType
from storage.adapter import Member
from storage.attempts import repeated
from storage.errors import Contention, SettingsSuperseded, StorageError, UniquenessConflict
from storage.sql.adapter import SqlAdapter
from storage.testing import GROUP, USER, stored
from storage.testing.resources import ids_matching
from tests.servers import SqliteFolder
from tests.storage.other_settings import BEFORE, EXACT, FREE, MORE, OTHERS, TITLE
from tests.storage.sql.conftest import Open, Server
from tests.storage.sql.old_process import OldProcess


def tables(server: Server, url: str) -> tuple[list[Any], list[Any]]:
    """Return all rows of scim_attribute and scim_unique, by the names of paths and the ids of resources."""
    return (
        sorted(
            server.execute(
                url,
                "SELECT p.path, a.value, a.element, COALESCE(r.id, 'gone') FROM scim_attribute a LEFT JOIN "
                "scim_path p ON p.number = a.path LEFT JOIN scim_resource r ON r.rid = a.rid",
            )
        ),
        sorted(
            server.execute(
                url,
                "SELECT p.path, u.value, COALESCE(r.id, 'gone') FROM scim_unique u LEFT JOIN "
                "scim_path p ON p.number = u.path LEFT JOIN scim_resource r ON r.rid = u.rid",
            )
        ),
    )


def writes(adapter: SqlAdapter, user: ResourceType) -> dict[str, Callable[[], object]]:
    """Return a call for each way to change users; `one` is there."""
    return {
        "create": lambda: adapter.create(user, stored("two", userName="Two", nickName="N", title="T")),
        "create_many": lambda: adapter.create_many(user, [stored("three", userName="Three", nickName="N")]),
        "replace": lambda: adapter.replace(user, stored("one", userName="Uno", nickName="N", externalId="x")),
        "delete": lambda: adapter.delete(user, "one"),
    }


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("write", ["create", "create_many", "replace", "delete"])
def test_a_process_of_an_older_generation_writes_nothing(
    server: Server, opened: Open, other: str, write: str
) -> None:
    url = server.new_database()
    old = opened(url, BEFORE[0], indexed_attributes=BEFORE[1])
    old.create(USER, stored("one", userName="One", nickName="N", externalId="e"))
    opened(url, OTHERS[other][0], indexed_attributes=OTHERS[other][1])
    before = tables(server, url)

    with pytest.raises(SettingsSuperseded, match="restart"):
        writes(old, USER)[write]()

    with pytest.raises(SettingsSuperseded):
        old.check_writable()
    assert tables(server, url) == before
    assert old.get(USER, "one").version == "1"


@pytest.mark.parametrize("other", OTHERS)
def test_the_process_that_starts_last_writes_and_the_one_before_does_not(
    server: Server, opened: Open, other: str
) -> None:
    """Here the process with the old settings starts after the one with the new ones."""
    url = server.new_database()
    resource_types, indexed = OTHERS[other]
    new = opened(url, resource_types, indexed_attributes=indexed)
    new.create(resource_types[0], stored("one", userName="One", nickName="N"))
    old = opened(url, BEFORE[0], indexed_attributes=BEFORE[1])

    with pytest.raises(SettingsSuperseded):
        new.create(resource_types[0], stored("two", userName="Two"))

    old.create(USER, stored("two", userName="Two", title="T"))
    assert ids_matching(old, USER, 'userName eq "two"') == ["two"]
    # A third one of the new settings lets all of them write again.
    opened(url, resource_types, indexed_attributes=indexed)
    three = stored("three", userName="Three", nickName="N")
    assert repeated(lambda: new.create(resource_types[0], three), Contention).version == "1"
    with pytest.raises(SettingsSuperseded):
        old.create(USER, stored("four", userName="Four"))
    assert ids_matching(new, resource_types[0], 'userName eq "Two" or nickName eq "n"') == [
        "one",
        "two",
        "three",
    ]


@pytest.mark.parametrize("other", OTHERS)
def test_what_an_older_generation_finds_is_right(server: Server, opened: Open, other: str) -> None:
    url = server.new_database()
    old = opened(url, BEFORE[0], indexed_attributes=BEFORE[1])
    for name in ("Ann", "Bob"):
        old.create(USER, stored(name, userName=name, title="T"))
    resource_types, indexed = OTHERS[other]
    new = opened(url, resource_types, indexed_attributes=indexed)
    new.create(resource_types[0], stored("Cleo", userName="Cleo", title="t"))

    for _ in range(2):
        assert ids_matching(old, USER, 'userName eq "ANN"') == ["Ann"]
        assert ids_matching(old, USER, 'title eq "t"') == ["Ann", "Bob", "Cleo"]
        assert ids_matching(old, USER, 'userName eq "cleo" and nickName pr') == []
        assert ids_matching(old, USER, 'not (userName sw "B")') == ["Ann", "Cleo"]


def test_another_type_does_not_keep_a_process_from_writing(server: Server, opened: Open) -> None:
    url = server.new_database()
    users = opened(url, [USER], indexed_attributes=TITLE)
    both = opened(url, [USER, GROUP], indexed_attributes=TITLE)

    users.create(USER, stored("one", userName="One", title="T"))

    assert ids_matching(both, USER, 'title eq "t"') == ["one"]


def test_groups_and_members_of_a_type_that_only_others_have_are_left_out(
    server: Server, opened: Open
) -> None:
    url = server.new_database()
    both = opened(url, [USER, GROUP])
    both.create(USER, stored("ann", userName="ann"))
    crew = both.create(GROUP, stored("crew", displayName="Crew"))
    both.create(GROUP, stored("all", displayName="All"))
    both.change_members(GROUP, crew, [Member("ann", "User", None)], ())
    both.change_members(GROUP, both.get(GROUP, "all"), [Member("crew", "Group", None)], ())
    users, groups = opened(url, [USER]), opened(url, [GROUP])

    assert users.memberships(USER, [users.get(USER, "ann")]) == {}
    assert [one.resource_id for one in users.find(["ann", "crew"])] == ["ann"]
    assert list(groups.members(GROUP, crew)) == list(groups.among_members(GROUP, crew, ["ann"])) == []
    assert [one.resource_id for one in groups.members(GROUP, groups.get(GROUP, "all"))] == ["crew"]
    with users.transaction():
        assert users.get_to_delete(USER, "ann")[1] == []
        users.delete(USER, "ann")
    assert list(both.members(GROUP, crew)) == []


def test_a_write_under_way_is_indexed_by_the_process_that_starts_meanwhile(
    server: Server, opened: Open
) -> None:
    url = server.new_database()
    old = opened(url, BEFORE[0], indexed_attributes=TITLE)
    old.create(USER, stored("one", userName="One", nickName="N"))
    started: list[SqlAdapter] = []

    def start() -> None:
        started.append(opened(url, indexed_attributes=MORE))
        started[0].close()

    thread = threading.Thread(target=start)
    with old.transaction():
        old.replace(USER, stored("one", userName="One", nickName="M"))
        old.create(USER, stored("two", userName="Two", nickName="N"))
        thread.start()
        time.sleep(0.5)
        assert not started, "it waits for the write"
    thread.join()

    assert ids_matching(started[0], USER, 'nickName eq "m"') == ["one"]
    assert ids_matching(started[0], USER, 'nickName eq "n"') == ["two"]


def test_a_new_type_beside_other_rules_lets_no_write_in_between(server: Server, opened: Open) -> None:
    """MySQL commits with each definition: those of the new type must not part the rules from their number."""
    if isinstance(server, SqliteFolder):
        pytest.skip("has no locks of rows to stop a start with")
    url = server.new_database()
    old = opened(url, [USER], indexed_attributes=TITLE)
    old.create(USER, stored("one", userName="One", title="T"))
    starting = threading.Thread(target=lambda: opened(url, [GROUP, EXACT[0]], indexed_attributes=TITLE))
    writing = threading.Thread(target=lambda: refused.append(refusal(old)))
    refused: list[str] = []
    path = server.execute(url, "SELECT number FROM scim_path WHERE path = 'userName'")[0][0]

    with closing(server._connect(url.rpartition("/")[2])) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM scim_attribute WHERE path = {path} FOR UPDATE")
        starting.start()
        time.sleep(1)
        assert starting.is_alive(), "its rows of the path are locked"
        writing.start()
        writing.join(1)
        assert writing.is_alive(), "it waits for the start"
    starting.join()
    writing.join()

    assert refused == ["SettingsSuperseded"]
    assert refusal(old) == "SettingsSuperseded"


def refusal(adapter: SqlAdapter) -> str:
    """Return what a write raises, if repeated after a lost race, or nothing."""
    user = stored(f"two{time.monotonic_ns()}", userName=f"Two{time.monotonic_ns()}", title="T")
    try:
        repeated(lambda: adapter.create(USER, user), Contention)
    except StorageError as exc:
        return type(exc).__name__
    return ""


def test_processes_that_write_while_others_start_leave_no_row_out(server: Server, opened: Open) -> None:
    url = server.new_database()
    old = opened(url, BEFORE[0], indexed_attributes=TITLE)
    written: list[str] = []

    def write() -> None:
        for number in range(2_000):
            try:
                old.create(USER, stored(f"u{number}", userName=f"u{number}", nickName="N"))
            except StorageError:
                break
            written.append(f"u{number}")
        old.close()

    thread = threading.Thread(target=write)
    thread.start()
    while len(written) < 20:
        time.sleep(0.01)
    new = opened(url, indexed_attributes=MORE)
    thread.join()

    assert len(written) < 2_000, "it was refused"
    assert ids_matching(new, USER, 'nickName eq "n"') == written


@pytest.mark.parametrize("other", OTHERS)
def test_rows_of_a_process_without_a_generation_are_made_again(
    server: Server, opened: Open, other: str
) -> None:
    url = server.new_database()
    first = opened(url, BEFORE[0], indexed_attributes=BEFORE[1])
    for name in ("One", "Two", "Three"):
        first.create(USER, stored(name, userName=name, title="T", nickName="N", externalId=name))
    old = OldProcess(url)
    resource_types, indexed = OTHERS[other]
    new = opened(url, resource_types, indexed_attributes=indexed)
    user = resource_types[0]

    old.create("Four", userName="Four", title="T", nickName="N", externalId="e")
    old.replace("Two", userName="Deux", title="T", nickName="M")
    old.delete("Three")
    # Of what is not mended yet, a write keeps the mark.
    four = new.get(user, "Four")
    new.replace(user, replace(four, text=four.text.replace('"T"', '"Q"')))
    assert new.mend() == 2
    assert new.mend() == 0

    last = opened(server.new_database(), resource_types, indexed_attributes=indexed)
    for name in ("One", "Two", "Four"):
        last.create(user, new.get(user, name))
    assert tables(server, url) == tables(server, last.state_database.name)
    assert new.create(user, stored("Tres", userName="Three", externalId="Three")).version == "1"
    with pytest.raises(UniquenessConflict):
        new.create(user, stored("Quatre", userName="Four"))
    old.close()


def test_what_an_old_process_deleted_is_looked_for_a_part_at_a_time(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.index.mending._PART", 3)
    url = server.new_database()
    names = [f"u{number}" for number in range(10)]
    first = opened(url, indexed_attributes=TITLE)
    for name in names:
        first.create(USER, stored(name, userName=name, nickName="N", externalId=name))
    old = OldProcess(url)
    new = opened(url, indexed_attributes=MORE)
    for name in names[::2]:
        old.delete(name)

    for _ in range(5):
        assert new.mend() == 0

    assert ids_matching(new, USER, 'nickName eq "n"') == names[1::2]
    for name in names[::2]:
        new.create(USER, stored(f"again-{name}", userName=name, externalId=name))
    last = opened(server.new_database(), indexed_attributes=MORE)
    for one in new.scan(USER):
        last.create(USER, one)
    assert tables(server, url) == tables(server, last.state_database.name)
    old.close()


def test_a_value_that_an_old_process_gave_to_a_second_resource_is_named(
    server: Server, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The old process knows externalId as free, the new one as unique."""
    url = server.new_database()
    opened(url, FREE, indexed_attributes=TITLE).create(FREE[0], stored("one", userName="one", externalId="e"))
    old = OldProcess(url, FREE[0])
    new = opened(url, indexed_attributes=TITLE)

    old.create("two", userName="two", externalId="e")
    old.create("three", userName="three", externalId="f")

    assert new.mend() == 2
    assert "User two: another resource has the same externalId" in caplog.text
    for value in ("e", "f"):
        with pytest.raises(UniquenessConflict):
            new.create(USER, stored("four", userName="four", externalId=value))
    assert ids_matching(new, USER, 'externalId eq "e"') == ["one", "two"]
    old.close()


def test_what_an_old_process_wrote_before_a_start_is_mended_by_it(server: Server, opened: Open) -> None:
    url = server.new_database()
    opened(url, indexed_attributes=TITLE)
    old = OldProcess(url)
    opened(url, indexed_attributes=MORE)
    old.create("one", userName="one", nickName="N")

    assert ids_matching(opened(url, indexed_attributes=MORE), USER, 'nickName eq "n"') == ["one"]
    old.close()
