"""A MariaDB Galera cluster of three nodes on free ports: each node certifies what the others write.

The fixture `galera` of tests/storage/sql/conftest.py is one cluster for the whole run:

    @pytest.mark.skipif(not os.environ.get("SCIM_TEST_FULL"), reason="starts a cluster")
    def test_two_nodes(galera: GaleraCluster) -> None:
        first, second, third = galera.new_database()    # the URL of one new database at each node
        galera.nodes[1].execute(second, "SELECT ...")   # a node is a MariadbServer: execute, stop, restart
        galera.settle()                                 # every node has applied what the others committed

A cluster starts in half a minute and needs about 500 MB of memory. `new_database` returns when every node
has the database. A later commit is seen at other nodes a moment after its answer; until `settle` returns,
or with `SET SESSION wsrep_sync_wait = 15` before a statement. A node that is stopped joins again by
`restart`; two of three go on, one alone refuses (error 1047).
"""

from collections.abc import Sequence
from typing import Final

from tests.ports import free_port
from tests.servers import MariadbServer, program

_NODES: Final = 3
_NEW_CLUSTER: Final = "gcomm://"
_READY: Final = "SELECT 1 FROM information_schema.global_status WHERE variable_name = 'wsrep_ready'"


class GaleraNode(MariadbServer):
    """A node that joins those at the addresses `others`, or begins a cluster where there are none."""

    def __init__(self, others: Sequence[str]) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        program("rsync")
        provider = {
            "gmcast.listen_addr": f"tcp://{self.address}",
            "ist.recv_addr": f"127.0.0.1:{free_port()}",
            "gcache.size": "32M",
        }
        super().__init__(
            **{
                "wsrep-on": "ON",
                "wsrep-provider": program("libgalera_smm.so", "/usr/lib/galera/libgalera_smm.so"),
                "wsrep-provider-options": ";".join(f"{name}={value}" for name, value in provider.items()),
                "wsrep-cluster-address": _NEW_CLUSTER + ",".join(others),
                "wsrep-node-address": "127.0.0.1",
                "wsrep-sst-method": "rsync",
                "wsrep-sst-receive-address": f"127.0.0.1:{free_port()}",
                "binlog-format": "ROW",
                "innodb-autoinc-lock-mode": "2",
            }
        )

    def _ask(self) -> None:
        # A node that receives the data refuses every connection, or every statement.
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"{_READY} AND variable_value = 'ON'")
            assert cursor.fetchone()

    def joins_when_restarted(self, others: Sequence[str]) -> None:
        """Make `restart` join the nodes at the addresses `others`, also where this node began the cluster."""
        begins = f"--wsrep-cluster-address={_NEW_CLUSTER}"
        joins = begins + ",".join(others)
        self._command = [joins if word.startswith(begins) else word for word in self._command]


class GaleraCluster:
    """Three nodes, in `nodes`, that form one cluster."""

    def __init__(self) -> None:
        self.nodes: list[GaleraNode] = []
        try:
            for _ in range(_NODES):
                self.nodes.append(GaleraNode([node.address for node in self.nodes]))
        except BaseException:
            self.remove()
            raise
        for node in self.nodes:
            node.joins_when_restarted([other.address for other in self.nodes if other is not node])

    def new_database(self) -> list[str]:
        """Make an empty database and return its URL at each node."""
        name = self.nodes[0].new_database().rpartition("/")[2]
        self.settle()
        return [f"mysql://root@127.0.0.1:{node.port}/{name}" for node in self.nodes]

    def settle(self) -> None:
        """Return when every node has applied what was committed before, at whichever node."""
        for node in self.nodes:
            node.execute("mysql", "SET SESSION wsrep_sync_wait = 15", "SELECT COUNT(*) FROM mysql.db")

    def remove(self) -> None:
        """End every node and delete what it left."""
        for node in reversed(self.nodes):
            node.remove()
