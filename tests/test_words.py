"""The words of the glossary: what people read has none of the words that operators stumbled over."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from app.cli import main

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "schema", "scim_filter", "set_delivery", "storage", "telemetry")
# A word that is not used, and the words to write in its place.
WORDS = {
    "told of": "published",
    "tak(es?|en|ing) over|took over": "adopted (tables, files), continued by another process (work)",
    "claimed": "reserved (a unique value), held by a worker (a job)",
    "judged here": "evaluated by the server",
    "inexact": "approximate",
    "what cannot hold": "a filter that can never match",
    "intents?": "write-ahead record",
    "whoever": "a noun",
    "product we replace": "HarryKodden/scim, then the earlier product",
    "by index at any size": "the backends and their limits",
}
# A name of the code on a page, such as `app/cli.py`, `Jobs.claim()` or `intent`: no word of the page.
NAME = re.compile(r"`[\w./]+(?:\(\))?`")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHIPPED = [ROOT / "uwsgi.ini", *sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def found_in(text: str) -> list[str]:
    """Return each word in a text that is not used; line breaks are spaces."""
    flat = " ".join(text.split())
    return [match[0] for word in WORDS for match in re.finditer(rf"\b({word})\b", flat, re.IGNORECASE)]


def texts_of(module: Path) -> Iterator[str]:
    """Yield the sentences of a module that a program can show: strings of several words, no docstrings."""
    tree = ast.parse(module.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            if " " in node.value.strip():
                yield node.value


def helps_of(command: click.Command) -> Iterator[str]:
    """Yield the help of a command, of its options and of the commands below it."""
    with click.Context(command) as context:
        yield command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from helps_of(below)


def test_a_word_is_found_across_lines_and_in_any_case() -> None:
    text = "Whoever was told\nof it takes over; scimInexact stays."

    assert found_in(text) == ["told of", "takes over", "Whoever"]


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_errors_and_log_lines_use_the_words_of_the_glossary(module: Path) -> None:
    assert [word for text in texts_of(module) for word in found_in(text)] == []


def test_the_help_of_every_command_uses_the_words_of_the_glossary() -> None:
    helps = list(helps_of(main))

    assert len(helps) == 30
    assert [word for text in helps for word in found_in(text)] == []


@pytest.mark.parametrize("file", SHIPPED, ids=short)
def test_files_of_deploy_use_the_words_of_the_glossary(file: Path) -> None:
    assert found_in(file.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_a_page_uses_the_words_of_the_glossary(page: Path) -> None:
    assert found_in(NAME.sub("", page.read_text())) == []
