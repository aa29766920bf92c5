"""A JumpCloud that is slow, broken, gone or somebody else: a clear error, in time, and nothing half done."""

import logging
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member, Selection, StorageAdapter
from storage.errors import (
    BackendTimeout,
    BadBackendAnswer,
    OutcomeUnknown,
    ResourceNotFound,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
)
from storage.jumpcloud.client import Client
from storage.search import search
from storage.testing import (
    GROUP,
    REGISTRY,
    USER,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    represent,
    stored,
)
from tests.backends import open_backend
from tests.conftest import ScimClient, error_of
from tests.fake_jumpcloud import FakeJumpcloudServer, Fault
from tests.servers import program
from tests.storage.forward.hostile import HostileServer, answering
from tests.storage.jumpcloud.conftest import Store

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SOME_ID = "a" * 24
CALLS: list[Callable[[StorageAdapter], object]] = [
    lambda adapter: adapter.check(),
    lambda adapter: adapter.get(USER, SOME_ID),
    lambda adapter: adapter.create(USER, stored("2", userName="b")),
    lambda adapter: adapter.create(GROUP, stored("2", displayName="b")),
    lambda adapter: adapter.replace(USER, stored(SOME_ID, userName="b")),
    lambda adapter: adapter.delete(USER, SOME_ID),
    lambda adapter: list(adapter.scan(USER)),
    lambda adapter: search(adapter, USER, Selection(), represent),
    lambda adapter: search(adapter, GROUP, Selection(), represent),
    lambda adapter: list(adapter.members(GROUP, stored(SOME_ID))),
    lambda adapter: adapter.change_members(
        GROUP, stored(SOME_ID), [Member(SOME_ID, "User")], [Member("b" * 24, "User")]
    ),
    lambda adapter: adapter.among_members(GROUP, stored(SOME_ID), [SOME_ID]),
    lambda adapter: adapter.among_members(GROUP, stored(SOME_ID), [SOME_ID, "b" * 24]),
    lambda adapter: adapter.memberships(USER, [stored(SOME_ID)]),
    lambda adapter: adapter.memberships(USER, [stored(SOME_ID), stored("b" * 24)]),
    lambda adapter: adapter.find([SOME_ID]),
    lambda adapter: adapter.find([SOME_ID, "b" * 24]),
]


def opened(url: str, key: str = "k", **options: Any) -> StorageAdapter:
    settings = {"jumpcloud_url": url, "jumpcloud_key": key, "remote_timeout": 2.0, **options}
    adapter = open_backend("jumpcloud", **settings)
    adapter.prepare(REGISTRY.resource_types)
    return adapter


@pytest.fixture(scope="module")
def gone() -> str:
    """The URL of a server that was there."""
    fake = FakeJumpcloudServer()
    fake.remove()
    return fake.url


@pytest.mark.parametrize("call", CALLS)
def test_every_failure_to_reach_jumpcloud_is_one_of_the_storage(
    gone: str, call: Callable[[StorageAdapter], object]
) -> None:
    with pytest.raises(StorageUnavailable, match="JumpCloud cannot be reached"):
        call(opened(gone))


ANSWERS = [b"", b"null", b"[1]", b"{}", b'{"results": {}, "totalCount": 1}', b'[{"to": 1}]']
ANSWERS += [b"<html>", b"\xff{"]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("call", CALLS)
def test_rubbish_is_a_bad_answer(
    store: Store, answer: bytes, call: Callable[[StorageAdapter], object]
) -> None:
    store.fake.faults.add(Fault(200, times=99, body=answer))

    try:
        call(store.adapter)
    except (BadBackendAnswer, OutcomeUnknown) as error:
        assert "JumpCloud sent" in str(error)
        # Of the changes, these do not read anything first.
        assert isinstance(error, OutcomeUnknown) is (call in (CALLS[3], CALLS[5]))
    else:
        # It deletes, and looks at no answer.
        assert call is CALLS[5]


def test_jumpcloud_comes_back_without_a_restart(store: Store) -> None:
    first = FakeJumpcloudServer()
    key = first.new_database()
    adapter = opened(first.url, key)
    created = adapter.create(USER, stored("x", userName="a"))
    first.remove()
    with pytest.raises(StorageUnavailable):
        adapter.get(USER, created.id)

    second = FakeJumpcloudServer(port=first.port)
    second.organisations = first.organisations
    assert adapter.get(USER, created.id) == adapter.get(USER, created.id)
    second.remove()


