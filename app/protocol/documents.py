"""Reading JSON that clients and files bring: an object, nested no deeper than the server can write again."""

from collections.abc import Mapping
from typing import Any

import orjson

from schema.errors import InvalidSyntax


def read_object(raw: bytes, max_depth: int, name: str = "the body") -> dict[str, Any]:
    """Return the JSON object in `raw`, called `name` in errors; an object within it is at depth 2.

    Raises InvalidSyntax for text that is no JSON object, and for one nested deeper than `max_depth`.
    """
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidSyntax(f"{name} is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise InvalidSyntax(f"{name} must be a JSON object")
    # Counting brackets costs next to nothing, and most bodies have few of them.
    if raw.count(b"{") + raw.count(b"[") > max_depth and is_deeper(document, max_depth):
        raise InvalidSyntax(f"{name} is nested more than {max_depth} levels deep")
    return document


def is_deeper(document: Mapping[str, Any], max_depth: int) -> bool:
    """Return whether a parsed document is nested more than `max_depth` levels deep."""
    level: list[Any] = [document]
    for _ in range(max_depth):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
