"""`scim audit`: the change log for people, exported, verified and signed."""

import json
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.protocol.keys import Purpose
from app.wiring.delivery import Delivery
from set_delivery.change_log import ChangeEntry, ChangeLog, chained, contents
from set_delivery.change_order import ChangeOrder
from tests.conftest import KEY, ScimClient
from tests.events import POLL

pytestmark = pytest.mark.on("sqlite", "files", "postgresql", "mariadb")

# 2026-01-01T00:00:00Z
START = 1_767_225_600_000
ENTRY = ChangeEntry(
    START, "User", "u", None, "patch", "2", '["title","emails"]', "key-1", "c1", "192.0.2.1", "rest", "t", "r"
)


@dataclass(frozen=True)
class Log:
    """The log of a served base, and the command that reads it."""

    delivery: Delivery

    def append(self, count: int) -> None:
        """Append changes, one a minute."""
        log = ChangeLog(self.delivery.database)
        with self.delivery.database.transaction():
            for number in range(count):
                at = START + number * 60_000
                log.append(ENTRY._replace(at=at, resource_id=f"u{number}", txn=f"t{number}"))
        self.delivery.dispatcher.run()

    def sql(self, *statements: str) -> None:
        with self.delivery.database.transaction():
            for statement in statements:
                self.delivery.database.run(statement)

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["audit", *words])


