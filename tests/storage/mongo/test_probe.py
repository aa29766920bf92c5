"""Servers that speak the protocol of MongoDB and find documents that do not match are refused."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from storage.errors import StorageUnavailable
from storage.mongo import probe
from storage.testing import REGISTRY
from tests.backends import open_backend
from tests.mongodb import MongoStore
from tests.ports import free_port
from tests.servers import ServerProcess

REFUSAL = r"does not judge queries as MongoDB does \(.*a range that one element is in.*\)"


class FerretdbServer(ServerProcess):
    """FerretDB 1 on SQLite, from the program that SCIM_TEST_FERRETDB names."""

    def __init__(self, program: str) -> None:
        super().__init__("nobody")
        address = f"127.0.0.1:{self.port}"
        self.url = f"mongodb://{address}/scim"
        places = [f"--sqlite-url=file:{self.folder}/", f"--state-dir={self.folder}"]
        quiet = ["--debug-addr=-", "--telemetry=disable"]
        self.start([program, "--handler=sqlite", f"--listen-addr={address}", *places, *quiet], self._ask)

    def _ask(self) -> None:
        with MongoClient[dict[str, object]](self.url, serverSelectionTimeoutMS=200) as client:
            client.admin.command("ping")


@pytest.fixture
def ferretdb() -> Iterator[FerretdbServer]:
    program = os.environ.get("SCIM_TEST_FERRETDB")
    if not program:
        pytest.skip("SCIM_TEST_FERRETDB names no program")
    server = FerretdbServer(program)
    yield server
    server.remove()


def test_ferretdb_is_refused_and_nothing_is_left_in_it(ferretdb: FerretdbServer) -> None:
    adapter = open_backend("mongo", mongo_db=ferretdb.url)

    with pytest.raises(StorageUnavailable, match=REFUSAL):
        adapter.prepare(REGISTRY.resource_types)

    adapter.close()
    with MongoClient[dict[str, object]](ferretdb.url) as client:
        assert client.get_default_database().list_collection_names() == []


def test_the_start_ends_with_the_reason(ferretdb: FerretdbServer, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "API_KEY": "key", "MONGO_DB": ferretdb.url}
    environ |= {"PORT": str(free_port()), "STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db"}

    ended = subprocess.run(["scim", "serve"], env=environ, timeout=60, capture_output=True, text=True)

    assert ended.returncode != 0
    assert "does not judge queries as MongoDB does" in ended.stderr and "Traceback" not in ended.stderr


def test_mongodb_judges_rightly_and_nothing_is_left_in_it(store: MongoStore) -> None:
    store.open().close()

    assert not [name for name in store.documents.list_collection_names() if "probe" in name]


def test_each_wrong_answer_is_named(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # With this document, MongoDB answers the questions as another server answers those about the usual one.
    monkeypatch.setattr(probe, "_DOCUMENT", {"keys": ["a=1", "b=1"], "elements": []})

    with pytest.raises(StorageUnavailable, match=REFUSAL):
        store.open()

    assert not [name for name in store.documents.list_collection_names() if "probe" in name]


@pytest.mark.parametrize("ability", ["_joins", "_admits_once"])
def test_an_ability_that_is_missing_is_named(
    store: MongoStore, ability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An index that is not there admits every value, and a collection without the document has none to join.
    documents = {"_joins": {"keys": ["b=1"]}, "_admits_once": dict(probe._DOCUMENT)}
    monkeypatch.setattr(probe, "_DOCUMENT", documents[ability])
    monkeypatch.setattr(probe, "make_index", lambda collection: None)

    kinds = {"_joins": r"\$lookup and \$facet", "_admits_once": "an index of unique values"}
    with pytest.raises(StorageUnavailable, match=kinds[ability]):
        store.open()
