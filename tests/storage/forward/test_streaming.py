"""Long lists are read as they come, in pieces of any size."""

import itertools

import orjson
import pytest

from storage.forward.streaming import ListReader

DOCUMENT = {
    "schemas": ["a", {"members": [1]}],
    "count": 12,
    "text": 'a "quoted" \\ \u00e9 \U0001f600 ]}',
    "Members": [{"value": "1", "nested": {"members": ["no"]}}, {"value": "\u00e9"}, "x", 7, None, []],
    "meta": {},
    "last": 1.5,
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_elements_come_out_whole(size: int) -> None:
    text = orjson.dumps(DOCUMENT)
    pieces = [text[n : n + size] for n in range(0, len(text), size)]

    assert list(ListReader(iter(pieces)).elements("members")) == DOCUMENT["Members"]


def test_the_first_elements_come_before_the_last_are_there() -> None:
    asked = []

    def endless():  # type: ignore[no-untyped-def]
        yield b'{"members":['
        for number in itertools.count():
            asked.append(number)
            yield b'{"value":"%d"},' % number

    first = list(itertools.islice(ListReader(endless()).elements("members"), 3))

    assert [element["value"] for element in first] == ["0", "1", "2"]
    assert len(asked) < 6


BROKEN = [b"", b"[", b"{", b'{"members":[1', b'{"members":[1]', b"{members}", b'{"a" 1}', b"\xff", b"<html>"]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_object_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        list(ListReader(iter([text])).elements("members"))


@pytest.mark.parametrize("text", [b"{}", b'{"members":null}', b'{"members":[]}', b' { "other" : [ 1 ] } '])
def test_no_elements_are_none(text: bytes) -> None:
    assert list(ListReader(iter([text])).elements("members")) == []
