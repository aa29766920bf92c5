"""What is done for adapters of five methods, beyond the contract: turns of writers, and single writes."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from json_lines.adapter import JsonLinesAdapter
from storage.adapter import Member, StorageAdapter
from storage.complete import complete, is_for_one_process
from storage.errors import UniquenessConflict
from storage.testing import GROUP, REGISTRY, USER, members, members_of, memberships_of, stored
from tests.backends import open_backend
from tests.distributions import EXAMPLE, ROOT
from tests.storage.memory import MemoryAdapter, MemoryWithMembers

# Writes until it is killed, and says what was written: a user, then a group that the user joins.
WRITER = """
import sys
from pathlib import Path
from json_lines.adapter import JsonLinesAdapter
from storage.adapter import Member
from storage.complete import complete
from storage.testing import GROUP, REGISTRY, USER, stored

adapter = complete(JsonLinesAdapter(Path(sys.argv[1])), REGISTRY.resource_types)
for number in range(1_000_000):
    name = f"{sys.argv[2]}-{number}"
    adapter.create(USER, stored(name, userName=name))
    adapter.change_members(GROUP, stored("g", displayName="G"), [Member(name, "User")], ())
    print(name, flush=True)
"""

# Of names that all processes want it gets some; all of its users join the group; it counts in a title.
RACER = """
import sys
from pathlib import Path
from json_lines.adapter import JsonLinesAdapter
from storage.adapter import Member
from storage.complete import complete
from storage.errors import UniquenessConflict, VersionMismatch
from storage.testing import GROUP, REGISTRY, USER, stored

adapter, me = complete(JsonLinesAdapter(Path(sys.argv[1])), REGISTRY.resource_types), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    try:
        adapter.create(USER, stored(f"{me}-{number}", userName=f"name {number}"))
        print("created", flush=True)
    except UniquenessConflict:
        adapter.create(USER, stored(f"{me}-{number}", userName=f"{me} {number}"))
    adapter.change_members(GROUP, stored("g", displayName="G"), [Member(f"{me}-{number}", "User")], ())
    now = adapter.get(USER, "counter")
    title = str(int(now.document["title"]) + 1)
    try:
        adapter.replace(USER, stored("counter", userName="counter", title=title), now.version)
        print("counted", flush=True)
    except VersionMismatch:
        pass
"""


@pytest.fixture
def lines(tmp_path: Path) -> JsonLinesAdapter:
    adapter = JsonLinesAdapter(tmp_path / "scim.jsonl")
    adapter.prepare(REGISTRY.resource_types)
    return adapter


def completed(adapter: StorageAdapter) -> StorageAdapter:
    return complete(adapter, REGISTRY.resource_types)


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process of a script."""
    command, pipe = [sys.executable, "-c", script, *arguments], subprocess.PIPE
    environ = {**os.environ, "PYTHONPATH": str(EXAMPLE)}
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True)


def killed(script: str, seconds: float, *arguments: str) -> set[str]:
    """Return the lines that a process of a script printed before it was killed, so long after the first."""
    with started(script, *arguments) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        rest = [line for line in process.stdout if line.endswith("\n")]
    return {line.strip() for line in (first, *rest)}


# -- one write


@pytest.mark.parametrize("make", [MemoryAdapter, None], ids=["of one process", "of several"])
def test_a_group_and_its_members_are_one_version(
    make: Callable[[], StorageAdapter] | None, lines: JsonLinesAdapter
) -> None:
    kept = make() if make else lines
    adapter = completed(kept)
    for name in "abc":
        adapter.create(USER, stored(name, userName=name))

    created = adapter.create_with_members(GROUP, stored("g", displayName="G"), members("ab"))
    with adapter.transaction():
        assert adapter.change_members(GROUP, created, members("c"), members("a"))
        assert kept.get(GROUP, "g").version == created.version
        changed = adapter.replace(GROUP, stored("g", displayName="H"), created.version)

    assert int(changed.version) == int(created.version) + 1
    assert kept.get(GROUP, "g").version == changed.version
    assert [member.resource_id for member in members_of(adapter, "g")] == ["b", "c"]


def test_members_are_written_at_the_end_of_a_turn_without_replace() -> None:
    adapter = completed(MemoryAdapter())
    adapter.create(USER, stored("a", userName="a"))
    created = adapter.create(GROUP, stored("g", displayName="G"))

    with adapter.transaction():
        adapter.change_members(GROUP, created, members("a"), ())

    assert list(members_of(adapter, "g")) == [Member("a", "User", "a")]
    assert adapter.get(GROUP, "g").last_modified == created.last_modified


def test_nothing_is_written_of_a_turn_that_failed() -> None:
    adapter = completed(MemoryAdapter())
    adapter.create(USER, stored("a", userName="a"))
    created = adapter.create(GROUP, stored("g", displayName="G"))

    with pytest.raises(ZeroDivisionError), adapter.transaction():
        adapter.change_members(GROUP, created, members("a"), ())
        raise ZeroDivisionError

    adapter.replace(GROUP, stored("g", displayName="H"))
    assert list(members_of(adapter, "g")) == []


