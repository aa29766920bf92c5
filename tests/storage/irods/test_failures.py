"""What goes wrong between us and a zone: clear errors within the time-out, nothing lost, nothing stuck."""

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member, Selection, StorageAdapter
from storage.errors import (
    BackendTimeout,
    BadBackendAnswer,
    ResourceNotFound,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
)
from storage.search import search
from storage.testing import GROUP, USER, represent, stored
from tests.conftest import KEY, ScimClient, error_of
from tests.fake_irods import PASSWORD
from tests.fake_irods.mischief import Mischief
from tests.storage.irods.store import Store, changed, create

Call = Callable[[StorageAdapter], object]
CALLS: dict[str, Call] = {
    "check": lambda adapter: adapter.check(),
    "get": lambda adapter: adapter.get(USER, "10001"),
    "create": lambda adapter: create(adapter, USER, userName="b"),
    "replace": lambda adapter: adapter.replace(USER, stored("10001", userName="b")),
    "delete": lambda adapter: adapter.delete(USER, "10001"),
    "scan": lambda adapter: list(adapter.scan(USER)),
    "search": lambda adapter: search(adapter, USER, Selection(), represent),
    "members": lambda adapter: list(adapter.members(GROUP, stored("10001"))),
    "change_members": lambda adapter: adapter.change_members(
        GROUP, stored("1"), [Member("2", "User")], [Member("3", "User")]
    ),
    "among_members": lambda adapter: adapter.among_members(GROUP, stored("10001"), ["10002"]),
    "memberships": lambda adapter: adapter.memberships(USER, [stored("10001")]),
    "find": lambda adapter: adapter.find(["10001"]),
}
SAD = ("silence", "drip", "rubbish", "half", "hang_up")


@pytest.mark.parametrize("name", CALLS)
def test_every_call_says_that_the_zone_is_gone_and_works_when_it_is_back(store: Store, name: str) -> None:
    adapter, call = store.adapter, CALLS[name]
    create(adapter, USER, userName="a")
    store.fake.stop()
    try:
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            call(adapter)
    finally:
        store.fake.start()

    with suppress(ResourceNotFound):
        call(adapter)
    assert "a" in [user.document["userName"] for user in adapter.scan(USER)]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("how", SAD)
def test_bad_answers_are_errors_within_the_time_out(
    store: Store, hasty: StorageAdapter, name: str, how: str
) -> None:
    mischief = store.fake.mischief
    hasty.close()
    began = time.monotonic()

    with mischief.everywhere(getattr(mischief, how)), pytest.raises(StorageUnavailable) as caught:
        CALLS[name](hasty)

    assert time.monotonic() - began < 10
    late = dict.fromkeys(("silence", "drip"), BackendTimeout)
    kind = {**late, "rubbish": BadBackendAnswer}.get(how, StorageUnavailable)
    assert isinstance(caught.value, kind)
    with suppress(ResourceNotFound):
        CALLS[name](hasty)


def test_a_restart_in_mid_work_is_not_noticed(store: Store, adapter: StorageAdapter) -> None:
    user = create(adapter, USER, userName="a")
    for number in range(3):
        store.fake.stop()
        store.fake.start()
        user = adapter.replace(USER, changed(user, userName="a", title=str(number)), user.version)
        store.fake.stop()
        store.fake.start()
        assert adapter.get(USER, user.id).document["title"] == str(number)


def test_silence_does_not_use_up_the_connections(store: Store, hasty: StorageAdapter) -> None:
    mischief = store.fake.mischief
    for _ in range(3):
        with mischief.in_place_of(702, mischief.silence), pytest.raises(BackendTimeout, match="0.8 s"):
            hasty.check()

    hasty.check()


def test_a_web_server_in_its_place_is_no_zone(store: Store, hasty: StorageAdapter) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        Mischief.hang_up(connection)

    hasty.close()
    with store.fake.mischief.everywhere(answer), pytest.raises(StorageUnavailable):
        hasty.check()


