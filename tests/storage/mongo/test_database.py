"""Connections: shared by threads, not by forks, closed when nobody uses them; names for what fails."""

import os
import threading

import pytest
from pymongo.errors import NotPrimaryError, OperationFailure

from storage.adapter import StorageAdapter
from storage.errors import StorageReadOnly, StorageUnavailable
from storage.mongo.wire import Database, check_url
from storage.testing import USER, stored
from tests.mongodb import MongoStore


def test_a_child_of_a_fork_opens_its_own_connections(store: MongoStore, adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="a"))
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            version = adapter.replace(USER, stored("1", userName="b")).version
            adapter.close()
            os.write(writing, version.encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    answer = os.read(reading, 10)
    os.close(reading)

    assert answer == b"2"
    assert adapter.get(USER, "1").document["userName"] == "b"


def test_closing_lets_calls_in_other_threads_end(store: MongoStore) -> None:
    database = Database(store.url, 2)
    within, closed = threading.Event(), threading.Event()
    names: list[str] = []

    def work() -> None:
        with database.reading() as documents:
            documents.command("ping")
            within.set()
            closed.wait(10)
            names.extend(documents.list_collection_names())

    thread = threading.Thread(target=work)
    thread.start()
    within.wait(10)
    database.close()
    closed.set()
    thread.join()

    assert "Users" in names
    with database.reading() as documents:
        assert documents.name == store.documents.name
    database.close()


def test_without_a_name_in_the_url_the_database_is_scim() -> None:
    database = Database("mongodb://127.0.0.1:1", 2)

    with database.reading() as documents:
        assert documents.name == "scim"
    database.close()


def test_why_no_server_can_be_reached_is_said() -> None:
    database = Database("mongodb://scim:s3cr3t@127.0.0.1:1/?serverSelectionTimeoutMS=1", 2)

    with pytest.raises(StorageUnavailable, match="at 127.0.0.1:1 cannot be used now: .*refused$") as caught:
        with database.reading() as documents:
            documents.command("ping")
    assert "s3cr3t" not in str(caught.value)
    database.close()


def test_certificates_that_are_not_there_are_said() -> None:
    with pytest.raises(ValueError, match="tlscafile file is not readable"):
        check_url("mongodb://127.0.0.1/?tls=true&tlsCAFile=/nowhere/ca.pem")


@pytest.mark.parametrize("code", [18, 8000])
def test_refused_credentials_are_said_without_them(code: int) -> None:
    database = Database("mongodb://scim:s3cr3t@127.0.0.1:1", 2)

    with pytest.raises(StorageUnavailable, match="refuses the user or the password") as caught:
        with database.writing():
            raise OperationFailure("Authentication failed.", code)
    assert "s3cr3t" not in str(caught.value)
    database.close()


def test_a_user_who_may_only_read_makes_the_storage_read_only() -> None:
    database = Database("mongodb://127.0.0.1:1", 2)

    with pytest.raises(StorageReadOnly), database.writing():
        raise OperationFailure("not authorized", 13)
    with pytest.raises(StorageUnavailable), database.reading():
        raise OperationFailure("not authorized", 13)
    database.close()


@pytest.mark.parametrize(
    "options, kind", [("?directConnection=true", StorageReadOnly), ("", StorageUnavailable)]
)
def test_a_secondary_is_read_only_where_the_url_asks_for_it_alone(
    options: str, kind: type[Exception]
) -> None:
    # Elsewhere another member is becoming the primary.
    database = Database(f"mongodb://127.0.0.1:1/{options}", 2)

    with pytest.raises(kind), database.writing():
        raise NotPrimaryError("not primary", {"code": 10107, "codeName": "NotWritablePrimary"})
    database.close()