def test_the_name_of_a_member_follows_the_member() -> None:
    adapter = completed(MemoryAdapter())
    for name in "ab":
        adapter.create(USER, stored(name, userName=name, displayName=f"Old {name}"))
    joining = [Member("a", "User", "Old a"), Member("b", "User", "Boss")]
    adapter.create_with_members(GROUP, stored("g", displayName="G"), joining)

    for name in "ab":
        adapter.replace(USER, stored(name, userName=name, displayName=f"New {name}"))

    assert [member.display for member in members_of(adapter, "g")] == ["New a", "Boss"]


def test_a_member_that_does_not_exist_is_none() -> None:
    adapter = completed(MemoryAdapter())
    created = adapter.create_with_members(GROUP, stored("g", displayName="G"), members("a"))

    assert not adapter.change_members(GROUP, created, members("a"), ())
    adapter.create(USER, stored("a", userName="a"))
    assert list(members_of(adapter, "g")) == [] and memberships_of(adapter, ["a"]) == {}


@pytest.mark.parametrize("make", [MemoryAdapter, MemoryWithMembers])
@pytest.mark.parametrize(
    "taken",
    [
        stored("3", userName="ANN"),
        stored("1", userName="cid"),
        stored("g", userName="cid"),
        stored("2", userName="cid"),
        stored("3", userName="bob"),
    ],
    ids=["name", "id", "id of a group", "id among them", "name among them"],
)
def test_of_several_that_are_created_none_is_kept_where_one_is_taken(
    make: Callable[[], StorageAdapter], taken: Any
) -> None:
    adapter = completed(make())
    adapter.create(USER, stored("1", userName="ann"))
    adapter.create(GROUP, stored("g", displayName="G"))

    with pytest.raises(UniquenessConflict):
        adapter.create_many(USER, [stored("2", userName="bob"), taken])

    assert [one.id for one in adapter.scan(USER)] == ["1"]
    adapter.create_many(USER, [stored("2", userName="bob"), stored("3", userName="cid")])
    assert [one.id for one in adapter.scan(USER)] == ["1", "2", "3"]


def test_what_an_adapter_returned_comes_back_to_it_whole() -> None:
    kept = MemoryAdapter()
    adapter = completed(kept)
    adapter.create(USER, stored("a", userName="a"))
    group = adapter.create_with_members(GROUP, stored("g", displayName="G"), members("a"))
    group = adapter.replace(GROUP, replace(group, last_modified="2026-03-01T00:00:00.000Z"))

    assert kept.get(GROUP, "g").document["members"] == [{"value": "a", "type": "User"}]
    # Nor does it keep all the states that there were.
    assert group.source is kept.get(GROUP, "g") and kept.get(GROUP, "g").source is None


# -- several processes


def test_an_adapter_says_how_many_processes_it_is_for(lines: JsonLinesAdapter, tmp_path: Path) -> None:
    sql = open_backend("sql", database_url=f"sqlite:///{tmp_path}/scim.db")

    assert is_for_one_process(completed(MemoryAdapter()))
    assert is_for_one_process(completed(MemoryWithMembers()))
    assert not is_for_one_process(completed(lines))
    assert completed(sql) is sql and not is_for_one_process(sql)


def test_processes_that_race_overwrite_nothing_of_each_other(lines: JsonLinesAdapter) -> None:
    adapter = completed(lines)
    adapter.create(GROUP, stored("g", displayName="G"))
    adapter.create(USER, stored("counter", userName="counter", title="0"))
    with ExitStack() as stack:
        racers = [stack.enter_context(started(RACER, path_of(lines), name)) for name in "abc"]
        for racer in racers:
            assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = Counter(line.strip() for racer in racers for line in racer.stdout or ())
    assert [racer.returncode for racer in racers] == [0] * 3

    names = [one.document["userName"] for one in adapter.scan(USER)]
    assert said["created"] == 100 and len(set(names)) == len(names) == 301
    assert {member.resource_id for member in members_of(adapter, "g")} == {
        f"{name}-{number}" for name in "abc" for number in range(100)
    }
    assert said["counted"] == int(adapter.get(USER, "counter").document["title"]) >= 100


def test_processes_that_are_killed_leave_whole_resources(lines: JsonLinesAdapter) -> None:
    adapter, path = completed(lines), path_of(lines)
    adapter.create(GROUP, stored("g", displayName="G"))

    with ThreadPoolExecutor(2) as pool:
        runs = [(WRITER, number * 0.02, path, f"run {number}") for number in range(6)]
        told = set().union(*pool.map(lambda run: killed(*run), runs))

    kept = {one.id for one in adapter.scan(USER)}
    joined = {member.resource_id for member in members_of(adapter, "g")}
    assert len(told) > 6 and told <= joined <= kept
    # Of each process, at most the last user has not joined.
    assert len(kept - joined) <= 6


def path_of(lines: JsonLinesAdapter) -> str:
    return str(lines._path)