@pytest.mark.parametrize("code", [-806000, -1000000, -1830000, -818000])
def test_an_error_of_the_zone_is_told_by_its_name(store: Store, hasty: StorageAdapter, code: int) -> None:
    user = create(hasty, USER, userName="a")
    refuse = store.fake.mischief.refuse(code)
    with store.fake.mischief.in_place_of(20002, refuse), pytest.raises((BadBackendAnswer, StorageReadOnly)):
        hasty.replace(USER, changed(user, userName="b"))

    hasty.replace(USER, changed(user, userName="c"))


def test_wrong_credentials_are_said_without_telling_them(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = {"irods_admin_password": "wr0ng-Secret"}
    for options in (wrong, {**wrong, "irods_admin_username": "nobody"}):
        with pytest.raises(StorageUnavailable, match="refuses the credentials") as caught:
            store.open(**options)
        texts, error = [], caught.value.__cause__
        while error is not None:
            texts.append(str(error))
            error = error.__cause__ or error.__context__
        assert "wr0ng" not in f"{caught.value} {texts} {caplog.text}"


def test_credentials_never_appear_in_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    adapter = store.open()
    create(adapter, USER, userName="a")
    store.fake.stop()
    with pytest.raises(StorageUnavailable):
        adapter.check()
    store.fake.start()

    assert PASSWORD not in caplog.text and "digest" not in caplog.text
    assert PASSWORD not in repr(adapter.__dict__) + repr(vars(adapter)["_zone"]._sessions.options)


def test_who_is_no_administrator_can_read(store: Store, adapter: StorageAdapter, caplog: Any) -> None:
    caplog.set_level("WARNING")
    user = create(adapter, USER, userName="a")
    with store.session() as session:
        session.users.create("reader", "groupadmin")
        session.users.modify("reader", "password", "secret")
    reader = store.open(irods_admin_username="reader", irods_admin_password="secret")

    assert "not of type rodsadmin" in caplog.text
    adapter.check_writable()
    with pytest.raises(StorageReadOnly):
        reader.check_writable()
    assert reader.get(USER, user.id) == adapter.get(USER, user.id)
    for name in ("create", "replace", "delete"):
        with pytest.raises(StorageReadOnly), suppress(ResourceNotFound):
            {"create": CALLS["create"], "delete": lambda a: a.delete(USER, user.id)}.get(
                name, lambda a: a.replace(USER, changed(user, userName="c"))
            )(reader)
    assert [one.document["userName"] for one in adapter.scan(USER)] == ["a"]


@pytest.mark.parametrize(("how", "status"), [("silence", 504), ("rubbish", 502), ("hang_up", 503)])
def test_a_client_is_told_with_the_right_status(store: Store, how: str, status: int) -> None:
    environ = {"API_KEY": KEY, "LOGLEVEL": "CRITICAL", "REMOTE_TIMEOUT": "0.8", **store.environ}
    app = create_app(Settings.from_env(environ))
    scim = ScimClient(app.test_client())
    mischief = store.fake.mischief

    with mischief.everywhere(getattr(mischief, how)):
        for method, path, body in (
            ("GET", "/Users", None),
            ("POST", "/Users", {"userName": "a"}),
            ("GET", "/Users/10001", None),
        ):
            detail = error_of(scim(method, path, body), status)
            assert PASSWORD not in detail
    assert scim("POST", "/Users", {"userName": "a"}).status_code == 201
    app.extensions["scim.storage"].close()


def test_a_child_process_leaves_the_connections_of_its_parent_alone(
    store: Store, adapter: StorageAdapter
) -> None:
    user = create(adapter, USER, userName="a")
    child = os.fork()
    if not child:
        status = 1
        with suppress(StorageError):
            adapter.replace(USER, changed(user, userName="b"))
            adapter.close()
            status = 0
        os._exit(status)

    assert os.waitpid(child, 0)[1] == 0
    connections = store.fake.mischief.connections
    assert adapter.get(USER, user.id).document["userName"] == "b"
    assert store.fake.mischief.connections == connections
