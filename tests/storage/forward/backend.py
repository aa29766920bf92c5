"""Another SCIM service provider, for the tests of every folder."""

from collections.abc import Iterator
from typing import Any

import pytest

BACKENDS = ("forward",)


@pytest.fixture(scope="session")
def forward() -> Iterator[Any]:
    from tests.upstream import UpstreamServer

    server = UpstreamServer()
    yield server
    server.remove()
