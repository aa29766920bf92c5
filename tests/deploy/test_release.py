"""One version in every file that names it, and the command that says it."""

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from set_delivery import tables as state_tables
from storage.index import tables

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def version() -> str:
    """The version in setup.cfg."""
    metadata = ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    return metadata["metadata"]["version"]


def test_the_command_says_the_version_in_one_line(version: str) -> None:
    # Without a single setting: an image is asked before anything is configured.
    ended = subprocess.run(
        [Path(sys.executable).parent / "scim", "--version"], env={}, capture_output=True, text=True
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"scim-gateway {version}\n"


def test_the_chart_has_the_version_of_the_server(version: str) -> None:
    chart = yaml.safe_load((DEPLOY / "helm" / "scim-gateway" / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.minimal.yaml"])
def test_the_containers_have_the_version_of_the_server(name: str, version: str) -> None:
    images = re.findall(r"scim-gateway:([^}]+)}", (DEPLOY / name).read_text())

    assert images == [version]


def test_the_stage_for_production_is_at_the_tag_of_the_release(version: str) -> None:
    text = (DEPLOY / "argocd" / "applicationset.yaml").read_text()

    assert re.findall(r"revision: v([^,]+),", text) == [version]


def test_the_changelog_begins_with_this_release_and_every_release_has_a_date(version: str) -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    # Changes that are in no release yet may stand above it.
    released = titles[1:] if titles[0] == "Unreleased" else titles
    assert released[0].split(" ")[0] == version
    dated = [re.fullmatch(r"(\d+\.\d+\.\d+) \(20\d\d-\d\d-\d\d\)", title) for title in released]
    assert None not in dated
    assert len({match[1] for match in dated if match}) == len(released)


def test_the_page_on_upgrades_has_the_versions_of_the_tables(version: str) -> None:
    page = (ROOT / "docs" / "upgrading.md").read_text()

    rows = re.findall(r"^\| (Unreleased|\d+\.\d+\.\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert rows[-1][0] in (version, "Unreleased")
    assert rows[-1][1:] == (str(tables.VERSION), str(state_tables.VERSION))
    # An operator searches for the text of the refusal.
    assert f"supports versions up to {tables.VERSION}: install the later release again" in page
