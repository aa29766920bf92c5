"""A fake of JumpCloud, for the tests of every folder."""

from collections.abc import Iterator
from typing import Any

import pytest

BACKENDS = ("jumpcloud",)


@pytest.fixture(scope="session")
def jumpcloud() -> Iterator[Any]:
    from tests.fake_jumpcloud import FakeJumpcloudServer

    server = FakeJumpcloudServer()
    yield server
    server.remove()
