"""A volume of another user ends the start with one line, which has the command that helps."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import main
from tests.storage.files.conftest import in_child

USER = 65534
FORWARD = {"FORWARD_SCIM_URL": "http://127.0.0.1:9", "SET_POLL_ENABLED": "true"}


@pytest.fixture
def volume() -> Iterator[Path]:
    """An empty folder of root that others can come to; pytest keeps its own to itself."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name).resolve()


def said_at_the_start(environ: dict[str, str], volume: Path, said: Path) -> list[str]:
    """Return what `scim serve` says as another user in `volume`, before it ends with 1."""

    def serve() -> None:
        os.chdir(volume)
        os.setgroups([])
        sys.stderr = said.open("w", buffering=1)
        os.environ |= {"API_KEY": "k", "LOGLEVEL": "CRITICAL", **environ}
        os.setuid(USER)
        with pytest.raises(SystemExit) as ended:
            main(["serve"])
        assert ended.value.code == 1

    assert os.waitpid(in_child(serve), 0)[1] == 0
    return said.read_text().splitlines()


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "data"),
        ({"DATABASE_URL": "sqlite:///{volume}/a b/c/scim.db"}, "a b/c"),
        ({"DATA_PATH": "{volume}/scim"}, "scim"),
        (FORWARD, "data"),
        ({**FORWARD, "STATE_DATABASE_URL": "sqlite:///{volume}/state/state.db"}, "state"),
    ],
)
def test_a_folder_that_cannot_be_made_comes_with_the_command_that_makes_it(
    environ: dict[str, str], missing: str, volume: Path, tmp_path: Path
) -> None:
    environ = {name: value.replace("{volume}", str(volume)) for name, value in environ.items()}
    folder = f"'{volume}/{missing}'" if " " in missing else f"{volume}/{missing}"

    lines = said_at_the_start(environ, volume, tmp_path / "said")

    assert len(lines) == 1 and lines[0].startswith("scim: ")
    assert lines[0].endswith(
        f"; {volume} belongs to user 0: "
        f"run install -d -o {USER} {folder}, or start the server as user 0 (a container: --user 0)"
    )


@pytest.mark.parametrize(
    "environ", [{"DATABASE_URL": "sqlite:///{volume}/scim.db"}, {"DATA_PATH": "{volume}"}]
)
def test_a_folder_of_another_user_comes_with_the_command_that_hands_it_over(
    environ: dict[str, str], volume: Path, tmp_path: Path
) -> None:
    environ = {name: value.replace("{volume}", str(volume)) for name, value in environ.items()}

    lines = said_at_the_start(environ, volume, tmp_path / "said")

    assert len(lines) == 1 and lines[0].startswith("scim: ")
    assert lines[0].endswith(
        f"; {volume} belongs to user 0: "
        f"run chown -R {USER} {volume}, or start the server as user 0 (a container: --user 0)"
    )


def test_no_command_gives_away_the_whole_system(volume: Path, tmp_path: Path) -> None:
    lines = said_at_the_start({"DATABASE_URL": "sqlite:////scim-test.db"}, volume, tmp_path / "said")

    assert len(lines) == 1 and "chown" not in lines[0]
