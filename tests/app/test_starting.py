"""What a start says: where resources are kept, and how to install what is missing."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.configuration.settings import Settings
from app.server.serving import storage_shown
from app.server.starting import progress_served
from storage.progress import Progress

_ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, "sql: sqlite:///data/scim.db"),
        ({"DATABASE_URL": "postgresql://scim:hush@db.example/scim"}, "sql: postgresql://db.example/scim"),
        ({"DATABASE_URL": "mysql://scim:hu%40sh@db/scim?ssl-mode=REQUIRED"}, "sql: mysql://db/scim"),
        ({"DATA_PATH": "/srv/scim"}, "files: /srv/scim"),
        ({"MONGO_DB": "mongodb://u:hush@one,two/scim?authSource=hush"}, "mongo: mongodb://one,two/scim"),
        ({"MONGO_DB": "mongodb://u:hu/sh@one/scim"}, "mongo: mongodb://one/scim"),
        ({"LDAP_HOSTNAME": "ldaps://ldap", "LDAP_PASSWORD": "hush"}, "ldap: ldaps://ldap"),
        (
            {"FORWARD_SCIM_URL": "https://u:hush@up.example/scim", "FORWARD_SCIM_KEY": "hush"},
            "forward: https://up.example/scim",
        ),
        ({"JUMPCLOUD_URL": "https://jc.example", "JUMPCLOUD_KEY": "hush"}, "jumpcloud: https://jc.example"),
        ({"IRODS_HOST": "irods.example", "IRODS_ADMIN_PASSWORD": "hush"}, "irods: irods.example"),
    ],
)
def test_the_storage_is_named_without_secrets(environ: dict[str, str], shown: str) -> None:
    assert storage_shown(Settings.from_env(environ)) == shown


@pytest.mark.parametrize(
    ("missing", "environ", "extra"),
    [
        ("psycopg", {"DATABASE_URL": "postgresql://db/scim"}, "postgresql"),
        ("pymysql", {"DATABASE_URL": "mysql://db/scim"}, "mysql"),
        ("mongoengine", {"MONGO_DB": "mongodb://db/scim"}, "mongodb"),
        ("ldap", {"LDAP_HOSTNAME": "ldap"}, "ldap"),
        ("irods", {"IRODS_HOST": "irods", "STATE_DATABASE_URL": "sqlite:///state.db"}, "irods"),
        (
            "psycopg",
            {"DATA_PATH": "files", "STATE_DATABASE_URL": "postgresql://db/x", "SET_POLL_ENABLED": "true"},
            "postgresql",
        ),
    ],
)
def test_a_missing_driver_comes_with_the_command_that_installs_it(
    missing: str, environ: dict[str, str], extra: str, tmp_path: Path
) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from app.cli import main; main(['serve'])"

    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode != 0
    assert f"{sys.prefix}/bin/pip install -e '{_ROOT}[{extra}]'" in ended.stderr
    assert ("apt-get install" in ended.stderr) == (extra == "ldap")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("wanted", [2000, 10])
def test_a_system_that_refuses_more_open_files_is_content_with_fewer_connections(wanted: int) -> None:
    # As a filter of system calls answers.
    program = """
import resource, sys
from app.server.serving import _connections

def refuse(*_):
    raise PermissionError(1, "Operation not permitted")

resource.setrlimit(resource.RLIMIT_NOFILE, (300, 4096))
resource.setrlimit = refuse
print(_connections(int(sys.argv[1])))
"""
    ended = subprocess.run([sys.executable, "-c", program, str(wanted)], capture_output=True, text=True)

    assert int(ended.stdout) == min(wanted, 44), ended.stderr


def test_no_text_names_a_package_that_is_not_published() -> None:
    texts = [_ROOT / "README.md", *(_ROOT / "docs").rglob("*.md"), *(_ROOT / "app").rglob("*.py")]

    assert [text.name for text in texts if "scim-gateway[" in text.read_text()] == []


def test_make_run_says_what_it_does_and_installs_in_silence() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "run", "VENV=.none"], cwd=_ROOT, capture_output=True, text=True, timeout=60
    )

    assert "making a virtual environment in .none" in done.stdout
    assert "installing into .none" in done.stdout


def test_long_work_does_not_wait_for_a_name_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked_up: list[str] = []
    monkeypatch.setattr(socket, "getfqdn", looked_up.append)
    monkeypatch.setattr("storage.progress._TOLD_S", 0.0)

    with progress_served(Settings.from_env({"HOST": "127.0.0.1", "PORT": "0"})):
        Progress("adopting Users", 2).at(1)

    assert (looked_up, caplog.text) == ([], "")


def test_every_line_of_a_json_log_is_json(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environ = {
            "PATH": os.environ["PATH"],
            "HOST": "127.0.0.1",
            "PORT": str(taken.getsockname()[1]),
            "WORKERS": "1",
            "DATABASE_URL": f"sqlite:///{tmp_path}/scim.db",
            "LOG_FORMAT": "json",
            "SET_SIGNING_SECRET": "short",
            "SET_POLL_ENABLED": "true",
        }
        ended = subprocess.run(
            [sys.executable, "-c", "from app.cli import main; main()", "serve"],
            env=environ,
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    said = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [one["message"] for one in said if "Connection in use" in one["message"]]
    (short,) = {one["message"] for one in said if "signs SETs is short" in one["message"]}
    assert "5 bytes" in short and ended.returncode != 0
