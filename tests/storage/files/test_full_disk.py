"""A disk that fills up: what is answered with success is stored, and nothing else is."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import KEY, ScimClient

EVENTS = {"SET_POLL_ENABLED": "true", "EMBEDDED_WORKER": "false"}


class Store:
    """A service on a small disk, and what has been answered with success."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        environ = {"API_KEY": KEY, "LOGLEVEL": "CRITICAL", "DATA_PATH": str(folder), **variables}
        self.app = create_app(Settings.from_env(environ))
        self.scim = ScimClient(self.app.test_client())
        self.group = self.scim.group("g")["id"]
        self.users: dict[str, str] = {}
        self.members: set[str] = set()

    def close(self) -> None:
        self.app.extensions["scim.storage"].close()
        self.app.extensions["scim.delivery"].database.close()

    def write(self, number: int) -> list[int]:
        """Try each kind of change once, keep in mind what succeeded, and return the statuses."""
        padding = "n" * (number * 4000)
        created = self.scim("POST", "/Users", {"userName": f"u{number}", "nickName": padding})
        if created.status_code == 201:
            self.users[created.json["id"]] = f"u{number}"
        statuses = [created.status_code]
        for user_id in list(self.users)[:1]:
            name = f"v{number}"
            answer = self.scim("PUT", f"/Users/{user_id}", {"userName": name, "nickName": padding})
            if answer.status_code == 200:
                self.users[user_id] = name
            statuses.append(answer.status_code)
            name = f"w{number}"
            answer = self.scim("PATCH", f"/Users/{user_id}", patch("replace", "userName", name))
            if answer.status_code == 200:
                self.users[user_id] = name
            statuses.append(answer.status_code)
            member = [{"value": user_id}]
            answer = self.scim("PATCH", f"/Groups/{self.group}", patch("add", "members", member))
            if answer.status_code < 300:
                self.members.add(user_id)
            statuses.append(answer.status_code)
        if number % 3 == 0 and self.users:
            user_id = list(self.users)[-1]
            answer = self.scim("DELETE", f"/Users/{user_id}")
            if answer.status_code == 204:
                del self.users[user_id]
                self.members.discard(user_id)
            statuses.append(answer.status_code)
        return statuses

    def assert_as_answered(self) -> None:
        """Assert that lists, totals and single resources are what was answered."""
        listed = self.scim("GET", "/Users?attributes=userName&count=1000").json
        assert {one["id"]: one["userName"] for one in listed["Resources"]} == self.users
        assert listed["totalResults"] == len(self.users)
        assert self.scim("GET", "/Users?count=0").json["totalResults"] == len(self.users)
        for user_id, name in self.users.items():
            assert self.scim("GET", f"/Users/{user_id}").json["userName"] == name
        group = self.scim("GET", f"/Groups/{self.group}").json
        assert {member["value"] for member in group.get("members", ())} == self.members


def patch(op: str, path: str, value: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": op, "path": path, "value": value}],
    }


def filled(folder: Path, left: int) -> Path:
    """Fill a disk but for so many KiB, and return the file to remove."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    os.truncate(filler, filler.stat().st_size - left * 1024)
    return filler


@pytest.fixture(params=["events", "no events"])
def store(request: pytest.FixtureRequest, small_disk: Path) -> Iterator[Store]:
    store = Store(small_disk, EVENTS if request.param == "events" else {})
    yield store
    store.close()


@pytest.mark.parametrize("left", [0, 4, 12, 32, 80, 200])
def test_success_is_answered_to_what_is_stored_and_to_nothing_else(
    store: Store, small_disk: Path, left: int
) -> None:
    for number in range(1, 3):
        assert max(store.write(number)) < 300
    filler = filled(small_disk, left)

    statuses: list[int] = []
    for number in range(3, 18):
        statuses += store.write(number)
        store.assert_as_answered()

    assert set(statuses) <= {200, 201, 204, 503} and 503 in statuses
    filler.unlink()
    assert max(store.write(20)) < 300
    store.assert_as_answered()


@pytest.mark.parametrize("left", range(0, 64, 4))
def test_a_state_database_that_is_full_undoes_no_answer(
    small_disk: Path, tmp_path: Path, left: int
) -> None:
    variables = {"STATE_DATABASE_URL": f"sqlite:///{small_disk}/state.db", **EVENTS}
    store = Store(tmp_path / "resources", variables)
    filler = filled(small_disk, left)

    statuses = [status for number in range(1, 4) for status in store.write(number)]

    store.assert_as_answered()
    filler.unlink()
    store.write(5)
    store.assert_as_answered()
    delivery = store.app.extensions["scim.delivery"]
    delivery.database.rows("SELECT 1")
    with delivery.database.transaction():
        delivery.database.run("UPDATE scim_intent SET made_at = 0, due_at = 1")
    delivery.settle_intents()
    assert 503 in statuses
    assert delivery.database.row("SELECT COUNT(*) FROM scim_intent")[0] == 0
    store.close()
