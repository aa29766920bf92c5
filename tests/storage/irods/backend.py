"""A fake of iRODS, or a real zone, for the tests of every folder."""

from collections.abc import Iterator
from typing import Any

import pytest

BACKENDS = ("irods",)


@pytest.fixture(scope="session")
def irods() -> Iterator[Any]:
    from tests.fake_irods import FakeIrodsServer

    server = FakeIrodsServer()
    yield server
    server.remove()
