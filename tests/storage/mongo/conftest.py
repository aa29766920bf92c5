"""A store for each of the tests of MongoDB, and a record of what is sent to the server."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pymongo import monitoring

from storage.adapter import StorageAdapter
from tests.mongodb import MongodbServer, MongoStore


class Recorder(monitoring.CommandListener):
    """Keeps the commands that clients of this process send; those that are made after it."""

    def __init__(self) -> None:
        self.commands: list[Mapping[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name not in ("hello", "isMaster", "endSessions", "ping"):
            self.commands.append(event.command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture(scope="package")
def recorder() -> Recorder:
    recorder = Recorder()
    monitoring.register(recorder)
    return recorder


@pytest.fixture(scope="package")
def shared_store(mongodb: MongodbServer, recorder: Recorder) -> Iterator[MongoStore]:
    store = MongoStore(mongodb)
    yield store
    store.adapter.close()


@pytest.fixture
def store(shared_store: MongoStore) -> MongoStore:
    return shared_store.emptied()


@pytest.fixture
def adapter(store: MongoStore) -> StorageAdapter:
    return store.adapter


@pytest.fixture
def commands(recorder: Recorder) -> Callable[[], list[Mapping[str, Any]]]:
    """Return a function that returns what was sent since it was called before."""

    def taken() -> list[Mapping[str, Any]]:
        sent, recorder.commands = recorder.commands, []
        return sent

    taken()
    return taken
