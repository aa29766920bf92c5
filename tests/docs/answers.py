"""Compares an answer with the one that a page shows; ids, times and tokens are matched by shape.

An id stands for the same id wherever the page shows it again: `Shown` remembers which one it was.
"""

import json
import re
from typing import Any, Final

# Shapes of values that differ in every run. The first that fits is the kind of the value.
_SHAPES: Final = {
    "JWT": r"eyJ[\w\-]+\.[\w\-]+\.[\w\-]*",
    "UUID": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "jti": r"\b[0-9a-f]{32}\b",
    "dateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "date": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    "log time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}",
    "duration": r"\b\d+\.\d ms\b",
    "token": r"(?<![\w\-])[\w\-]{40,}",
}
_ANY: Final = re.compile("|".join(f"(?P<k{i}>{shape})" for i, shape in enumerate(_SHAPES.values())))
_KINDS: Final = tuple(_SHAPES)
# Times in seconds are numbers.
_SECONDS: Final = frozenset({"iat", "exp"})
# Of these, the same shown value means the same real value.
_NAMES: Final = frozenset({"UUID", "jti"})


class Shown:
    """What a page has shown so far."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def check_json(self, shown: str, answer: str) -> None:
        """Assert that `answer` is the JSON that is shown, whatever the spaces."""
        self._check(json.loads(shown), json.loads(answer), "$")

    def check_http(self, shown: str, answer: str) -> None:
        """Assert that status, shown headers and body are those of `answer`, which `curl -i` printed."""
        shown_head, _, shown_body = shown.partition("\n\n")
        head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
        status, *headers = shown_head.strip().splitlines()
        real_status, *real_headers = head.splitlines()
        assert real_status.split()[1:2] == status.split()[1:2], answer
        real = {line.partition(":")[0].lower(): line for line in real_headers}
        for line in headers:
            name, _, value = line.partition(":")
            assert name.lower() in real, f"no header {name} in\n{answer}"
            self._check_text(value.strip(), real[name.lower()].partition(":")[2].strip(), name)
        if shown_body.strip():
            self.check_json(shown_body, body)
        else:
            assert body.strip() == ""

    def check_text(self, shown: str, answer: str) -> None:
        """Assert that the lines are those of `answer`; a line `…` stands for any lines."""
        parts = re.split(r"^…\n", shown, flags=re.MULTILINE)
        rest = answer.splitlines()
        for number, part in enumerate(parts):
            wanted = part.splitlines()
            if not wanted:
                continue
            starts = range(len(rest) - len(wanted) + 1) if number else [0]
            start = next((s for s in starts if _same_shape(wanted, rest[s : s + len(wanted)])), None)
            assert start is not None, f"\n{part}\nis not in\n{answer}"
            for line, real in zip(wanted, rest[start:], strict=False):
                self._check_text(line, real, "line")
            rest = rest[start + len(wanted) :]
        assert parts[-1] == "" or not rest, f"more lines than shown: {rest}"

    def _check(self, shown: Any, real: Any, path: str) -> None:
        assert type(shown) is type(real), f"{path}: {shown!r} is shown, {real!r} is true"
        if isinstance(shown, dict):
            keys = f"{list(shown)} are shown, {list(real)} are true"
            assert len(shown) == len(real), f"{path}: {keys}"
            for (key, value), (real_key, real_value) in zip(shown.items(), real.items(), strict=True):
                self._check_text(key, real_key, path)
                if key not in _SECONDS:
                    self._check(value, real_value, f"{path}.{key}")
        elif isinstance(shown, list):
            assert len(shown) == len(real), f"{path}: {len(shown)} are shown, there are {len(real)}"
            for number, (one, other) in enumerate(zip(shown, real, strict=True)):
                self._check(one, other, f"{path}[{number}]")
        elif isinstance(shown, str):
            self._check_text(shown, real, path)
        else:
            assert shown == real, f"{path}: {shown!r} is shown, {real!r} is true"

    def _check_text(self, shown: str, real: str, path: str) -> None:
        problem = f"{path}: {shown!r} is shown, {real!r} is true"
        assert _shape(shown) == _shape(real), problem
        for one, other in zip(_ANY.finditer(shown), _ANY.finditer(real), strict=True):
            if _kind(one) in _NAMES:
                assert self._real.setdefault(one.group(), other.group()) == other.group(), problem


def _kind(match: re.Match[str]) -> str:
    """Return the kind of a value that differs in every run."""
    return _KINDS[int((match.lastgroup or "k0")[1:])]


def _shape(text: str) -> str:
    """Return the text with the kind of each such value in its place."""
    return _ANY.sub(lambda match: f"<{_kind(match)}>", text)


def _same_shape(shown: list[str], real: list[str]) -> bool:
    return [_shape(line) for line in shown] == [_shape(line) for line in real]
