"""Request sequences as the provisioning clients of vendors send them, all against the same server.

A sequence is a list of steps: a request, the status and the parts of the body expected, and what
to remember of the answer for later steps. `${name}` stands for what was remembered.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ScimClient

SEQUENCES = sorted(Path(__file__).parent.glob("*/*.json"))


@pytest.mark.parametrize("profile", ["default", "own"])
@pytest.mark.parametrize("source", SEQUENCES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_sequence(source: Path, profile: str, make_scim: Callable[..., ScimClient]) -> None:
    sequence = json.loads(source.read_text())
    scim = make_scim(PROFILE=source.parent.name if profile == "own" else profile)
    known: dict[str, Any] = {}

    for number, raw in enumerate(sequence["steps"], 1):
        step = _filled(raw, known)
        headers = {**sequence.get("headers", {}), **step.get("headers", {})}
        options = {"query_string": step["query"]} if "query" in step else {}
        answer = scim(step["method"], step["path"], step.get("body"), headers, **options)
        place = f"step {number} ({step.get('note', step['path'])}): {answer.status_code} {answer.text}"
        assert answer.status_code in step["status"], place
        if answer.status_code == 204 and "expect" in step:
            # A profile may leave the resource out of the answer.
            answer = scim("GET", step["path"], headers=headers)
        if answer.status_code != 204:
            assert answer.headers["Content-Type"].startswith("application/scim+json"), place
        for path, expected in step.get("expect", {}).items():
            assert _at(answer.json, path) == expected, f"{place}: {path}"
        for name, path in step.get("remember", {}).items():
            known[name] = _at(answer.json, path)


def test_there_is_a_sequence_of_every_vendor() -> None:
    vendors = {source.parent.name for source in SEQUENCES}

    assert vendors == {"entra", "okta", "onelogin", "sailpoint", "google"}


def _filled(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: str(known[match.group(1)]), value)
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    if isinstance(value, dict):
        return {_filled(key, known): _filled(item, known) for key, item in value.items()}
    return value


def _at(body: Any, path: str) -> Any:
    """Return the part of `body` at a path such as `Resources/0/id`; None where there is none."""
    for part in path.split("|") if "|" in path else path.split("/"):
        if isinstance(body, list):
            body = body[int(part)] if int(part) < len(body) else None
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body
