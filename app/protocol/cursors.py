"""Cursors (RFC 9865): where a page ended, signed, so that only this server can have said so."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from schema.errors import ExpiredCursor, InvalidCount, InvalidCursor
from storage.adapter import Position
from storage.index_keys import KEY_LENGTH, LAST_CHARACTER, index_key, place_of
from telemetry.catalogue import CURSORS

_SIGNATURE_BYTES = 16
# Hexadecimal digits of a place that held an id of JumpCloud.
_PACKED_ID = 128


@dataclass(frozen=True)
class Cursor:
    """What a cursor says: the page lies behind `position`, or ahead of it when `backwards`.

    `offset` is used in its place where several resource types are searched at once.
    """

    position: Position | None = None
    backwards: bool = False
    offset: int = 0


class Cursors:
    """Makes and reads cursors; `timeout_s` is their life in seconds.

    `keys` returns the keys of a principal, the same in all processes: the first one signs, and the
    signature of each is accepted.
    """

    def __init__(
        self, keys: Callable[[str], Sequence[bytes]], timeout_s: int, clock: Callable[[], datetime]
    ) -> None:
        self._keys = keys
        self._timeout_s = timeout_s
        self._clock = clock

    def write(self, cursor: Cursor, principal: str, query: tuple[Any, ...], count: int) -> str:
        """Return `cursor` as URL-safe text, bound to who asks for what."""
        position = cursor.position
        content = orjson.dumps(
            [
                int(self._clock().timestamp()),
                count,
                # The third one says that the place is a text, as in no version up to 0.2.0.
                [position.place, position.key, 1] if position else None,
                cursor.backwards,
                cursor.offset,
            ]
        )
        bound = _bound(content, principal, query)
        signed = _signature(self._keys(principal)[0], bound) + content
        CURSORS.inc("made")
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")

    def read(self, text: str, principal: str, query: tuple[Any, ...], count: int) -> Cursor:
        """Return what `write` was given.

        Raises InvalidCursor for a text that `write` did not return for this principal and query,
        ExpiredCursor for one that is too old, InvalidCount when the count is another.
        """
        try:
            cursor = self._read(text, principal, query, count)
        except (InvalidCursor, InvalidCount):
            CURSORS.inc("refused")
            raise
        except ExpiredCursor:
            CURSORS.inc("expired")
            raise
        CURSORS.inc("accepted")
        return cursor

    def _read(self, text: str, principal: str, query: tuple[Any, ...], count: int) -> Cursor:
        try:
            signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:  # binascii.Error is one
            raise InvalidCursor("cursor: is not a cursor of this server") from None
        signature, content = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        bound = _bound(content, principal, query)
        if not any(hmac.compare_digest(signature, _signature(k, bound)) for k in self._keys(principal)):
            raise InvalidCursor("cursor: does not belong to this query")
        issued, wanted, position, backwards, offset = orjson.loads(content)
        if self._clock().timestamp() > issued + self._timeout_s:
            raise ExpiredCursor(f"cursor: is older than {self._timeout_s} seconds; start again")
        if wanted != count:
            raise InvalidCount(f"count: must be {wanted}, as in the first request of this query")
        return Cursor(_position(*position) if position else None, backwards, offset)


def _position(place: str, key: str | None, is_text: int = 0) -> Position:
    """Return a position, be it from a cursor of version 0.2.0: its places were numbers, its keys long."""
    if is_text:
        return Position(place, key)
    if len(place) == _PACKED_ID:
        place = bytes.fromhex(place).rstrip(b"\0").decode()
    if key is not None and key[KEY_LENGTH : KEY_LENGTH + 1] != LAST_CHARACTER:
        key = index_key(key)
    return Position(place.zfill(len(place_of(0))), key)


def _bound(content: bytes, principal: str, query: tuple[Any, ...]) -> bytes:
    # Whatever a client sends may be the content, text or not.
    return orjson.dumps([principal, query]) + content


def _signature(key: bytes, bound: bytes) -> bytes:
    return hmac.new(key, bound, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
