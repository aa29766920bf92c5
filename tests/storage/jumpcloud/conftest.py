"""An adapter on an empty organisation of the fake, for the tests of JumpCloud."""

from collections.abc import Iterator

import pytest

from storage.adapter import StorageAdapter
from storage.testing import REGISTRY
from tests.backends import open_backend
from tests.fake_jumpcloud import FakeJumpcloudServer, Organisation, Request


class Store:
    """An adapter, the organisation behind it, and the calls that were made.

    The adapter manages users and groups of other programs.
    """

    def __init__(self, fake: FakeJumpcloudServer, key: str, timeout_s: float = 5.0) -> None:
        self.fake = fake
        self.key = key
        self.organisation: Organisation = fake.organisations[key]
        self._timeout_s = timeout_s
        self.adapter = self.open("managed")

    def open(self, foreign_entries: str) -> StorageAdapter:
        """Return another adapter on the organisation."""
        adapter = open_backend(
            "jumpcloud",
            jumpcloud_url=self.fake.url,
            jumpcloud_key=self.key,
            remote_timeout=self._timeout_s,
            remote_pool_size=8,
            foreign_entries=foreign_entries,
        )
        adapter.prepare(REGISTRY.resource_types)
        return adapter

    def calls(self) -> list[str]:
        """Return the calls since the last time, as method and path without ids, and forget them."""
        calls = [f"{one.method} {_path(one)}" for one in self.fake.requests]
        self.fake.requests.clear()
        return calls


def _path(request: Request) -> str:
    return "/".join("*" if len(part) == 24 else part for part in request.path.split("/"))


@pytest.fixture(scope="session")
def jumpcloud_key(jumpcloud: FakeJumpcloudServer) -> str:
    return jumpcloud.new_database()


@pytest.fixture
def store(jumpcloud: FakeJumpcloudServer, jumpcloud_key: str) -> Iterator[Store]:
    jumpcloud.organisations[jumpcloud_key] = Organisation()
    jumpcloud.empty(jumpcloud_key)
    store = Store(jumpcloud, jumpcloud_key)
    yield store
    jumpcloud.faults.clear()
    jumpcloud.calls_per_second = 0
    jumpcloud.delay_s = 0.0
    store.adapter.close()
