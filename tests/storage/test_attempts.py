"""Lost races: one PATCH is tried a bounded number of times, however many layers try again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from storage import attempts
from storage.adapter import Member
from storage.attempts import ATTEMPTS, Changed, own_limit, repeated
from storage.errors import Contention, StorageError, VersionMismatch
from storage.testing import GROUP, USER
from tests.backends import measured_of
from tests.conftest import ScimClient, error_of

OPERATION = {"op": "replace", "path": "title", "value": "mine"}
PATCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [OPERATION]}
# Where a writer is between its reading and its writing.
BETWEEN: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "LdapAdapter": lambda adapter: (adapter._writer, "replace"),
    "MongoAdapter": lambda adapter: (adapter._types["User"].writer, "replace"),
    "IrodsAdapter": lambda adapter: (adapter._changes, "_take"),
    "ForwardAdapter": lambda adapter: (adapter._types["User"].exchange, "_changed"),
    "JumpcloudAdapter": lambda adapter: (adapter, "replace"),
}


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attempts, "_LONGEST_PAUSE_S", 0)
    yield


@pytest.mark.on("ldap", "mongodb", "irods", "forward", "jumpcloud")
def test_a_patch_that_always_loses_is_tried_a_bounded_number_of_times(
    scim: ScimClient, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter: Any = measured_of(scim.app.extensions["scim.storage"])
    user = scim.user("ann", title="theirs")
    owner, name = BETWEEN[type(adapter).__name__](adapter)
    write, replace_alone, writer = getattr(owner, name), adapter.replace, threading.current_thread()
    tries = 0

    def change_first() -> None:
        stored = adapter.get(USER, user["id"])
        text = stored.text.replace(stored.document["title"], f"theirs {tries}")
        replace_alone(USER, replace(stored, text=text))

    def overtaken(*args: Any, **options: Any) -> Any:
        nonlocal tries
        if threading.current_thread() is writer:
            tries += 1
            other = threading.Thread(target=change_first)
            other.start()
            other.join()
        return write(*args, **options)

    monkeypatch.setattr(owner, name, overtaken)
    answer = scim("PATCH", f"/Users/{user['id']}", PATCH)

    error_of(answer, 503)
    assert answer.headers["Retry-After"]
    assert tries == ATTEMPTS
    assert adapter.get(USER, user["id"]).document["title"] == f"theirs {tries}"


@pytest.mark.on("ldap")
def test_a_member_that_others_remove_and_add_is_added_a_bounded_number_of_times(
    scim: ScimClient, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter: Any = measured_of(scim.app.extensions["scim.storage"])
    member, group = Member(scim.user("ann")["id"], "User"), scim.group("g")
    read, write, writer = adapter._group, adapter._writer.change_members, threading.current_thread()
    tries = 0

    def change_first(*members: list[Member]) -> None:
        adapter.change_members(GROUP, adapter.get(GROUP, group["id"]), *members)

    def overtaken(method: Callable[..., Any], *members: list[Member]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal tries
            if threading.current_thread() is writer:
                tries += method is write
                other = threading.Thread(target=change_first, args=members)
                other.start()
                other.join()
            return method(*args)

        return call

    monkeypatch.setattr(adapter, "_group", overtaken(read, [], [member]))
    monkeypatch.setattr(adapter._writer, "change_members", overtaken(write, [member], []))
    operation = {"op": "add", "path": "members", "value": [{"value": member.resource_id}]}
    answer = scim("PATCH", f"/Groups/{group['id']}", {**PATCH, "Operations": [operation]})

    error_of(answer, 503)
    assert answer.headers["Retry-After"]
    assert tries == ATTEMPTS


class Crossing:
    """Another writer, on a connection of its own: it takes a userName, then waits for the lock of a user.

    The writer under test has that lock, and needs the userName: a deadlock, which the database ends at its
    cost. This writer then changes the user, gives the name up, and commits.
    """

    def __init__(self, backend: str, connect: Callable[[], Any], user_id: str, user_name: str) -> None:
        self._backend, self._user_id = backend, user_id
        self._connection, self._watching = connect(), connect()
        self._cursor = self._connection.cursor()
        # PostgreSQL undoes the transaction that looks for a deadlock, MariaDB that with fewer changes.
        if backend == "postgresql":
            self._cursor.execute("SET deadlock_timeout = '1h'")
        self._cursor.execute("CREATE TEMPORARY TABLE changes (number INTEGER)")
        self._cursor.execute("SELECT path FROM scim_unique WHERE value = 'ann'")
        (path,) = self._cursor.fetchone()
        self._value = (path, user_name)
        self._thread: threading.Thread | None = None

    def cross(self) -> None:
        """Take the name, and wait for the user from then on."""
        self._cursor.execute("BEGIN")
        self._cursor.execute(f"INSERT INTO changes VALUES {', '.join(['(0)'] * 300)}")
        self._cursor.execute("INSERT INTO scim_unique (path, value, rid) VALUES (%s, %s, 0)", self._value)
        self._thread = threading.Thread(target=self._change)
        self._thread.start()
        while self._backend == "postgresql" and not self._is_waiting():
            # A transaction of PostgreSQL looks for a deadlock only once.
            assert self._thread.is_alive()
            time.sleep(0.005)

    def _is_waiting(self) -> bool:
        with self._watching.cursor() as cursor:
            pid = self._connection.info.backend_pid
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s", (pid,))
            return cursor.fetchone() is not None

    def _change(self) -> None:
        self._cursor.execute("UPDATE scim_resource SET display = 'theirs' WHERE id = %s", (self._user_id,))
        self._cursor.execute("DELETE FROM scim_unique WHERE rid = 0")
        self._cursor.execute("COMMIT")

    def end(self) -> None:
        """Wait until the last change is committed."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        self.end()
        self._connection.close()
        self._watching.close()


