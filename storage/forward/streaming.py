"""The elements of one long list in a JSON object, read as they come: the object is never whole."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, Final

# No single value is longer, in characters.
_LONGEST_VALUE: Final = 1 << 24
_NO_NUMBER: Final = (str, dict, list, type(None))


class ListReader:
    """Reads an object from pieces of UTF-8. ValueError tells that it is none, or not all of it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0

    def elements(self, name: str) -> Iterator[Any]:
        """Yield the elements of the list called `name` in any case; nothing if the object has none."""
        self._take("{")
        while self._next() != "}":
            key = self._value()
            self._take(":")
            if isinstance(key, str) and key.lower() == name.lower() and self._next() == "[":
                yield from self._list()
            else:
                self._value()
            if self._next() == ",":
                self._take(",")
        self._take("}")

    def _list(self) -> Iterator[Any]:
        self._take("[")
        while self._next() != "]":
            yield self._value()
            if self._next() == ",":
                self._take(",")
        self._take("]")

    def _value(self) -> Any:
        while True:
            self._next()
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError:
                self._more()
                continue
            # A number at the end of a piece may go on in the next one, as `1` in `1.5`.
            if end < len(self._text) and (isinstance(value, _NO_NUMBER) or self._text[end] in ",]} \t\r\n"):
                self._at = end
                return value
            self._more()

    def _take(self, mark: str) -> None:
        if self._next() != mark:
            raise ValueError(f"{mark} expected")
        self._at += 1

    def _next(self) -> str:
        """Return the next character that is no white space."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in " \t\r\n":
                    return character
                self._at += 1
            self._more()

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise ValueError("the object does not end")
        self._text = self._text[self._at :] + self._decode.decode(piece)
        self._at = 0
        if len(self._text) > _LONGEST_VALUE:
            raise ValueError("a value does not end")
