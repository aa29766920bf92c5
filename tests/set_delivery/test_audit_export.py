"""The export of the change log: at least once, in order, over HTTP and syslog."""

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import pytest

from set_delivery.audit_export import AuditExport
from set_delivery.change_log import ChangeEntry, ChangeLog, LoggedChange
from set_delivery.change_order import ChangeOrder
from set_delivery.collectors import (
    Collector,
    CollectorFailed,
    HttpCollector,
    SyslogCollector,
)
from set_delivery.dispatch import Dispatcher
from set_delivery.streams import Publishing
from storage.index.database import Database
from tests.collectors import SyslogServer
from tests.ports import free_port
from tests.receivers import HttpReceiver, answers, hangs_up, make_certificate

KEY = b"k" * 32
ENTRY = ChangeEntry(
    1000, "User", "u", "é", "patch", "2", '["title"]', "p", "c", "192.0.2.1", "rest", "t", "r"
)
TOKEN = "token-of-the-collector"


class Clock:
    """A clock that tests set, in milliseconds."""

    def __init__(self) -> None:
        self.now = 10_000

    def __call__(self) -> int:
        return self.now


class Exported:
    """A log and its export to a collector."""

    def __init__(self, database: Database, collector: Collector) -> None:
        self.database, self.clock = database, Clock()
        self.log, self.order = ChangeLog(database), ChangeOrder(database, [KEY], self.clock)
        self.export = AuditExport(database, self.log, collector, self.clock)
        self.export.prepare()

    def append(self, count: int) -> None:
        """Append changes with positions."""
        first = self.order.head().position + 1
        entries = [ENTRY._replace(resource_id=f"u{n}", txn=f"t{first}") for n in range(first, first + count)]
        self.log.append_many(entries)
        Dispatcher(self.database, self.log, self.order, Publishing("scim")).run()

    def waited(self) -> int:
        """Send what is due after the longest pause, and return how many rows that were."""
        self.clock.now += 400_000
        return self.export.run()