@pytest.fixture
def log(
    make_scim: Callable[..., ScimClient],
    backend: Callable[[set[str]], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Log:
    """The log of a base with six changes."""
    for name, value in {"API_KEY": KEY, "LOGLEVEL": "ERROR", **backend(set()), **POLL}.items():
        monkeypatch.setenv(name, value)
    served = Log(make_scim(**POLL).app.extensions["scim.delivery"])
    served.append(6)
    return served


def lines(result: Result) -> list[Any]:
    """Return the JSON object of each line."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def head_of(result: Result) -> str:
    """Return the head that a command has printed."""
    assert result.exit_code == 0, result.output
    (head,) = [line.rpartition("head: ")[2] for line in result.output.splitlines() if "head: " in line]
    return head


def test_changes_are_listed_newest_first(log: Log) -> None:
    result = log("list", "--limit", "2")

    assert result.exit_code == 0
    newest = "6\t2026-01-01T00:05:00.000Z\tkey-1\tpatch\tUser/u5\t-\ttitle, emails\trest\t192.0.2.1\tt5"
    assert result.stdout.splitlines() == [
        newest,
        newest.replace("6\t", "5\t", 1).replace(":05:", ":04:").replace("u5", "u4").replace("t5", "t4"),
    ]


def test_a_list_is_narrowed_by_resource_and_time(log: Log) -> None:
    def listed(*words: str) -> list[str]:
        return [one["resourceId"] for one in lines(log("list", "--json", *words))]

    assert listed("--resource", "User/u3") == ["u3"]
    assert listed("--resource", "Group/u3") == []
    assert listed("--since", "2026-01-01T00:03:00Z") == ["u5", "u4", "u3"]
    assert listed("--since", "2026-01-01T02:03:00+02:00", "--until", "2026-01-01T00:05:00Z") == ["u4", "u3"]
    assert listed("--since", "1s") == [] and len(listed("--until", "1s")) == 6
    ChangeLog(log.delivery.database).append(ENTRY._replace(at=sys.maxsize // 10**6, resource_id="later"))
    log.delivery.dispatcher.run()
    assert listed("--since", "2d") == ["later"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "--since", "yesterday"), "yesterday is neither a time"),
        (("list", "--until", "9999999999999d"), "is neither a time"),
        (("list", "--resource", "u1"), "u1 is not a resource type and an id"),
        (("list", "--limit", "0"), "0 is not in the range"),
        (("verify", "--head", "6"), "6 is not a position and a hash"),
    ],
)
@pytest.mark.sqlite
def test_what_cannot_be_understood_is_refused(log: Log, words: tuple[str, ...], said: str) -> None:
    result = log(*words)

    assert result.exit_code == 2 and said in result.stderr


def test_clients_write_nothing_to_the_terminal_but_text(log: Log) -> None:
    ChangeLog(log.delivery.database).append(ENTRY._replace(external_id="a\tb\n\x1b[2Jé"))
    log.delivery.dispatcher.run()

    (line,) = log("list", "--limit", "1").stdout.splitlines()

    assert line.split("\t")[5] == "a\\tb\\n\\x1b[2Jé"


def test_an_export_has_every_column_in_order_and_ends_with_the_head(log: Log) -> None:
    result = log("export")

    assert [one["position"] for one in lines(result)] == [1, 2, 3, 4, 5, 6]
    last = lines(result)[-1]
    assert last == {
        "position": 6,
        "hash": last["hash"],
        "seq": last["seq"],
        "at": "2026-01-01T00:05:00.000Z",
        "resourceType": "User",
        "resourceId": "u5",
        "externalId": None,
        "kind": "patch",
        "version": "2",
        "paths": ["title", "emails"],
        "principal": "key-1",
        "credential": "c1",
        "address": "192.0.2.1",
        "origin": "rest",
        "txn": "t5",
        "requestId": "r",
        "before": None,
        "after": None,
        "valuesDigest": None,
    }
    assert result.stderr.splitlines()[-1] == f"head: 6:{last['hash']}"
    assert [one["position"] for one in lines(log("export", "--after", "4"))] == [5, 6]
    assert lines(log("export", "--after", "6")) == []


def test_an_export_behind_the_end_of_the_log_fails(log: Log) -> None:
    result = log("export", "--after", "7")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "the log has no position 7: its last one is 6" in result.stderr
    assert "head: " not in result.stderr


def test_an_export_goes_on_in_batches_and_says_what_was_trimmed(log: Log) -> None:
    log.append(1200)
    assert [one["position"] for one in lines(log("export"))] == list(range(1, 1207))
    keys = log.delivery.keys.derived(Purpose.CHECKPOINTS)
    ChangeOrder(log.delivery.database, keys, lambda: START + 240_000).trim(0)

    result = log("export", "--after", "2")

    assert [one["position"] for one in lines(result)][0] == 5
    assert "the first position behind 2 is 5" in result.stderr


@pytest.mark.sqlite
def test_an_export_is_not_held_in_memory(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(20_000)
    assert log("list").exit_code == 0
    file = tmp_path / "export.ndjson"

    def peak(after: int) -> int:
        with file.open("w") as out:
            monkeypatch.setattr(sys, "stdout", out)
            tracemalloc.start()
            main(["audit", "export", "--after", str(after)], standalone_mode=False)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return peak

    of_one_batch, of_all = peak(20_006 - 500), peak(0)
    size = file.stat().st_size
    assert file.read_bytes().count(b"\n") == 20_006
    assert of_all < of_one_batch + size / 20, (of_one_batch, of_all, size)


def test_a_log_that_nobody_has_changed_verifies(log: Log) -> None:
    result = log("verify")

    assert result.exit_code == 0
    assert "the log verifies, positions 1 to 6" in result.stdout
    assert log("verify", "--head", head_of(result)).exit_code == 0
    assert head_of(log("export")) == head_of(result) == head_of(log("checkpoint"))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE scim_change SET principal = 'x' WHERE txn = 't2'", "position 3: the row, its values or"),
        ("DELETE FROM scim_change WHERE txn = 't2'", "position 3: the row of this position is missing"),
        ("DELETE FROM scim_order WHERE position = 3", "position 4: positions before this one are missing"),
        ("DELETE FROM scim_order WHERE position < 3", "position 3: the row, its values or the hash before"),
    ],
)
def test_an_edit_or_a_deletion_is_found(log: Log, statement: str, said: str) -> None:
    assert log("verify").exit_code == 0

    log.sql(statement)
    result = log("verify")

    assert result.exit_code == 1 and said in result.stdout
    assert "head: " not in result.stdout, "nobody is to store a head that was tampered with"
    assert log("checkpoint").exit_code == 1


def test_rows_that_make_no_sense_are_shown_as_they_are(log: Log) -> None:
    assert log("verify").exit_code == 0
    log.sql(f"UPDATE scim_change SET at = {2**62}, paths = '[' WHERE txn = 't5'")

    assert f"6\t{2**62}\tkey-1\tpatch\tUser/u5\t-\t[\t" in log("list", "--limit", "1").stdout
    assert lines(log("export"))[-1]["paths"] == "["


def test_a_tail_that_was_cut_is_found_with_a_remembered_head(log: Log) -> None:
    head = head_of(log("verify"))

    log.sql("DELETE FROM scim_change WHERE txn = 't5'", "DELETE FROM scim_order WHERE position = 6")

    assert log("verify").exit_code == 0, "the database alone cannot tell"
    result = log("verify", "--head", head)
    assert result.exit_code == 1 and "position 6: the log ends before this position" in result.stdout


def test_a_consistent_rewrite_is_found_with_a_signed_head(log: Log) -> None:
    assert head_of(log("checkpoint")).startswith("6:")

    log.sql("UPDATE scim_change SET principal = 'x' WHERE txn = 't2'")
    database, previous = log.delivery.database, "0" * 64
    for position, seq in database.rows("SELECT position, seq FROM scim_order ORDER BY position"):
        previous = chained(previous, *contents(database, [seq])[seq])
        log.sql(f"UPDATE scim_order SET hash = '{previous}' WHERE position = {position}")

    result = log("verify")
    assert result.exit_code == 1
    assert "position 6: the hash is not that of the checkpoint" in result.stdout


def test_verification_says_that_a_trimmed_head_proves_nothing(log: Log) -> None:
    keys = log.delivery.keys.derived(Purpose.CHECKPOINTS)
    log("list")
    database = log.delivery.database
    (hash_,) = database.row("SELECT hash FROM scim_order WHERE position = 2")
    ChangeOrder(database, keys, lambda: START + 240_000).trim(0)

    result = log("verify", "--head", f"2:{hash_}")

    assert result.exit_code == 0
    assert "position 2 is trimmed: the log has nothing to compare --head with" in result.stdout
    assert "the log verifies, positions 5 to 6" in result.stdout


@pytest.mark.sqlite
@pytest.mark.parametrize("command", ["list", "export", "verify", "checkpoint"])
def test_without_a_log_the_command_says_so(
    scim: ScimClient,
    backend: Callable[[set[str]], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    for name, value in {"API_KEY": KEY, "CHANGE_LOG": "off", **backend(set())}.items():
        monkeypatch.setenv(name, value)

    result = CliRunner().invoke(main, ["audit", command])

    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == "scim: there is no change log: set CHANGE_LOG=on"


def test_changes_that_wait_for_a_position_are_counted(log: Log) -> None:
    ChangeLog(log.delivery.database).append(ENTRY)

    result = log("list")

    assert len(result.stdout.splitlines()) == 6
    assert "scim: 1 changes have no position yet: the server, or scim worker, gives them one" in result.stderr
