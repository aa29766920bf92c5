"""Passwords are hashed while nobody waits for it: never within a transaction, and few at a time."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import argon2
import pytest

from storage.adapter import StorageAdapter
from storage.hashing import Hasher
from storage.shared_options import Hashing
from tests.conftest import GROUP, USER, ScimClient
from tests.web_servers import wait_for

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SECRET = "t1meMa$heen"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

pytestmark = pytest.mark.on("sqlite", "files", "postgresql", "mariadb")


class Seen:
    """What was hashed or verified: for each, whether that was within a transaction of `storage`."""

    storage: StorageAdapter

    def __init__(self) -> None:
        self.within: list[bool] = []

    def of(self, scim: ScimClient) -> ScimClient:
        self.storage = scim.app.extensions["scim.storage"]
        return scim


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    found = Seen()
    for name in ("hash", "verify"):
        work = getattr(argon2.PasswordHasher, name)

        def noting(self: Any, *args: Any, _work: Any = work) -> Any:
            found.within.append(found.storage.in_transaction)
            return _work(self, *args)

        monkeypatch.setattr(argon2.PasswordHasher, name, noting)
    yield found


def user(name: str, **attributes: Any) -> dict[str, Any]:
    return {"schemas": [USER], "userName": name, "password": SECRET, **attributes}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": list(operations)}


def post(name: str, **attributes: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/Users", "bulkId": name, "data": user(name, **attributes)}


BY_PATH = patch({"op": "replace", "path": "PassWord", "value": SECRET})
WITHOUT_PATH = patch({"op": "add", "value": {f"{USER}:password": SECRET}})
LATER = {"method": "POST", "path": "/Groups", "bulkId": "g"}
REFERRING = {**LATER, "data": {"schemas": [GROUP], "displayName": "g", "members": [{"value": "bulkId:a"}]}}
CIRCLE = [
    post(one, **{ENTERPRISE: {"manager": {"value": f"bulkId:{other}"}}}) for one, other in ("ab", "ba")
]


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", user("u")), ("PATCH", BY_PATH), ("PATCH", WITHOUT_PATH)]
)
def test_a_password_is_hashed_before_the_transaction_of_its_write(
    scim: ScimClient, seen: Seen, method: str, body: Any
) -> None:
    seen.of(scim)
    location = scim.user("u", password="other")["meta"]["location"]
    changed = scim(method, location, body)
    again = scim(method, location, body)

    assert (changed.status_code, again.status_code) == (200, 200)
    assert changed.json["meta"]["version"] == again.json["meta"]["version"] != 'W/"1"'
    assert seen.within and not any(seen.within)


@pytest.mark.parametrize(
    "operations",
    [
        [post("a"), post("b")],
        [{"method": "PUT", "path": "/Users/{id}", "data": user("u")}],
        [{"method": "PATCH", "path": "/Users/{id}", "data": BY_PATH}],
        [{"method": "PATCH", "path": "/Users/{id}", "data": WITHOUT_PATH}],
        [REFERRING, post("a")],
        [post("a"), {"method": "PATCH", "path": "/Users/bulkId:a", "data": BY_PATH}],
        CIRCLE,
    ],
    ids=["post", "put", "patch", "without path", "referred", "of a new one", "circle"],
)
@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async"}])
def test_bulk_hashes_passwords_before_the_transactions_of_its_operations(
    make_scim: Callable[..., ScimClient], seen: Seen, operations: Any, headers: dict[str, str]
) -> None:
    scim = seen.of(make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false"))
    kept = scim.user("u")["id"]
    body = {"schemas": [BULK], "Operations": json.loads(json.dumps(operations).replace("{id}", kept))}

    answer = scim("POST", "/Bulk", body, headers)
    if headers:
        scim.work()
        answer = scim("GET", answer.headers["Location"])
    results = answer.json["Operations"]

    assert [result["status"][0] for result in results] == ["2"] * len(operations), results
    assert seen.within and not any(seen.within)


def test_a_password_by_mapping_is_hashed_before_the_transaction(
    make_scim: Callable[..., ScimClient], seen: Seen
) -> None:
    scim = seen.of(make_scim(USER_MAPPING='{"password": "nickName"}'))
    created = scim.user("u", nickName="a")
    change = patch({"op": "replace", "path": "nickName", "value": "b"})
    operation = {"method": "PATCH", "path": f"/Users/{created['id']}", "data": change}

    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": [operation]})

    assert answer.json["Operations"][0]["status"] == "200"
    assert len(seen.within) > 1 and not any(seen.within)


def test_a_failure_beside_passwords_fails_alone(scim: ScimClient) -> None:
    scim.user("taken")
    operations = [post("a"), post("taken"), post("b"), {**REFERRING}]

    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})

    assert [result["status"] for result in answer.json["Operations"]] == ["201", "409", "201", "201"]
    assert sorted(scim.names("userName pr")) == ["a", "b", "taken"]


@pytest.mark.sqlite
def test_hashes_cost_what_the_settings_say(make_scim: Callable[..., ScimClient]) -> None:
    costs = []
    for settings in ({}, {"ARGON2_MEMORY": "8", "ARGON2_TIME": "3", "ARGON2_PARALLELISM": "2"}):
        scim = make_scim(**settings)
        user_id = scim.user(f"u{len(costs)}", password=SECRET)["id"]
        base = scim.app.extensions["scim.base"]
        stored = base.adapter.get(base.registry.resource_type("User"), user_id)
        costs.append(stored.secrets["password"].split("$")[1:4])

    assert costs == [
        ["argon2id", "v=19", "m=19456,t=2,p=1"],
        ["argon2id", "v=19", "m=8192,t=3,p=2"],
    ]


@pytest.mark.sqlite
def test_a_hash_with_other_costs_stays_as_long_as_the_password(
    make_scim: Callable[..., ScimClient]
) -> None:
    before = make_scim(ARGON2_MEMORY="8").user("u", password=SECRET)
    scim = make_scim()

    again = scim("PUT", before["meta"]["location"], user("u"))

    assert again.json["meta"]["version"] == before["meta"]["version"]


@pytest.mark.sqlite
def test_one_with_many_passwords_does_not_starve_one_with_a_single_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasher, begun, go_on = Hasher(Hashing(argon2_at_once=1)), list[str](), threading.Event()

    def slow(self: Any, secret: str) -> str:
        begun.append(secret)
        assert go_on.wait(30)
        return secret

    monkeypatch.setattr(argon2.PasswordHasher, "hash", slow)
    many = threading.Thread(target=lambda: [hasher.hash(f"many {number}") for number in range(3)])
    many.start()
    wait_for(lambda: begun, "no hash begins")
    one = threading.Thread(target=lambda: hasher.hash("one"))
    one.start()
    wait_for(lambda: hasher.waiting == 1, "nobody waits")
    go_on.set()
    many.join()
    one.join()

    assert begun == ["many 0", "one", "many 1", "many 2"]


@pytest.mark.sqlite
def test_no_more_hash_at_once_than_the_setting_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher, running, most, go_on = Hasher(Hashing(argon2_at_once=2)), [0], [0], threading.Event()

    def slow(self: Any, secret: str) -> str:
        running[0] += 1
        most[0] = max(most[0], running[0])
        assert go_on.wait(30)
        running[0] -= 1
        return secret

    monkeypatch.setattr(argon2.PasswordHasher, "hash", slow)
    threads = [threading.Thread(target=hasher.hash, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: hasher.waiting == 4, "not all of the others wait")
    go_on.set()
    for thread in threads:
        thread.join()

    assert most == [2] and hasher.waiting == 0
