"""SSH keys: those that a client names come and go; all others stay."""

import base64
from typing import Any

import pytest

from storage.errors import BadBackendAnswer, StorageError
from storage.testing import USER, stored
from tests.fake_jumpcloud import Fault
from tests.storage.jumpcloud.conftest import Store

FIRST = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk0 harry@laptop"
SECOND = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQ=="
CONSOLE = "ecdsa-sha2-nistp256 AAAAE2VjZHNh console"
CERTIFICATE = {"value": base64.b64encode(b"\x30\x82 no key").decode(), "type": "work"}


def encoded(*lines: str) -> list[dict[str, str]]:
    return [{"value": base64.b64encode(line.encode()).decode()} for line in lines]


def keys(store: Store, user_id: str) -> list[str]:
    return [key["public_key"] for key in store.organisation.keys[user_id]]


def document(*lines: str, **more: Any) -> dict[str, Any]:
    return {"userName": "harry", "x509Certificates": [CERTIFICATE, *encoded(*lines)], **more}


def test_keys_that_a_client_names_come_and_go(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", **document(FIRST, SECOND)))
    assert keys(store, created.id) == [FIRST, SECOND]
    assert created.document == store.adapter.get(USER, created.id).document
    assert created.document["x509Certificates"] == [CERTIFICATE, *encoded(FIRST, SECOND)]

    store.adapter.replace(USER, stored(created.id, **document(SECOND)))
    assert keys(store, created.id) == [SECOND]
    store.adapter.replace(USER, stored(created.id, userName="harry"))
    assert keys(store, created.id) == []


def test_keys_of_the_console_stay(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", **document(FIRST)))
    store.organisation.add_key(created.id, {"name": "console", "public_key": CONSOLE})

    for lines in ((FIRST,), (SECOND,), (), (FIRST,)):
        store.adapter.replace(USER, stored(created.id, **document(*lines)))
        assert keys(store, created.id) == [CONSOLE, *lines] or keys(store, created.id) == [*lines, CONSOLE]


def test_a_key_that_is_there_already_is_not_added_again(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", userName="harry"))
    store.organisation.add_key(created.id, {"name": "console", "public_key": f"{SECOND} comment"})

    store.adapter.replace(USER, stored(created.id, **document(SECOND)))

    assert keys(store, created.id) == [f"{SECOND} comment"]


def test_without_a_change_of_keys_nothing_is_asked_about_them(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", **document(FIRST)))
    store.calls()

    store.adapter.replace(USER, stored(created.id, **document(FIRST, title="t")))

    assert store.calls() == ["GET /api/systemusers/*", "PUT /api/systemusers/*"]


def test_a_key_that_the_console_removed_is_not_shown_where_jumpcloud_says_so(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", **document(FIRST, SECOND)))
    store.organisation.shows_keys = True
    store.organisation.keys[created.id].pop(0)

    read = store.adapter.get(USER, created.id)

    assert read.document["x509Certificates"] == [CERTIFICATE, *encoded(SECOND)]
    assert read.version != created.version


def test_a_user_whose_keys_cannot_be_added_is_not_created(store: Store) -> None:
    store.fake.faults.add(Fault(500, method="POST", path="sshkeys$"))

    with pytest.raises(BadBackendAnswer):
        store.adapter.create(USER, stored("x", **document(FIRST)))

    assert not store.organisation.users
    assert store.adapter.create(USER, stored("x", **document(FIRST)))


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("call", ["GET sshkeys", "PUT user", "POST sshkeys", "DELETE sshkeys", "PUT again"])
def test_a_change_of_keys_that_fails_is_completed_by_the_same_change(
    store: Store, call: str, done: bool
) -> None:
    """Whatever fails, the user is shown as before until all is done, so that a client sees the difference."""
    created = store.adapter.create(USER, stored("x", **document(FIRST)))
    wanted = stored(created.id, **document(SECOND))
    method, _, what = call.partition(" ")
    path = "sshkeys" if what == "sshkeys" else ""
    store.fake.faults.add(Fault(403, method=method, path=path, done=done, skip=int(what == "again")))

    with pytest.raises(StorageError):
        store.adapter.replace(USER, wanted)

    complete = what == "again" and done
    assert (store.adapter.get(USER, created.id).document == wanted.document) is complete
    store.adapter.replace(USER, wanted)
    assert store.adapter.get(USER, created.id).document == wanted.document
    assert keys(store, created.id) == [SECOND]