# -- patience


def test_jumpcloud_is_asked_again_when_it_wants_so(store: Store) -> None:
    store.fake.faults.add(Fault(429, times=1, headers={"Retry-After": "1"}))
    store.fake.faults.add(Fault(429, times=2))
    started = time.monotonic()

    store.adapter.create(USER, stored("x", userName="a"))

    assert 1 <= time.monotonic() - started
    assert len(store.calls()) == 5


def test_a_limit_of_calls_slows_down_and_loses_nothing(store: Store) -> None:
    created = [store.adapter.create(USER, stored("x", userName=f"u{number}")).id for number in range(60)]
    group = store.adapter.create(GROUP, stored("x", displayName="g"))
    store.fake.calls_per_second = 30

    change_members(store.adapter, group.id, [Member(user_id, "User") for user_id in created], ())

    assert {member.resource_id for member in members_of(store.adapter, group.id)} == set(created)


@pytest.mark.parametrize(
    "said",
    [
        *(None, "3600", "soon", "9" * 5000, "1 Jan 2099 00:00:00 GMT", "1 Jan 99999999999 00:00:00 GMT"),
        "Mon, 01 Jan 2026 00:00:00 +99999999999999",
    ],
)
def test_patience_ends_with_the_time_out(store: Store, said: str | None) -> None:
    adapter = opened(store.fake.url, store.key)
    store.fake.faults.add(Fault(429, times=99, headers={"Retry-After": said} if said else {}))
    started = time.monotonic()

    with pytest.raises(StorageUnavailable, match="429"):
        adapter.get(USER, SOME_ID)

    assert time.monotonic() - started < 8
    assert len(store.calls()) < 8


def test_a_total_of_too_many_digits_is_no_total(store: Store) -> None:
    group = store.adapter.create(GROUP, stored("x", displayName="g"))
    body = orjson.dumps([{"id": group.id, "name": "g", "type": "user_group"}])
    fault = Fault(200, times=1, path="usergroups", headers={"x-total-count": "9" * 5000}, body=body)
    store.fake.faults.add(fault)

    assert [found.id for found in store.adapter.scan(GROUP)] == [group.id]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_can_be_repeated_is_repeated_after_a_failure(store: Store, status: int) -> None:
    created = store.adapter.create(USER, stored("x", userName="a"))
    group = store.adapter.create(GROUP, stored("x", displayName="g"))
    for method in ("GET", "PUT", "DELETE"):
        store.fake.faults.add(Fault(status, times=1, method=method, done=method != "GET"))
    store.fake.faults.add(Fault(status, times=2, method="POST", path="members|search", done=True))

    assert change_members(store.adapter, group.id, [Member(created.id, "User")], ())
    store.adapter.replace(USER, stored(created.id, userName="a", title="t"))
    assert store.adapter.get(USER, created.id).document["title"] == "t"
    store.adapter.delete(USER, created.id)
    with pytest.raises(ResourceNotFound):
        store.adapter.delete(USER, created.id)


CREATES = [(USER, {"userName": "a"}, "/systemusers$"), (GROUP, {"displayName": "g"}, "/usergroups$")]


@pytest.mark.parametrize(("kind", "document", "path"), CREATES)
@pytest.mark.parametrize("fault", [{"status": 500}, {"how": "drop"}])
def test_a_creation_that_failed_is_not_tried_again(
    store: Store, kind: Any, document: Any, path: str, fault: Any
) -> None:
    store.fake.faults.add(Fault(**fault, method="POST", path=f"api(/v2)?{path}"))

    with pytest.raises(OutcomeUnknown):
        store.adapter.create(kind, stored("x", **document))

    assert sum(call in ("POST /api/systemusers", "POST /api/v2/usergroups") for call in store.calls()) == 1
    assert not store.organisation.users and not store.organisation.groups
    assert store.adapter.create(kind, stored("x", **document))


@pytest.mark.parametrize(("kind", "document", "path"), CREATES)
@pytest.mark.parametrize("fault", [{"status": 500}, {"how": "drop"}, {"status": 200, "body": b"<"}])
def test_a_creation_that_was_done_though_it_seemed_to_fail_counts(
    store: Store, kind: Any, document: Any, path: str, fault: Any
) -> None:
    store.fake.faults.add(Fault(**fault, method="POST", path=f"api(/v2)?{path}", done=True))

    created = store.adapter.create(kind, stored("x", **document))

    assert store.adapter.get(kind, created.id).document == stored(created.id, **document).document
    assert len(store.organisation.users) + len(store.organisation.groups) == 1


