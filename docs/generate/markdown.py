"""The parts of a page in Markdown."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

_ORIGIN = "<!-- Made from the code by `make reference`: change the code, not this page. -->"


def document(title: str, *parts: str) -> str:
    """Return a page; between two of its parts is an empty line."""
    return "\n\n".join([f"# {title}", _ORIGIN, *(part.strip("\n") for part in parts if part)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown in one line."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def code(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_json(value: Any) -> str:
    return code(pretty(value), "json")


def listed(words: Iterable[str]) -> str:
    """Return words as code, with commas between them."""
    return ", ".join(f"`{word}`" for word in words)
