"""A cluster of MariaDB nodes that all accept writes: locks are of one node, and a commit may be refused."""

import json
import os

import pytest

from storage.testing import GROUP, REGISTRY, USER, members_of
from tests.backends import open_backend
from tests.first_start import start_together
from tests.galera import GaleraCluster

pytestmark = pytest.mark.skipif(not os.environ.get("SCIM_TEST_FULL"), reason="starts a cluster")

INSTANCES = 8
USERS = 700


def on_every_node(urls: list[str]) -> list[dict[str, str]]:
    """Return the variables of the instances: they take the nodes in turn."""
    nodes = (urls[number % len(urls)] for number in range(INSTANCES))
    return [{"DATABASE_URL": url, "SET_POLL_ENABLED": "true"} for url in nodes]


def leave_documents(galera: GaleraCluster, url: str) -> None:
    """Make the tables of the earlier product."""
    users = {f"u{n:04}": {"userName": f"user{n}", "emails": [{"value": f"{n}@x"}]} for n in range(USERS)}
    members = [{"value": one} for one in users]
    groups = {f"g{n}": {"displayName": f"G{n}", "members": members} for n in range(3)}
    for table, documents in (("Users", users), ("Groups", groups)):
        rows = ", ".join(f"('{key}', '{json.dumps(document)}')" for key, document in documents.items())
        galera.nodes[0].execute(
            url,
            f"CREATE TABLE {table} (id VARCHAR(255) NOT NULL, details JSON, PRIMARY KEY (id))",
            f"INSERT INTO {table} (id, details) VALUES {rows}",
        )
    galera.settle()


@pytest.mark.parametrize("number", range(4))
def test_instances_come_up_together_on_an_empty_database(galera: GaleraCluster, number: int) -> None:
    urls = galera.new_database()

    start_together(on_every_node(urls))

    for url in urls:
        adapter = open_backend("sql", database_url=url)
        adapter.prepare(REGISTRY.resource_types)
        assert list(adapter.scan(USER)) == []
        adapter.close()


@pytest.mark.parametrize("number", range(4))
def test_instances_come_up_together_on_tables_of_the_earlier_product(
    galera: GaleraCluster, number: int
) -> None:
    urls = galera.new_database()
    leave_documents(galera, urls[0])

    start_together(on_every_node(urls))

    galera.settle()
    for url in urls:
        adapter = open_backend("sql", database_url=url)
        adapter.prepare(REGISTRY.resource_types)
        assert [one.id for one in adapter.scan(USER)] == [f"u{n:04}" for n in range(USERS)]
        assert [len(list(members_of(adapter, one.id))) for one in adapter.scan(GROUP)] == [USERS] * 3
        adapter.close()
    node = galera.nodes[0]
    # A unique row, and index rows, of each user: once.
    (claims,) = node.execute(urls[0], "SELECT COUNT(*) FROM scim_unique")
    assert claims == (USERS,)
    (total,) = node.execute(urls[0], "SELECT SUM(total) FROM scim_count")
    assert total == (USERS + 3,)


def test_a_node_that_began_the_cluster_joins_again(galera: GaleraCluster) -> None:
    urls = galera.new_database()
    first, second, _ = galera.nodes
    first.stop()
    second.execute(urls[1], "CREATE TABLE seen (number INT PRIMARY KEY)", "INSERT INTO seen VALUES (1)")
    first.restart()
    assert first.execute(urls[0], "SELECT number FROM seen") == [(1,)]