CHANGES: dict[str, tuple[Callable[[StorageAdapter, str, str], object], str]] = {
    "replace": (lambda a, user, group: a.replace(USER, stored(user, userName="b")), "PUT"),
    "delete": (lambda a, user, group: a.delete(USER, user), "DELETE"),
    "join": (
        lambda a, user, group: a.change_members(GROUP, stored(group), [Member(user, "User")], ()),
        "POST",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fault", [{"status": 500}, {"how": "drop"}, {"how": "silence"}, {"how": "half"}])
def test_what_becomes_of_a_change_that_is_not_confirmed_is_not_known(
    store: Store, change: str, fault: Any
) -> None:
    adapter = opened(store.fake.url, store.key, remote_timeout=0.5)
    user = adapter.create(USER, stored("x", userName="a")).id
    group = adapter.create(GROUP, stored("x", displayName="g")).id
    call, method = CHANGES[change]
    store.fake.faults.add(Fault(**fault, method=method, times=99))

    with pytest.raises(OutcomeUnknown):
        call(adapter, user, group)


def test_a_change_that_jumpcloud_puts_off_is_not_made(store: Store) -> None:
    adapter = opened(store.fake.url, store.key, remote_timeout=0.5)
    store.fake.faults.add(Fault(429, times=99, method="POST", path="usergroups$"))

    with pytest.raises(StorageUnavailable, match="429"):
        adapter.create(GROUP, stored("x", displayName="g"))


def test_members_that_changed_before_a_failure_are_not_forgotten(store: Store) -> None:
    users = [store.adapter.create(USER, stored("x", userName=name)).id for name in "ab"]
    group = store.adapter.create(GROUP, stored("x", displayName="g"))
    store.fake.faults.add(Fault(401, method="POST", path="members$", skip=1))

    with pytest.raises(OutcomeUnknown):
        store.adapter.change_members(GROUP, group, [Member(user, "User") for user in users], ())

    assert len(list(store.adapter.members(GROUP, group))) == 1


# -- answers that are none


@pytest.mark.parametrize("how", ["half", "drop"])
def test_half_an_answer_is_a_bad_one(store: Store, how: str) -> None:
    created = store.adapter.create(USER, stored("x", userName="a", title="t"))
    store.fake.faults.add(Fault(how=how, times=99))

    with pytest.raises(BadBackendAnswer):
        store.adapter.get(USER, created.id)


@pytest.mark.parametrize("how", ["drip", "drip head"])
def test_an_answer_that_drips_is_none(store: Store, how: str) -> None:
    adapter = opened(store.fake.url, store.key, remote_timeout=0.5)
    created = store.adapter.create(USER, stored("x", userName="a"))
    store.fake.faults.add(Fault(how=how, seconds=6.0))

    with pytest.raises(BackendTimeout):
        adapter.get(USER, created.id)


def test_silence_ends_in_time_and_leaves_nobody_waiting(store: Store) -> None:
    adapter = opened(store.fake.url, store.key, remote_timeout=1.0, remote_pool_size=2)
    created = store.adapter.create(USER, stored("x", userName="a"))
    store.fake.faults.add(Fault(how="silence", times=6))
    errors: list[StorageError] = []

    def ask() -> None:
        try:
            adapter.get(USER, created.id)
        except StorageError as error:
            errors.append(error)

    started = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Two had a connection, and the others waited for one no longer than they may wait at all.
    assert time.monotonic() - started < 8
    assert len(errors) == 6
    assert sum(isinstance(error, BackendTimeout) for error in errors) >= 2
    store.fake.faults.clear()
    assert adapter.get(USER, created.id).id == created.id


def test_a_redirect_is_not_followed(store: Store) -> None:
    other = FakeJumpcloudServer()
    location = {"Location": f"{other.url}/api/systemusers/{SOME_ID}"}
    for status in (301, 302, 307, 308):
        store.fake.faults.add(Fault(status, headers=location))
        with pytest.raises(BadBackendAnswer, match="redirect"):
            store.adapter.get(USER, SOME_ID)

    assert other.requests == []
    other.remove()


def test_the_same_page_again_and_again_has_an_end(store: Store) -> None:
    links = b",".join(b'{"to": {"type": "user", "id": "%024x"}}' % number for number in range(100))
    users = b",".join(b'{"_id": "%024x"}' % number for number in range(100))
    group = store.adapter.create(GROUP, stored("x", displayName="g")).id
    store.fake.faults.add(Fault(200, times=9, path="members", body=b"[%s]" % links))
    page = b'{"totalCount": 1000, "results": [%s]}' % users
    store.fake.faults.add(Fault(200, times=9, path="^/api/systemusers$", body=page))

    with pytest.raises(BadBackendAnswer, match="same page"):
        list(members_of(store.adapter, group))
    with pytest.raises(BadBackendAnswer, match="same page"):
        list(store.adapter.scan(USER))


def test_cookies_are_not_kept() -> None:
    with HostileServer(answering("200 OK", b"{}", "Set-Cookie: session=1")) as server:
        client = Client(server.url, "k", "", timeout_s=5.0, pool_size=1)
        for _ in range(2):
            client.call("GET", "/api/systemusers")
        client.close()

    assert len(server.requests) == 2
    assert not any(b"cookie" in request.lower() for request in server.requests)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeJumpcloudServer]:
    """A server whose certificate nobody has vouched for."""
    folder: Path = tmp_path_factory.mktemp("tls")
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    fake = FakeJumpcloudServer(context)
    yield fake
    fake.remove()


def test_a_certificate_that_nobody_vouches_for_is_an_error(encrypted: FakeJumpcloudServer) -> None:
    key = encrypted.new_database()

    with pytest.raises(BadBackendAnswer, match="TLS"):
        opened(encrypted.url, key).check()
    with pytest.raises(BadBackendAnswer, match="TLS|without an answer"):
        opened(encrypted.url.replace("https", "http"), key).check()

    assert encrypted.requests == []


# -- credentials


def test_a_key_that_is_refused_is_said_without_the_key(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(StorageUnavailable, match="JumpCloud refuses the API key") as caught:
        opened(store.fake.url, "wrong-key").check()

    assert "wrong-key" not in caplog.text + str(caught.value) + repr(caught.value.__cause__)


def test_a_message_of_jumpcloud_never_repeats_the_key(store: Store) -> None:
    message = b'{"message": "x-api-key %s\\nis\\tnot %s"}' % (store.key.encode(), b"y" * 500)
    store.fake.faults.add(Fault(400, method="POST", path="systemusers$", times=2, body=message))

    with pytest.raises(StorageError) as caught:
        store.adapter.create(USER, stored("x", userName="a"))

    assert store.key not in str(caught.value) and len(str(caught.value)) < 250


def test_the_id_of_the_organisation_is_sent(store: Store) -> None:
    store.fake.organisation_ids[store.key] = "org-1"
    try:
        with pytest.raises(StorageUnavailable):
            opened(store.fake.url, store.key).check()
        opened(store.fake.url, store.key, jumpcloud_org_id="org-1").check()
    finally:
        del store.fake.organisation_ids[store.key]


def test_a_key_that_may_only_read_reads(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", userName="a"))
    group = store.adapter.create(GROUP, stored("x", displayName="g"))
    store.organisation.read_only = True

    assert store.adapter.get(USER, created.id) and store.adapter.find([created.id, group.id])
    for write in (
        lambda: store.adapter.create(USER, stored("x", userName="b")),
        lambda: store.adapter.replace(USER, stored(created.id, userName="b")),
        lambda: store.adapter.delete(USER, created.id),
        lambda: change_members(store.adapter, group.id, [Member(created.id, "User")], ()),
    ):
        with pytest.raises(StorageReadOnly):
            write()


@pytest.mark.parametrize("status", [402, 406, 410, 412, 415, 418, 428])
def test_any_other_refusal_is_not_success(store: Store, status: int) -> None:
    store.fake.faults.add(Fault(status, times=9))

    with pytest.raises(StorageUnavailable, match=str(status)):
        store.adapter.create(USER, stored("x", userName="a"))


# -- what comes in

STRANGE_IDS = ["../groups", "*)(uid=*", "$where", "\u00e9", "\ud800", "x" * 300, "", "A" * 24, SOME_ID]


@pytest.mark.parametrize("resource_id", STRANGE_IDS)
def test_unknown_ids_are_not_found_and_reach_no_other_path(store: Store, resource_id: str) -> None:
    for kind in (USER, GROUP):
        with pytest.raises(ResourceNotFound):
            store.adapter.get(kind, resource_id)
        with pytest.raises(ResourceNotFound):
            store.adapter.delete(kind, resource_id)
    assert found_by_id(store.adapter, [resource_id]) == {} == memberships_of(store.adapter, [resource_id])
    # The lists tell what ids look like.
    paths = {one.path for one in store.fake.requests} - {"/api/systemusers", "/api/v2/usergroups"}
    assert {path.rpartition("/")[2] for path in paths} <= {SOME_ID, "memberof"}


def test_a_child_of_a_fork_uses_connections_of_its_own(store: Store) -> None:
    created = store.adapter.create(USER, stored("x", userName="a"))
    child = os.fork()
    if child == 0:
        os._exit(0 if all(store.adapter.get(USER, created.id) for _ in range(20)) else 1)

    seen = [store.adapter.get(USER, created.id).id for _ in range(20)]

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert seen == [created.id] * 20


# -- as a client of the service sees it


@pytest.fixture
def scim(
    jumpcloud: FakeJumpcloudServer,
) -> Iterator[tuple[ScimClient, str]]:
    key = jumpcloud.new_database()
    environ = {**jumpcloud.environ(key), "API_KEY": "test-key", "REMOTE_TIMEOUT": "1", "LOGLEVEL": "DEBUG"}
    app = create_app(Settings.from_env(environ))
    yield ScimClient(app.test_client()), key
    jumpcloud.faults.clear()
    logging.getLogger().setLevel("WARNING")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(200, times=9, body=b"<html>"), 502),
        (Fault(how="half", times=9), 502),
        (Fault(302, times=9, headers={"Location": "http://127.0.0.1:9/"}), 502),
        (Fault(500, times=99), 502),
        (Fault(how="silence", times=9), 504),
        (Fault(429, times=99), 503),
        (Fault(401, times=9), 503),
    ],
)
def test_clients_get_an_error_of_scim_in_time(
    scim: tuple[ScimClient, str],
    jumpcloud: FakeJumpcloudServer,
    fault: Fault,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, key = scim
    jumpcloud.faults.add(Fault(**vars(fault)))
    started = time.monotonic()

    answers = [client("GET", "/Users"), client("POST", "/Users", {"userName": "a"})]

    assert time.monotonic() - started < 20
    for answer in answers:
        error_of(answer, status)
        assert key not in answer.text
    assert key not in caplog.text
    jumpcloud.faults.clear()
    assert client("GET", "/Users").json["totalResults"] == 0


def test_what_jumpcloud_cannot_hold_is_a_400(scim: tuple[ScimClient, str]) -> None:
    client, _ = scim

    assert "userName" in error_of(client("POST", "/Users", {"userName": "x" * 1025}), 400, "invalidValue")
    group = client.group("g")
    nested = {"displayName": "h", "members": [{"value": group["id"]}]}
    assert "members" in error_of(client("POST", "/Groups", nested), 400, "invalidValue")
    assert client("GET", "/Groups").json["totalResults"] == 1


def test_a_change_of_members_counts_before_jumpcloud_shows_it(
    scim: tuple[ScimClient, str], jumpcloud: FakeJumpcloudServer
) -> None:
    client, key = scim
    organisation = jumpcloud.organisations[key]
    user, group = client.user("a"), client.group("g")
    organisation.lag_s = 60
    path = f"/Groups/{group['id']}"
    add = {"op": "add", "path": "members", "value": [{"value": user["id"]}]}
    remove = {"op": "remove", "path": f'members[value eq "{user["id"]}"]'}

    versions = [group["meta"]["version"]]
    for operation, shown in ((add, []), (add, []), (remove, [])):
        answer = client("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})
        assert answer.status_code in (200, 204), answer.text
        read = client("GET", path).json
        assert [member["value"] for member in read.get("members", [])] == shown
        versions.append(read["meta"]["version"])

    # The last change undoes what does not show yet, so that it makes no new version.
    assert len(set(versions)) == 3 and versions[2] == versions[3]
    organisation.settle(everything=True)
    assert "members" not in client("GET", path).json
