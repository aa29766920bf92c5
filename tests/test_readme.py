"""The first session of README.md, pasted into a shell."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server

README = (Path(__file__).parent.parent / "README.md").read_text()
# Ids and dates are new ones in every session.
VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z")


def answers_of(text: str) -> list[Any]:
    """Return the JSON objects in `text`, one after the other, without ids and dates."""
    decoder, found, position = json.JSONDecoder(), [], 0
    text = VARYING.sub("…", text).strip()
    while position < len(text):
        answer, position = decoder.raw_decode(text, position)
        found.append(answer)
        position += len(text[position:]) - len(text[position:].lstrip())
    return found


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_first_session_can_be_pasted(shell: str, tmp_path: Path) -> None:
    commands = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    shown = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    server = Server(DATABASE_URL=f"sqlite:///{tmp_path}/scim.db", API_KEY="secret")
    try:
        # A session is one shell: what a command sets, the next ones use.
        pasted = "\n".join(commands).replace("http://localhost:8000", server.url)
        done = subprocess.run([shell, "-e"], input=pasted, capture_output=True, text=True, timeout=60)
    finally:
        server.kill()

    assert done.stderr == ""
    assert len(shown) == 4
    assert answers_of(done.stdout) == answers_of("".join(shown))
