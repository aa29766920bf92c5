"""MongoDB, for the tests of every folder."""

from collections.abc import Iterator
from typing import Any

import pytest

BACKENDS = ("mongodb",)


@pytest.fixture(scope="session")
def mongodb() -> Iterator[Any]:
    from tests.mongodb import MongodbServer

    server = MongodbServer()
    yield server
    server.remove()
