"""docs/how-to/monitor.md: its files are valid, and its rules ask for figures that exist."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ScimClient

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "monitor.md").read_text()
FILES = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(FILES["scim.rules.yml"])["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.sqlite
def test_every_rule_asks_for_a_figure_that_the_server_has(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(SET_PUSH_URL="http://127.0.0.1:9/", SET_POLL_ENABLED="true", EMBEDDED_WORKER="false")
    figures = set(re.findall(r"^(\w+)", scim("GET", "/metrics").text, re.MULTILINE))

    asked = {name for rule in rules() for name in re.findall(r"\bscim_\w+", rule["expr"])}

    assert asked <= figures
    assert len(asked) >= 7


@pytest.mark.parametrize("label", ["receiver", "feed"])
def test_texts_name_labels_that_the_rule_has(label: str) -> None:
    for rule in rules():
        if f"$labels.{label}" in rule["annotations"]["summary"]:
            assert f"by ({label})" in rule["expr"]


def test_prometheus_accepts_the_files(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace("/etc/prometheus", str(tmp_path)))
    (tmp_path / "scim_api_key").write_text("key")
    commands = re.findall(r"^    (promtool .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2

    for command in commands:
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
