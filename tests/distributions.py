"""Distributions that tests bring: Python finds them as installed ones by their metadata, without pip."""

from configparser import ConfigParser
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
EXAMPLE: Final = ROOT / "examples" / "json_lines"

_MEMORY: Final = """
[metadata]
name = scim-memory
version = 1.0.0
[options.entry_points]
scim.storage =
    memory = tests.storage.memory
"""


def write_metadata(setup: str, site: Path) -> None:
    """Write into `site`, a folder of `sys.path`, what an installation of a setup.cfg leaves there."""
    declared = ConfigParser()
    declared.read_string(setup)
    name, version = declared["metadata"]["name"], declared["metadata"]["version"]
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = declared["options.entry_points"].items()
    (folder / "entry_points.txt").write_text("".join(f"[{group}]{lines}\n" for group, lines in groups))


def example_at(site: Path) -> dict[str, str]:
    """Have `site` find the example; return the variables with which a process finds it there."""
    write_metadata((EXAMPLE / "setup.cfg").read_text(), site)
    return {"PYTHONPATH": f"{site}:{EXAMPLE}"}


def memory_at(site: Path) -> dict[str, str]:
    """Have `site` find the backend for one process; return the variables with which a process finds it."""
    write_metadata(_MEMORY, site)
    return {"PYTHONPATH": f"{site}:{ROOT}"}
