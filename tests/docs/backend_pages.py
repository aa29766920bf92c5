"""The pages in docs/reference/backends, cut into sections, tables, commands and examples."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference" / "backends"
PAGES = tuple(sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index"))


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text()


def section(name: str, heading: str) -> str:
    return page(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """Return the lines that are indented as code, continued ones as one."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^    (\S(?:.*\\\n)*.*)$", outside, re.MULTILINE)
    return [line.replace("\\\n", "") for line in lines]


def rows(text: str, header: str) -> list[list[str]]:
    """Return the cells of the table under `header`."""
    table = text.partition(f"\n{header}\n")[2].partition("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]


def example(name: str, heading: str = "What is stored where") -> dict[str, Any]:
    """Return the record that a page shows first."""
    shown: dict[str, Any] = json.loads(blocks(section(name, heading), "json")[0])
    return shown
