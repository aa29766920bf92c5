"""The line that each request leaves in the log."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.edge.request_log import RequestLog
from tests.conftest import KEY, Server
from tests.web_servers import connect, head, rest_of, wait_for


def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"first"
    logging.getLogger("test").info("half of it has left")
    yield b"last"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_line_is_written_when_the_last_byte_has_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/Users"}

    answer: Any = RequestLog(application)(environ, lambda *_: None)
    parts = list(answer)
    answer.close()

    assert parts == [b"first", b"last"]
    before, line = lines(caplog)
    assert before == "half of it has left"
    assert re.fullmatch(r'GET "/Users" 200 [0-9.]+ ms', line)


def test_the_line_says_when_the_client_left_before_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    answer: Any = RequestLog(application)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    next(iter(answer))
    answer.close()

    assert len(lines(caplog)) == 1
    assert lines(caplog)[0].endswith("ms, incomplete")


def test_every_request_leaves_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"

    class Logged(Server):
        def start(self) -> None:
            command = [Path(sys.executable).parent / "scim", "serve"]
            with log.open("wb") as file:
                self.process = subprocess.Popen(
                    command, env=self.environ, start_new_session=True, stderr=file
                )
            wait_for(lambda: "serving on" in log.read_text(), "it does not start")

    server = Logged(DATABASE_URL=f"sqlite:///{tmp_path}/scim.db", WORKERS="1")
    try:
        with connect(server) as connection:
            connection.sendall(head("GET", "/Users") + head("HEAD", "/Users") + head("DELETE", "/Users/x"))
            connection.sendall(head("GET", "/health", "Connection: close"))
            rest_of(connection)
        wait_for(lambda: log.read_text().count(" ms") == 4, log.read_text())
    finally:
        server.stop()

    found = re.findall(r'scim.request (\S+ "\S+" \d+) [\d.]+ ms\n', log.read_text())
    assert found == ['GET "/Users" 200', 'HEAD "/Users" 200', 'DELETE "/Users/x" 404', 'GET "/health" 200']
    started = re.findall(r"serving on (.*)\n", log.read_text())
    assert started == [
        f"http://127.0.0.1:{server.port}, 1 processes of 4 threads; "
        f"resources are stored in sql: sqlite:///{tmp_path}/scim.db"
    ]
    assert KEY not in log.read_text()
