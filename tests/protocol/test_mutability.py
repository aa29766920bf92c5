"""Immutable attributes keep the value they have (RFC 7643 section 2.2)."""

from copy import deepcopy
from typing import Any

import pytest

from app.protocol.mutability import keep_immutables
from schema.errors import Mutability
from tests.protocol.samples import DEVICE, PRINTER, STOCK, with_changes


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the same"),
        pytest.param({"tags": ["z"]}, id="another attribute changes"),
        pytest.param({"model": "M"}, id="a first value"),
        pytest.param({"ports": [{"value": "other"}]}, id="values come and go as a whole"),
        pytest.param({"place": {"building": "B", "room": "2"}}, id="another part changes"),
    ],
)
def test_what_leaves_immutables_as_they_are_is_taken(changes: dict[str, Any]) -> None:
    after = with_changes(PRINTER, changes)
    expected = deepcopy(after)

    keep_immutables(DEVICE, PRINTER, after)

    assert after == expected


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"serial": "S2"}, "serial"),
        ({"marks": ["m", "n"]}, "marks"),
        ({"place": {"building": "C", "room": "1"}}, "place.building"),
        ({STOCK: {"shelf": "y", "count": 3}}, f"{STOCK}:shelf"),
        ({STOCK: {"box": {"id": "z"}}}, f"{STOCK}:box.id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_value_is_refused(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(Mutability) as caught:
        keep_immutables(DEVICE, PRINTER, with_changes(PRINTER, changes))

    assert caught.value.detail == f"{path}: is immutable and has another value"


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        pytest.param({"serial": None}, {}, id="an attribute"),
        pytest.param({"marks": None}, {}, id="a list"),
        pytest.param({"place": {"room": "2"}}, {"place": {"room": "2", "building": "B"}}, id="a part"),
        pytest.param({"place": None}, {"place": {"building": "B"}}, id="the part of what is left out"),
        pytest.param(
            {STOCK: {"count": 4}},
            {STOCK: {"shelf": "x", "count": 4, "box": {"id": "b1"}}},
            id="in an extension",
        ),
        pytest.param(
            {STOCK: None, "schemas": ["urn:example:Device"]},
            {STOCK: {"shelf": "x", "box": {"id": "b1"}}, "schemas": ["urn:example:Device", STOCK]},
            id="in an extension that is left out",
        ),
    ],
)
def test_what_is_left_out_is_put_back(changes: dict[str, Any], kept: dict[str, Any]) -> None:
    before, after = deepcopy(PRINTER), with_changes(PRINTER, changes)

    keep_immutables(DEVICE, before, after)

    assert after == {**PRINTER, **kept}
    assert before == PRINTER
