"""Pages with examples: which fenced blocks are run, and which show an answer.

The convention is plain Markdown, shown by GitHub and by the site alike:

- ```` ```bash ````: commands, run in one shell for the whole page, in the order of the page. The shell
  starts in a folder that stands for the checkout. Variables, functions and files stay for the next blocks.
- ```` ```bash title="Server" ````: a program that keeps running, in a terminal of its own. The next block
  with the same title ends the program (Ctrl+C) before it starts another one. `make run` serves as in a
  checkout, without installing anything; the variables in front of it are its settings.
- ```` ```json ````, ```` ```http ```` or ```` ```text ```` after a `bash` block: its output, which a block
  that prints must have. JSON is shown with line breaks; `http` is the output of `curl -i`, with the headers
  that matter. A line `…` in `text` stands for any lines.
- ```` ```text title="Server" ````: lines that the program with this title prints.
- ```` ```sh ````: commands that only `SCIM_TEST_FULL=1` runs, such as an installation.

Blocks of other languages are not run. Ids, times and tokens are matched by shape: see `answers.py`.
The tests replace the ports 8000 and 9000 by free ones, and `.venv/bin` by the environment of the tests.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
DOCS: Final = ROOT / "docs"
ANSWERS: Final = frozenset({"json", "http", "text"})

_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?: +title=\"(?P<title>[^\"]+)\")?[^\n]*\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is the number of its first line in the page."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    for match in _FENCE.finditer(page):
        indent = match["indent"]
        text = re.sub(rf"^{indent}", "", match["text"], flags=re.MULTILINE)
        yield Block(match["language"], match["title"] or "", text, page.count("\n", 0, match.start()) + 2)


def pages_with_examples() -> list[Path]:
    """Return the pages that start a server: their examples are run."""
    pages = sorted(DOCS.rglob("*.md"))
    return [page for page in pages if any(b.title == "Server" for b in blocks(page.read_text()))]
