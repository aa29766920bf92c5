"""The examples of the pages do what the pages show: see `tests/docs/pages.py` for the convention."""

import os
import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, Block, blocks, pages_with_examples
from tests.docs.session import Session
from tests.servers import program

PAGES = [str(page.relative_to(DOCS)) for page in pages_with_examples()]
IS_FULL = os.environ.get("SCIM_TEST_FULL") == "1"
SHELLS = ["bash", "zsh"] if IS_FULL else ["bash"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("page", [page for page in PAGES if page != "tutorial.md"])
def test_the_examples_of_a_page_answer_as_the_page_shows(page: str, shell: str, tmp_path: Path) -> None:
    run_page(page, shell, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["schemas", "mappings", "profiles", "cursors", "asynchronous-requests", "event-feeds", "receive-events"],
)
def test_each_feature_has_a_page_with_an_example(name: str) -> None:
    assert f"how-to/{name}.md" in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_pasted_into_an_interactive_zsh(page: str) -> None:
    commands = [b.text for b in blocks((DOCS / page).read_text()) if b.language in ("bash", "sh")]

    # It knows no comments, and reads ! in double quotes as a word of its history.
    assert [text for text in commands if re.search(r"(^|\s)#|\"[^\"'\n]*!", text)] == []


def run_page(page: str, shell: str, folder: Path) -> None:
    """Run the blocks of a page in order; a failure names the line of the page."""
    session = Session(folder, program(shell))
    try:
        for block in blocks((DOCS / page).read_text()):
            if block.language != "sh" or IS_FULL:
                _run(session, page, block)
        session.check_nothing_is_left()
    finally:
        session.close()


def _run(session: Session, page: str, block: Block) -> None:
    try:
        session.run(block)
    except (AssertionError, ValueError) as exc:
        raise AssertionError(f"docs/{page}:{block.line}: {exc}") from exc
