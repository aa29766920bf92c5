"""The pages in docs/reference/backends have one order, and name settings and messages of the code."""

import ast
import re
from functools import cache

import pytest

from app.configuration.settings import Settings
from tests.docs.backend_pages import PAGES, ROOT, page, rows

# Not by the name of the backend, or they would count as tests of it.
each_page = pytest.mark.parametrize("name", PAGES, ids=lambda name: f"{name}.md")
HEADINGS = (
    "When to choose it",
    "Quick start",
    "Prepare the server",
    "What is stored where",
    "What runs in the backend",
    "Guarantees",
    "Limits",
    "When something fails",
    "Figures",
)


@each_page
def test_a_page_of_a_backend_has_the_common_order(name: str) -> None:
    assert tuple(re.findall(r"^## (.*)$", page(name), re.MULTILINE)) == HEADINGS


@each_page
def test_the_settings_of_a_page_are_those_of_the_code_with_their_defaults(name: str) -> None:
    shown = rows(page(name), "| setting | meaning | default |")

    assert shown
    for setting, _, default in ((row + [""])[:3] for row in shown):
        names, defaults = re.findall("`([A-Z_]+)`", setting), re.findall("`([^`]+)`", default)
        assert set(names) <= set(Settings.variables())
        declared = Settings.declarations()
        fields = [declared[n.lower()] for n in names if n.lower() in declared]
        for field, text in zip(fields, defaults, strict=False):
            is_computed = field.name in ("database_url", "indexed_attributes", "state_database_url")
            assert is_computed or field.metadata["read"](text) == field.default, field.name
        if not defaults:
            assert {field.default for field in fields} <= {"", None}


@pytest.mark.parametrize("name", ["index", *PAGES], ids=lambda name: f"{name}.md")
def test_a_page_names_no_setting_that_does_not_exist(name: str) -> None:
    named = set(re.findall(r"`((?:[A-Z]+_)+[A-Z]+)(?:=[^`]*)?`", page(name)))
    others = re.compile("ORG_|.*_TEST_|HTTPS_PROXY|NO_PROXY|REQUESTS_CA_BUNDLE")

    assert {n for n in named if not others.match(n)} <= {*Settings.variables(), *Settings.file_variables()}


@each_page
def test_the_messages_of_a_page_are_those_of_the_code(name: str) -> None:
    texts = messages()

    shown = [
        piece.strip("; ")
        for row in rows(page(name), "| symptom | log or error message | remedy |")
        for message in re.findall("`([^`]+)`", row[1])
        for piece in message.split("…")
    ]

    assert len(shown) > 5
    assert [piece for piece in shown if not any(piece in text for text in texts)] == []


@cache
def messages() -> frozenset[str]:
    """Return the texts in the code that makes messages."""
    found: set[str] = set()
    for folder in ("app", "storage", "set_delivery"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.update(re.split(r"%(?:\.\d)?[a-z]", node.value))
    return frozenset(found)
