"""Databases, a cluster of them, and adapters that are closed at the end of a test."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from schema.resource_type import ResourceType
from storage.sql.adapter import SqlAdapter
from storage.testing import REGISTRY
from tests.backends import open_backend
from tests.galera import GaleraCluster
from tests.servers import MariadbServer, PostgresqlServer, SqliteFolder

Server = PostgresqlServer | MariadbServer | SqliteFolder
Open = Callable[..., SqlAdapter]


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Server:
    if request.param not in (request.config.getoption("--backend") or (request.param,)):
        pytest.skip("runs on other backends only")
    if request.param == "sqlite":
        return SqliteFolder(tmp_path)
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def opened() -> Iterator[Open]:
    """Return a function that opens an adapter with the settings given, as a process does at its start."""
    adapters: list[SqlAdapter] = []

    def start(
        url: str, resource_types: Sequence[ResourceType] = REGISTRY.resource_types, **options: Any
    ) -> SqlAdapter:
        adapter = open_backend("sql", database_url=url, **options)
        assert isinstance(adapter, SqlAdapter)
        adapters.append(adapter)
        adapter.prepare(resource_types)
        return adapter

    yield start
    for adapter in adapters:
        adapter.close()


@pytest.fixture(scope="session")
def galera() -> Iterator[GaleraCluster]:
    """Three nodes of MariaDB that form a cluster."""
    cluster = GaleraCluster()
    yield cluster
    cluster.remove()
