"""Writers of a group and of its members lock rows in one order: groups first, then their members."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import Contention
from storage.testing import GROUP, REGISTRY, USER, change_members, stored
from storage.testing.links import memberships_of
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient, error_of
from tests.servers import MariadbServer, PostgresqlServer

DatabaseServer = PostgresqlServer | MariadbServer

WAITING = {
    PostgresqlServer: "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND wait_event_type = 'Lock'",
    MariadbServer: "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}
LONGEST_S = 20


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    found: DatabaseServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def url(server: DatabaseServer) -> str:
    return server.new_database()


@pytest.fixture
def adapter(url: str) -> Iterator[StorageAdapter]:
    adapter = open_backend("sql", database_url=url)
    adapter.prepare(REGISTRY.resource_types)
    adapter.create(USER, stored("u", userName="u"))
    for name in "gh":
        adapter.create(GROUP, stored(name, displayName=name))
    yield adapter
    adapter.close()


class InThread:
    """Work in a thread of its own, and what became of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._run, args=(work,))
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self.outcome = work()
        except Exception as exc:
            self.outcome = exc

    def result(self) -> Any:
        self._thread.join()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def until_one_waits(server: DatabaseServer, url: str) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not server.execute(url, WAITING[type(server)]):
        assert time.monotonic() < deadline, "nobody waits for a lock"
        # InnoDB shows the same again when it is asked within a tenth of a second.
        time.sleep(0.2)


def delete(adapter: StorageAdapter) -> list[str]:
    """Delete the user as a request does, and return the groups that it was in."""
    try:
        with adapter.transaction():
            found, groups = adapter.get_to_delete(USER, "u")
            for group in groups:
                change_members(adapter, group.resource_id, (), [found.id])
            adapter.delete(USER, found.id)
        return [group.resource_id for group in groups]
    finally:
        adapter.close()


def test_a_deletion_waits_for_the_groups_before_it_holds_the_user(
    server: DatabaseServer, url: str, adapter: StorageAdapter
) -> None:
    change_members(adapter, "g", [Member("u", "User")])

    with adapter.transaction():
        adapter.get(GROUP, "g")
        deletion = InThread(lambda: delete(adapter))
        until_one_waits(server, url)
        # The user would be locked by then, and each would wait for the other.
        change_members(adapter, "g", [Member("u", "User", "Babs")], ["u"])

    assert deletion.result() == ["g"]
    assert memberships_of(adapter, ["u"]) == {}


def test_a_deletion_begins_again_when_the_user_has_joined_meanwhile(
    server: DatabaseServer, url: str, adapter: StorageAdapter
) -> None:
    change_members(adapter, "g", [Member("u", "User")])

    with adapter.transaction():
        change_members(adapter, "h", [Member("u", "User")])
        deletion = InThread(lambda: delete(adapter))
        until_one_waits(server, url)

    with pytest.raises(Contention):
        deletion.result()
    assert delete(adapter) == ["g", "h"]


def test_a_deletion_beside_that_of_a_group_finds_the_user(
    server: DatabaseServer, url: str, adapter: StorageAdapter
) -> None:
    change_members(adapter, "g", [Member("u", "User")])

    with adapter.transaction():
        adapter.delete(GROUP, "g")
        deletion = InThread(lambda: delete(adapter))
        until_one_waits(server, url)

    assert deletion.result() == []


def test_who_is_deleted_before_joining_does_not_join(adapter: StorageAdapter) -> None:
    with pytest.raises(Contention), adapter.transaction():
        group = adapter.get(GROUP, "g")
        (member,) = adapter.find(["u"])
        InThread(lambda: delete(adapter)).result()
        adapter.change_members(GROUP, group, [member], ())


def test_a_change_locks_no_other_resource_of_the_type(adapter: StorageAdapter) -> None:
    for number in range(30):
        adapter.create(USER, stored(str(number), userName=str(number)))

    def change() -> StoredResource:
        try:
            return adapter.replace(USER, stored("7", userName="changed"))
        finally:
            adapter.close()

    with adapter.transaction():
        adapter.get(USER, "3")
        assert InThread(change).result().id == "7"


@pytest.mark.parametrize("members", ["PATCH", "PUT", "POST"])
def test_a_member_that_is_deleted_meanwhile_is_refused(
    url: str, adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch, members: str
) -> None:
    environ = {"API_KEY": KEY, "DATABASE_URL": url, "LOGLEVEL": "CRITICAL", "SET_POLL_ENABLED": "true"}
    app = create_app(Settings.from_env({**environ, "EMBEDDED_WORKER": "false"}))
    scim, storage = ScimClient(app.test_client()), app.extensions["scim.storage"]
    find = type(storage).find

    def found_too_early(self: StorageAdapter, ids: Any) -> Any:
        found = find(self, ids)
        if found:
            InThread(lambda: delete(adapter)).result()
        return found

    monkeypatch.setattr(type(storage), "find", found_too_early)
    body = {"displayName": "new", "members": [{"value": "u"}]}
    add = {"op": "add", "path": "members", "value": [{"value": "u"}]}
    operation = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [add]}
    answer = {
        "PATCH": lambda: scim("PATCH", "/Groups/g", operation),
        "PUT": lambda: scim("PUT", "/Groups/g", body),
        "POST": lambda: scim("POST", "/Groups", body),
    }[members]()

    assert "there is no User or Group with the id u" in error_of(answer, 400, "invalidValue")
    assert scim.names("members pr", "/Groups", "displayName") == []
    assert scim.names('displayName eq "new"', "/Groups", "displayName") == []
    assert storage.state_database.row("SELECT COUNT(*) FROM scim_change")[0] == 0
    app.extensions["scim.delivery"].database.close()
    storage.close()
