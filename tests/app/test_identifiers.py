"""Identifiers of new resources and changes: UUIDs that come in the order of time (RFC 9562 section 5.7)."""

import time
from uuid import RFC_4122, UUID

import pytest

from app.protocol.identifiers import ordered_uuid
from tests.conftest import ScimClient


def test_later_ones_are_greater(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for milliseconds in (1_700_000_000_000, 1_700_000_000_001, 1_800_000_000_000):
        monkeypatch.setattr(time, "time_ns", lambda ms=milliseconds: ms * 1_000_000 + 999_999)
        found.append([ordered_uuid() for _ in range(100)])
        assert {one.int >> 80 for one in found[-1]} == {milliseconds}

    assert max(found[0]) < min(found[1]) and max(found[1]) < min(found[2])
    every = [one for some in found for one in some]
    assert len(set(every)) == 300
    assert {(one.version, one.variant) for one in every} == {(7, RFC_4122)}
    # Each random bit has both values.
    both = 0
    for one in every:
        both |= one.int ^ every[0].int
    assert both & (0xFFF << 64 | (1 << 62) - 1) == 0xFFF << 64 | (1 << 62) - 1


@pytest.mark.sqlite
def test_a_new_resource_has_one(scim: ScimClient) -> None:
    first, second = (UUID(scim.user(name)["id"]) for name in ("ann", "bob"))

    assert (first.version, second.version) == (7, 7)
    assert first.int >> 80 <= second.int >> 80
