"""What every user of a zone can read of others, before and after their removal."""

import time
from pathlib import Path

import pytest
from irods.models import UserMeta

import storage.irods.purge
from storage.errors import ResourceNotFound
from storage.testing import USER
from tests.conftest import Server
from tests.storage.irods.store import Store, changed, create


def readable(store: Store) -> str:
    """Return the metadata that a user without any right can query, of existing accounts or not."""
    with store.session() as session:
        if "reader" not in store.names():
            session.users.create("reader", "rodsuser")
            session.users.modify("reader", "password", "r3ader")
    columns = (UserMeta.name, UserMeta.value, UserMeta.units)
    with store.session("reader", "r3ader") as session:
        return "\n".join(" ".join(row[column] or "" for column in columns) for row in session.query(*columns))


def test_a_deleted_user_can_be_read_until_the_purge_alone(store: Store) -> None:
    adapter = store.open()
    user = create(adapter, USER, userName="alice", emails=[{"value": "alice@secret.example"}])
    adapter.delete(USER, user.id)
    assert "alice@secret.example" in readable(store)

    adapter.close()

    assert "alice" not in readable(store)
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, user.id)


def test_a_replaced_value_is_purged_too(store: Store) -> None:
    adapter = store.open()
    user = create(adapter, USER, userName="alice", emails=[{"value": "old@secret.example"}])
    adapter.replace(USER, changed(user, userName="alice", emails=[{"value": "new@secret.example"}]))

    adapter.close()

    assert "old@secret.example" not in readable(store)
    assert "new@secret.example" in readable(store)


def test_a_removal_during_a_purge_is_purged_later(store: Store) -> None:
    adapter, mischief = store.open(), store.fake.mischief
    user = create(adapter, USER, userName="alice", emails=[{"value": "alice@secret.example"}])
    purge = vars(vars(adapter)["_zone"])["_purge"]

    with mischief.in_place_of(701, lambda connection: purge.run()):
        adapter.delete(USER, user.id)
    adapter.close()

    assert "alice" not in readable(store)


def test_a_server_purges_at_its_end(store: Store, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/state.db"
    server = Server(LOGLEVEL="ERROR", STATE_DATABASE_URL=state, **store.environ)
    try:
        person = {"schemas": [USER.schema.id], "userName": "alice", "nickName": "secret"}
        user = server("POST", "/Users", json=person).json()
        assert server("DELETE", f"/Users/{user['id']}").status_code == 204
        assert "secret" in readable(store)
    finally:
        assert server.stop() == 0

    assert "secret" not in readable(store)


def test_one_purge_follows_many_changes_by_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.irods.purge, "PURGE_AFTER_S", 1.0)
    adapter = store.open()
    users = [create(adapter, USER, userName=f"u{number}") for number in range(3)]
    before = store.fake.mischief.purges
    for user in users:
        adapter.delete(USER, user.id)

    deadline = time.monotonic() + 30
    while store.fake.mischief.purges == before and time.monotonic() < deadline:
        time.sleep(0.05)
    adapter.close()

    assert 1 <= store.fake.mischief.purges - before <= 2
    assert "scim.document" not in readable(store)


def test_a_purge_that_fails_is_logged_and_made_after_the_next_change(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = store.open()
    create_and_delete(store, adapter)
    mischief = store.fake.mischief
    with mischief.in_place_of(701, mischief.hang_up):
        adapter.close()
    assert "did not purge removed metadata" in caplog.text

    create_and_delete(store, adapter)
    adapter.close()

    assert "alice" not in readable(store)


def create_and_delete(store: Store, adapter: object) -> None:
    adapter.delete(USER, create(adapter, USER, userName="alice").id)  # type: ignore[attr-defined, arg-type]