@pytest.mark.on("postgresql", "mariadb")
@pytest.mark.parametrize(("losses", "status"), [(ATTEMPTS, 503), (ATTEMPTS - 1, 200)])
def test_a_patch_whose_transaction_is_undone_is_tried_a_bounded_number_of_times(
    scim: ScimClient,
    no_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    losses: int,
    status: int,
) -> None:
    # The machine may be slow: the number alone ends the attempts.
    monkeypatch.setattr(attempts, "LONGEST_S", 3600.0)
    name = request.node.callspec.params["backend"]
    server, adapter = request.getfixturevalue(name), scim.app.extensions["scim.storage"]
    database, user = adapter.state_database.name, scim.user("ann")
    write, begin, tries = adapter.replace, adapter.transaction, 0

    def begun() -> Any:
        other.end()
        return begin()

    def overtaken(*args: Any, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= losses:
            other.cross()
        return write(*args, **options)

    with ExitStack() as ending:
        if name == "postgresql":
            setting = f"ALTER DATABASE {database}"
            server.execute(database, f"{setting} SET deadlock_timeout = '1ms'")
            ending.callback(server.execute, database, f"{setting} RESET deadlock_timeout")
            # The next connection has the setting.
            adapter.close()
        other = ending.enter_context(
            closing(Crossing(name, lambda: server._connect(database), user["id"], "new"))
        )
        monkeypatch.setattr(adapter, "transaction", begun)
        monkeypatch.setattr(adapter, "replace", overtaken)
        operation = {"op": "replace", "path": "userName", "value": "new"}
        answer = scim("PATCH", f"/Users/{user['id']}", {**PATCH, "Operations": [operation]})

    assert tries == min(losses + 1, ATTEMPTS)
    assert answer.status_code == status
    assert scim.names('userName sw ""') == [answer.json.get("userName", "ann")]
    if status == 503:
        error_of(answer, 503)
        assert answer.headers["Retry-After"]


# -- the limit


def losing(tries: list[int], loss: type[StorageError]) -> Callable[[], None]:
    def change() -> None:
        tries.append(1)
        raise loss("late") if loss is not Changed else Changed

    return change


def test_layers_share_one_limit(no_pauses: None) -> None:
    tries: list[int] = []

    with pytest.raises(Changed):
        repeated(lambda: repeated(losing(tries, Changed), Changed), VersionMismatch, Contention)

    assert len(tries) == ATTEMPTS


def test_a_loss_that_only_the_outer_layer_repeats_counts_too(no_pauses: None) -> None:
    tries: list[int] = []
    kinds = [Changed, VersionMismatch]

    def change() -> None:
        tries.append(1)
        raise Changed if kinds[len(tries) % 2] is Changed else VersionMismatch("late")

    with pytest.raises(VersionMismatch):
        repeated(lambda: repeated(change, Changed), VersionMismatch)

    assert len(tries) == ATTEMPTS


def test_another_resource_has_a_limit_of_its_own_and_ends_that_of_the_whole(no_pauses: None) -> None:
    tries: list[int] = []
    wins: list[int] = []

    def sometimes() -> None:
        wins.append(1)
        if len(wins) % 3:
            raise Changed

    def change() -> None:
        for _ in range(ATTEMPTS):
            with own_limit():
                repeated(sometimes, Changed)
        with own_limit():
            repeated(losing(tries, Changed), Changed)

    with pytest.raises(Changed):
        repeated(change, VersionMismatch)

    assert len(wins) == 3 * ATTEMPTS and len(tries) == ATTEMPTS


def test_a_change_ends_when_its_time_is_over(no_pauses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "LONGEST_S", 0.0)
    tries: list[int] = []

    with pytest.raises(Contention):
        repeated(losing(tries, Contention), Contention)

    assert len(tries) == 1
