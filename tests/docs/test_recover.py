"""docs/how-to/recover.md: the messages are those of the server, and its commands bring resources back."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import KEY, Server
from tests.servers import program
from tests.web_servers import wait_for

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "recover.md").read_text()
# Messages of SQLite, of gunicorn and of receivers, and words for a process that ends.
OTHERS = {
    "database disk image is malformed",
    "file is not a database",
    "no such table: scim_queue",
    "was sent SIGKILL! Perhaps out of memory?",
    "(status 503)",
    "failed (status 401)",
    "failed (SSLError)",
    "failed (ConnectionError)",
    "invalid_key",
    "Retry-After: 5",
    "/health/ready",
}


def code(section: str, containing: str = "") -> str:
    """Return the commands of a section as one script: of the block that contains a text."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"((?:^ {4,}.*\n)+)", text, re.MULTILINE)
    (block,) = (block for block in blocks if containing in block)
    return re.sub("^ +", "", block, flags=re.MULTILINE)


def environ(server: Server, folder: Path, **more: str) -> dict[str, str]:
    path = f"{Path(server.command()[0]).parent}:{os.environ['PATH']}"
    return {**server.environ, "PATH": path, "HOME": str(folder), **more}


def run(script: str, folder: Path, variables: dict[str, str]) -> None:
    command = ["bash", "-ec", script]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def messages() -> list[str]:
    """Return the parts of every message in the first column of the tables."""
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", PAGE, re.MULTILINE)
    quoted = {text for cell in cells for text in re.findall(r"`([^`]+)`", cell)} - OTHERS
    parts = {part.strip(" ;:,") for text in quoted for part in text.split("…")}
    return sorted(part for part in parts - OTHERS if part)


@pytest.mark.parametrize("message", messages())
def test_a_message_of_the_page_is_one_of_the_server(message: str) -> None:
    sources = [path for name in ("app", "storage", "set_delivery") for path in (ROOT / name).rglob("*.py")]
    # A text may go on in the next line of the source.
    text = "\n".join(re.sub(r'"\s+f?"', "", path.read_text()) for path in sources)

    assert message in text


def test_the_warning_that_monitors_look_for_is_one_of_the_server() -> None:
    warning = "API_KEY IS THE PUBLISHED DEFAULT"

    assert warning in (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    assert any(warning in path.read_text() for path in (ROOT / "app").rglob("*.py"))


def test_the_page_has_messages_to_look_for() -> None:
    assert len(messages()) > 25


@pytest.mark.sqlite
def test_a_user_that_was_deleted_comes_back_with_its_id_and_groups(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    program("jq")
    program("sqlite3")
    server = serve(LOGLEVEL="ERROR", WORKERS="1")
    user = server("POST", "/Users", json={"userName": "anna", "title": "chief"}).json()
    group = server("POST", "/Groups", json={"displayName": "g", "members": [{"value": user["id"]}]}).json()
    backup = tmp_path / "backup.db"
    subprocess.run(["sqlite3", server.environ["DATABASE_URL"][10:], f"VACUUM INTO '{backup}'"], check=True)
    copy = serve(LOGLEVEL="ERROR", WORKERS="1", DATABASE_URL=f"sqlite:///{backup}")
    server("DELETE", f"/Users/{user['id']}")
    section = "A user or group was deleted by mistake"

    variables = environ(server, tmp_path, ID=user["id"], API_KEY=KEY)
    for part in ("scim import", "jq -r"):
        script = code(section, part)
        run(script.replace("8000", str(server.port)).replace("8001", str(copy.port)), tmp_path, variables)

    back = server("GET", f"/Users/{user['id']}").json()
    assert (back["userName"], back["title"]) == ("anna", "chief")
    assert [one["value"] for one in back["groups"]] == [group["id"]]


@pytest.mark.skipif(not os.environ.get("SCIM_TEST_FULL"), reason="slow; `make test-full` runs it")
@pytest.mark.sqlite
def test_what_can_be_read_of_a_damaged_sqlite_file_is_served_again(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    program("sqlite3")
    server = serve(LOGLEVEL="ERROR", WORKERS="1")
    ids = [
        server("POST", "/Users", json={"userName": f"u{number}", "displayName": "d" * 500}).json()["id"]
        for number in range(100)
    ]
    assert server.stop() == 0
    damaged = tmp_path / "scim.db"
    source = Path(server.environ["DATABASE_URL"].removeprefix("sqlite:///"))
    damaged.write_bytes(source.read_bytes())
    with damaged.open("r+b") as file:
        for page in range(damaged.stat().st_size // 4096 // 2, damaged.stat().st_size // 4096 * 2 // 3):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)

    section = "Repair an SQLite file"
    for part in (".dump", "json_set", "scim import"):
        run(code(section, part), tmp_path, environ(server, tmp_path))

    repaired = serve(LOGLEVEL="ERROR", WORKERS="1", DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    found = {user["id"] for user in repaired("GET", "/Users?count=100").json()["Resources"]}
    assert found and found < set(ids)


@pytest.mark.sqlite
def test_a_receiver_that_is_given_up_is_forgotten(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(LOGLEVEL="CRITICAL", WORKERS="1", SET_PUSH_URL="http://127.0.0.1:9/")
    server("POST", "/Users", json={"userName": "anna"})
    wait_for(lambda: pending(server) == 1, "the SET is not pending")

    run(code("A receiver was down for days", "drop"), tmp_path, environ(server, tmp_path))

    assert pending(server) == 0


def pending(server: Server) -> int:
    figures = server("GET", "/metrics").text
    found = re.search(r'^scim_events_pending{receiver="push"} ([0-9.]+)$', figures, re.MULTILINE)
    return int(float(found[1])) if found else 0
