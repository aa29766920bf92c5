"""SQL databases, for the tests of every folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import MariadbServer, PostgresqlServer

BACKENDS = ("sqlite", "postgresql", "mariadb")


@pytest.fixture
def sqlite(tmp_path: Path) -> dict[str, str]:
    """The variables that choose an empty file."""
    return {"DATABASE_URL": f"sqlite:///{tmp_path}/data/scim.db"}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    server = PostgresqlServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    server = MariadbServer()
    yield server
    server.remove()