class Taker:
    """A collector that takes rows, or fails."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.problem: CollectorFailed | None = None

    def send(self, changes: Sequence[LoggedChange]) -> None:
        if self.problem is not None:
            raise self.problem
        self.positions += [one.position or 0 for one in changes]


@pytest.fixture
def taker() -> Taker:
    return Taker()


@pytest.fixture
def exported(database: Database, taker: Taker) -> Exported:
    return Exported(database, taker)


def posted(receiver: HttpReceiver) -> list[int]:
    """Return the positions that arrived, in order."""
    lines = [line for attempt in receiver.attempts for line in attempt.body.splitlines()]
    return [orjson.loads(line)["position"] for line in lines]


def test_rows_are_exported_in_order_and_once(exported: Exported, taker: Taker) -> None:
    exported.append(3)
    assert exported.export.is_due() and exported.export.run() == 3
    assert not exported.export.is_due() and exported.export.run() == 0
    exported.append(450)
    assert exported.export.run() == 450

    assert taker.positions == list(range(1, 454)) and exported.export.position() == 453


def test_a_collector_that_is_down_loses_nothing(exported: Exported, taker: Taker) -> None:
    exported.append(3)
    taker.problem = CollectorFailed("down")
    assert exported.export.run() == 0 and not exported.export.is_due(), "there is a pause"
    for _ in range(12):
        exported.append(1)
        assert exported.waited() == 0
    taker.problem = None

    assert exported.waited() == 15 and taker.positions == list(range(1, 16))


def test_the_backlog_is_what_the_collector_lacks(exported: Exported, taker: Taker) -> None:
    assert exported.export.backlog() == (0.0, 0)
    exported.append(2)
    taker.problem = CollectorFailed("down")
    exported.export.run()
    exported.clock.now = ENTRY.at + 75_000
    assert exported.export.backlog() == (75.0, 1)
    taker.problem = None
    assert exported.waited() == 2

    assert exported.export.backlog() == (0.0, 0)


def test_a_collector_that_asks_for_a_pause_gets_it(exported: Exported, taker: Taker) -> None:
    exported.append(1)
    taker.problem = CollectorFailed("status 503", 3600.0)
    exported.export.run()
    exported.clock.now += 3_599_000
    taker.problem = None
    assert exported.export.run() == 0
    exported.clock.now += 1_000

    assert exported.export.run() == 1


def test_rows_that_the_collector_does_not_have_are_not_trimmed(
    exported: Exported, taker: Taker, caplog: pytest.LogCaptureFixture
) -> None:
    exported.append(600)
    taker.problem = CollectorFailed("down")
    exported.export.run()
    assert exported.order.trim(0, exported.export.position()) == 0
    assert "old rows of the change log stay: the collector has position 0 only" in caplog.text
    taker.problem = None
    exported.waited()
    exported.append(5)

    assert exported.order.trim(0, exported.export.position()) == 600
    assert exported.waited() == 5 and taker.positions == list(range(1, 606))
    assert exported.order.verify() == []


def test_the_export_goes_on_at_a_checkpoint_and_says_what_was_deleted_before(
    exported: Exported, taker: Taker, caplog: pytest.LogCaptureFixture
) -> None:
    exported.append(2)
    exported.export.run()
    exported.append(3)
    # A process without a collector has trimmed.
    exported.order.trim(0)
    exported.append(1)

    assert exported.export.run() == 1 and taker.positions == [1, 2, 6]
    assert "positions 3 to 5 were deleted before" in caplog.text


def test_after_a_restore_the_export_begins_again(
    exported: Exported, taker: Taker, caplog: pytest.LogCaptureFixture
) -> None:
    exported.append(5)
    exported.export.run()
    with exported.database.transaction():
        for table in ("scim_change", "scim_order"):
            exported.database.run(f"DELETE FROM {table}")
    exported.append(2)

    assert exported.export.run() == 2 and taker.positions == [1, 2, 3, 4, 5, 1, 2]
    assert "position 5 is not what was exported: the export begins again" in caplog.text
    exported.append(1)
    assert exported.export.run() == 1 and taker.positions[-1] == 3


@pytest.mark.parametrize("behaviour", [answers(500), answers(400), answers(302), hangs_up])
def test_http_that_is_not_2xx_is_tried_again(
    database: Database, receiver: HttpReceiver, behaviour: Callable[..., None]
) -> None:
    exported = Exported(database, HttpCollector(receiver.url, TOKEN))
    exported.append(3)
    receiver.first = [behaviour]

    assert exported.export.run() == 0 and exported.waited() == 3

    assert posted(receiver) == [1, 2, 3, 1, 2, 3]
    headers = receiver.attempts[-1].headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert TOKEN not in str(database.rows("SELECT * FROM scim_export"))


def test_large_rows_go_in_several_posts(database: Database, receiver: HttpReceiver) -> None:
    exported = Exported(database, HttpCollector(receiver.url, ""))
    for number in range(4):
        value = orjson.dumps({"photo": "x" * 600_000}).decode()
        exported.log.append(ENTRY._replace(txn=f"v{number}"), values=(None, value))
    Dispatcher(database, exported.log, exported.order, Publishing("scim")).run()

    assert exported.export.run() == 4
    assert posted(receiver) == [1, 2, 3, 4] and len(receiver.attempts) == 4
    assert "Authorization" not in receiver.attempts[0].headers


@pytest.fixture
def syslog() -> Iterator[SyslogServer]:
    server = SyslogServer()
    yield server
    server.stop()


def told(server: SyslogServer) -> list[int]:
    return [orjson.loads(message.text)["position"] for message in server.messages]


def test_syslog_over_tcp(database: Database, syslog: SyslogServer) -> None:
    exported = Exported(database, SyslogCollector(syslog.url))
    exported.append(250)

    assert exported.export.run() == 250

    assert told(syslog) == list(range(1, 251)) and syslog.connections == 2
    first = syslog.messages[0]
    assert (first.priority, first.program, first.kind) == (109, "scim", "patch")
    assert first.at.timestamp() == 1 and orjson.loads(first.text)["externalId"] == "é"


def test_a_syslog_server_that_dies_with_messages_unread_gets_them_again(
    database: Database, syslog: SyslogServer
) -> None:
    exported = Exported(database, SyslogCollector(syslog.url))
    exported.append(100)
    syslog.is_dying = True
    assert exported.export.run() == 0 and exported.export.position() == 0
    syslog.is_dying = False

    assert exported.waited() == 100 and told(syslog) == list(range(1, 101))


def test_syslog_over_tls(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, certificate = make_certificate(tmp_path)
    server = SyslogServer(tls)
    try:
        exported = Exported(database, SyslogCollector(server.url))
        exported.append(3)
        assert exported.export.run() == 0 and server.messages == [], "the certificate is not trusted"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert exported.waited() == 3
    finally:
        server.stop()

    assert told(server) == [1, 2, 3]


def test_a_tls_server_that_ends_without_close_notify_has_not_confirmed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    class Abrupt(SyslogServer):
        def _handle(self, connection: ssl.SSLSocket) -> None:  # type: ignore[override]
            secured = tls.wrap_socket(connection, server_side=True)
            self._read(secured)
            secured.close()

    server = Abrupt(tls)
    try:
        exported = Exported(database, SyslogCollector(server.url))
        exported.append(3)
        assert exported.export.run() == 0 and exported.export.position() == 0
    finally:
        server.stop()


RSYSLOG = """\
module(load="imtcp" MaxSessions="10")
global(workDirectory="{folder}" maxMessageSize="64k")
template(name="text" type="string" string="%msgid% %syslogfacility-text% %app-name% %msg%\\n")
input(type="imtcp" port="{port}" address="127.0.0.1")
action(type="omfile" file="{folder}/audit.log" template="text" asyncWriting="off")
"""


def test_rsyslog_takes_the_rows(database: Database, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "rsyslog.conf"
    config.write_text(RSYSLOG.format(folder=tmp_path, port=port))
    program = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "tests/packages.sh installs it"
    server = subprocess.Popen(
        [program, "-n", "-f", str(config), "-i", str(tmp_path / "pid")], stderr=subprocess.DEVNULL
    )
    exported = Exported(database, SyslogCollector(f"syslog+tcp://127.0.0.1:{port}"))
    file = tmp_path / "audit.log"
    exported.append(210)
    try:
        deadline = time.monotonic() + 60
        sent = 0
        while sent < 210:
            sent += exported.waited()
            assert server.poll() is None and time.monotonic() < deadline
        server.send_signal(signal.SIGTERM)
        # It writes what it has read before it ends.
        server.wait(60)
    finally:
        server.kill()
        server.wait()

    lines = [line.split(" ", 3) for line in file.read_text().splitlines()]
    assert {tuple(line[:3]) for line in lines} == {("patch", "audit", "scim")}
    assert [orjson.loads(line[3])["position"] for line in lines] == list(range(1, 211))


DYING = """
import os, signal, sys
from set_delivery.audit_export import AuditExport
from set_delivery.change_log import ChangeLog
from set_delivery.collectors import HttpCollector
from storage.sql.opening import open_database

class Dying(HttpCollector):
    def send(self, changes):
        super().send(changes)
        os.kill(os.getpid(), signal.SIGKILL)

database = open_database(sys.argv[1])
AuditExport(database, ChangeLog(database), Dying(sys.argv[2], "")).run()
"""


def test_a_kill_between_sending_and_marking_repeats_rows_and_leaves_no_gap(
    database: Database, state_url: str, receiver: HttpReceiver
) -> None:
    exported = Exported(database, HttpCollector(receiver.url, ""))
    exported.append(300)
    killed = subprocess.run([sys.executable, "-c", DYING, state_url, receiver.url], timeout=120)
    assert killed.returncode == -signal.SIGKILL and posted(receiver) == list(range(1, 201))
    assert exported.export.position() == 0 and exported.export.run() == 0, "the dead process has the lease"
    with database.transaction():
        # As after ten seconds.
        database.run("UPDATE scim_lease SET until = 0")

    assert exported.export.run() == 300

    assert posted(receiver) == [*range(1, 201), *range(1, 301)]
