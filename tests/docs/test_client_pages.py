"""The requests in the pages for clients get the answers that the pages show.

A fenced `http` block is a request and the answer to it: the request line, headers, the body, and
the same of the answer, whose body may be a part. In it `<name>` is any text, and stands for that
text in later blocks of the page. Query strings are shown decoded. Credentials are left out, but
for a block that shows `Authorization`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import ScimClient

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
CLIENTS = ("entra-id", "okta", "sram", "onelogin", "sailpoint", "google")
PAGES = (*CLIENTS, "migrate")
# The pages say that `strict` accepts every request on them.
PASS_STRICT = {"sailpoint", "sram"}

_BLOCK = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANSWER = re.compile(r"^HTTP/1\.1 (\d{3})\b.*$", re.MULTILINE)
_LOG_LINE = re.compile(r'scim\.request (\w+) (\S+) (\d{3}) ')


@dataclass(frozen=True)
class Exchange:
    """One block: what is sent, and what the page shows of the answer."""

    method: str
    target: str
    headers: dict[str, str]
    body: str
    status: int
    answer_headers: dict[str, str]
    answer: str


def exchanges(page: str) -> list[Exchange]:
    """Return the blocks of a page, in order."""
    return [_exchange(block) for block in _BLOCK.findall((HOW_TO / f"{page}.md").read_text())]


def _exchange(block: str) -> Exchange:
    answer = _ANSWER.search(block)
    assert answer, block
    request, headers, body = _parts(block[: answer.start()])
    method, target = request.split(" ", 1)
    _, answer_headers, answer_body = _parts(block[answer.start() :])
    return Exchange(method, target, headers, body, int(answer.group(1)), answer_headers, answer_body)


def _parts(text: str) -> tuple[str, dict[str, str], str]:
    """Return the first line, the headers and the body of a request or an answer."""
    head, _, body = text.strip().partition("\n\n")
    first, *lines = head.splitlines()
    return first, dict(line.split(": ", 1) for line in lines), body.strip()


def _filled(text: str, known: dict[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda match: known[match.group(1)], text)


def _send(scim: ScimClient, exchange: Exchange, known: dict[str, str]) -> Any:
    path, _, query = _filled(exchange.target, known).partition("?")
    body = json.loads(_filled(exchange.body, known)) if exchange.body else None
    target = f"{path}?{quote(query, safe='=&')}" if query else path
    return scim(exchange.method, target, body, exchange.headers)


def _compare(shown: Any, real: Any, known: dict[str, str], at: str) -> None:
    """Assert that `real` has what the page shows; a list has to be complete."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            assert name in real, f"{at}/{name} is not in the answer"
            _compare(value, real[name], known, f"{at}/{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), f"{at}: {real}"
        for index, (one, other) in enumerate(zip(shown, real)):
            _compare(one, other, known, f"{at}/{index}")
    elif isinstance(shown, str):
        _compare_text(shown, real, known, at)
    else:
        assert shown == real, at


def _compare_text(shown: str, real: str, known: dict[str, str], at: str) -> None:
    pattern = ""
    for part in re.split(r"(<\w+>)", shown):
        name = part[1:-1] if re.fullmatch(r"<\w+>", part) else ""
        pattern += f"(?P<{name}>.+)" if name and name not in known else re.escape(known.get(name, part))
    found = re.fullmatch(pattern, real)
    assert found, f"{at}: the page shows {shown!r}, the answer has {real!r}"
    known |= found.groupdict()


def _play(scim: ScimClient, page: str) -> None:
    """Send the requests of a page, and assert that each gets the answer that is shown."""
    known: dict[str, str] = {}
    shown = exchanges(page)
    assert shown
    for number, exchange in enumerate(shown, 1):
        answer = _send(scim, exchange, known)
        at = f"block {number}, {exchange.method} {exchange.target}"
        assert answer.status_code == exchange.status, f"{at}: {answer.text}"
        for name, value in exchange.answer_headers.items():
            _compare_text(value, answer.headers[name], known, f"{at}, header {name}")
        if exchange.answer:
            _compare(json.loads(exchange.answer), answer.json, known, at)


@pytest.mark.sqlite
@pytest.mark.parametrize("page", PAGES)
def test_the_server_answers_as_the_page_says(page: str, make_scim: Callable[..., ScimClient]) -> None:
    _play(make_scim(), page)


@pytest.mark.sqlite
@pytest.mark.parametrize("page", sorted(PASS_STRICT))
def test_strict_gives_these_clients_the_same_answers(page: str, make_scim: Callable[..., ScimClient]) -> None:
    _play(make_scim(PROFILE="strict"), page)


@pytest.mark.sqlite
@pytest.mark.parametrize("page", sorted(set(CLIENTS) - PASS_STRICT))
def test_strict_refuses_what_these_clients_send(page: str, make_scim: Callable[..., ScimClient]) -> None:
    with pytest.raises(AssertionError, match='"status":"400"'):
        _play(make_scim(PROFILE="strict"), page)


@pytest.mark.parametrize("page", CLIENTS)
def test_the_log_lines_are_those_of_requests_that_the_page_shows(page: str) -> None:
    lines = set(_LOG_LINE.findall((HOW_TO / f"{page}.md").read_text()))

    assert lines
    requests = {(one.method, one.target.partition("?")[0], str(one.status)) for one in exchanges(page)}
    assert lines <= requests
