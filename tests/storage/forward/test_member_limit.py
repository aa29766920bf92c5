"""Upstreams that take few changes of members in one request, as AWS IAM Identity Center does."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import KEY, ScimClient, error_of
from tests.events import PATCH_OP, kinds, sets
from tests.storage.forward.quirks import at_most, changed, hiding_members
from tests.upstream import UPSTREAM_KEY, Upstream

SIZE = 250


class Limited:
    """A server in front of an upstream that takes 100 changes of members in one request.

    `inside` reads the upstream without its quirks. The upstream refuses what has the text `refused`.
    """

    def __init__(self, folder: Path, hides_members: bool) -> None:
        self.refused = ""
        limited = at_most(100, lambda: self.refused)

        def around(app: Any) -> Any:
            return limited(changed(hiding_members)(app) if hides_members else app)

        self.upstream = Upstream(folder / "limited.db", around=around)
        self.inside = self.upstream.app.test_client()
        environ = {
            "API_KEY": KEY,
            "FORWARD_SCIM_URL": self.upstream.url,
            "FORWARD_SCIM_KEY": UPSTREAM_KEY,
            "STATE_DATABASE_URL": f"sqlite:///{folder}/state.db",
            "SET_POLL_ENABLED": "true",
            "EMBEDDED_WORKER": "false",
            "LOGLEVEL": "ERROR",
        }
        self.app = create_app(Settings.from_env(environ))
        self.scim = ScimClient(self.app.test_client())
        self.users = [self._user(f"user{number:03}") for number in range(SIZE)]

    def _user(self, name: str) -> str:
        body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name}
        answer = self.inside.post("/Users", json=body, headers=self._key)
        assert answer.status_code == 201
        return str(answer.json["id"])

    @property
    def _key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {UPSTREAM_KEY}"}

    def members(self, group_id: str) -> list[str]:
        """Return the ids of the members that a group has at the upstream."""
        answer = self.inside.get(f"/Groups/{group_id}", headers=self._key)
        return [member["value"] for member in answer.json.get("members", [])]

    def sent(self, method: str) -> int:
        """Return how many requests of a method the upstream has had since the last call."""
        count = sum(request.startswith(method) for request in self.upstream.requests)
        self.upstream.requests.clear()
        return count

    def patch(self, group_id: str, *operations: dict[str, Any], **headers: str) -> Any:
        """Send a PATCH of a group."""
        body = {"schemas": [PATCH_OP], "Operations": operations}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.scim("PATCH", f"/Groups/{group_id}", body, named)

    def patched(self, group_id: str, *operations: dict[str, Any]) -> bool:
        """Send a PATCH of a group and return whether it succeeded: without content for many members."""
        return self.patch(group_id, *operations).status_code in (200, 204)

    def close(self) -> None:
        self.app.extensions["scim.storage"].close()
        self.app.extensions["scim.delivery"].database.close()
        self.upstream.stop()


@pytest.fixture(params=[False, True], ids=["members are shown", "members are hidden"])
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Limited]:
    limited = Limited(tmp_path, request.param)
    yield limited
    limited.close()


@pytest.fixture
def hidden(tmp_path: Path) -> Iterator[Limited]:
    limited = Limited(tmp_path, True)
    yield limited
    limited.close()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Limited]:
    limited = Limited(tmp_path, False)
    yield limited
    limited.close()


def adding(ids: list[str]) -> dict[str, Any]:
    return {"op": "add", "path": "members", "value": [{"value": one} for one in ids]}


def removing(ids: list[str]) -> list[dict[str, Any]]:
    return [{"op": "remove", "path": f'members[value eq "{one}"]'} for one in ids]


def test_many_members_join_and_leave_in_parts(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    group = limited.scim.group("g")
    limited.sent("PATCH")

    with caplog.at_level(logging.WARNING):
        assert limited.patched(group["id"], adding(limited.users))
    assert sorted(limited.members(group["id"])) == sorted(limited.users)
    # One that is refused, then 100, 100 and 50.
    assert limited.sent("PATCH") == 4
    assert "more than 100 members at once" in caplog.text

    assert limited.patched(group["id"], *removing(limited.users[10:]))
    assert sorted(limited.members(group["id"])) == sorted(limited.users[:10])
    # What is known is not tried again.
    assert limited.sent("PATCH") == 3


def test_leaving_and_joining_members_count_together(limited: Limited) -> None:
    group = limited.scim.group("g", *limited.users[:60])

    assert limited.patched(group["id"], *removing(limited.users[:60]), adding(limited.users[60:130]))

    assert sorted(limited.members(group["id"])) == sorted(limited.users[60:130])


def test_a_new_group_may_have_more_members(limited: Limited) -> None:
    group = limited.scim.group("g", *limited.users)

    assert sorted(limited.members(group["id"])) == sorted(limited.users)


def test_a_group_is_replaced_with_more_members(shown: Limited) -> None:
    group = shown.scim.group("g", *shown.users[:120])
    body = {**group, "displayName": "h", "members": [{"value": one} for one in shown.users[110:]]}

    answer = shown.scim("PUT", f"/Groups/{group['id']}", body)

    assert answer.status_code == 200 and answer.json["displayName"] == "h"
    assert sorted(shown.members(group["id"])) == sorted(shown.users[110:])


def test_a_refusal_for_another_reason_changes_nothing_and_teaches_nothing(limited: Limited) -> None:
    group = limited.scim.group("g")
    limited.refused = limited.users[5]

    error_of(limited.patch(group["id"], adding(limited.users[:90])), 400, "invalidValue")
    error_of(limited.patch(group["id"], adding(limited.users)), 400, "invalidValue")
    assert limited.members(group["id"]) == []

    limited.refused = ""
    limited.sent("PATCH")
    assert limited.patched(group["id"], adding(limited.users[:110]))
    assert limited.sent("PATCH") == 3


def test_a_part_that_is_refused_after_others_leaves_the_outcome_unknown(limited: Limited) -> None:
    group = limited.scim.group("g")
    limited.refused = limited.users[-1]

    answer = limited.patch(group["id"], adding(limited.users), If_Match=group["meta"]["version"])

    error_of(answer, 504)
    there = set(limited.members(group["id"]))
    assert len(there) == 200 and there < set(limited.users)
    # The group has another version than the client has seen.
    limited.refused = ""
    again = limited.patch(group["id"], adding(limited.users), If_Match=group["meta"]["version"])
    error_of(again, 412)
    assert limited.patched(group["id"], adding(limited.users))
    assert sorted(limited.members(group["id"])) == sorted(limited.users)


def test_what_joined_before_a_refusal_is_told(shown: Limited) -> None:
    group = shown.scim.group("g")
    shown.refused = shown.users[-1]

    error_of(shown.patch(group["id"], adding(shown.users)), 504)
    database = shown.app.extensions["scim.delivery"].database
    with database.transaction():
        # As if the time for an answer had passed.
        assert database.run("UPDATE scim_intent SET made_at = 0, due_at = 1").rowcount == 1
    shown.scim.work()

    told = {path for kind, path in kinds(sets(shown.scim)) if kind == "feed:add"}
    assert told == {f"/Users/{one}" for one in shown.members(group["id"])} and len(told) == 200


def test_hidden_members_can_be_named_but_not_shown_or_replaced(hidden: Limited) -> None:
    a, b, c, d = hidden.users[:4]
    group = hidden.scim.group("g", a, b, c)
    path = f"/Groups/{group['id']}"
    assert not hidden.scim("GET", path).json.get("members")

    answer = hidden.scim("PUT", path, {**group, "members": [{"value": d}]})
    assert answer.status_code == 200 and sorted(hidden.members(group["id"])) == sorted([a, b, c, d])

    assert hidden.patched(group["id"], {"op": "remove", "path": "members"})
    assert sorted(hidden.members(group["id"])) == sorted([a, b, c, d])

    assert hidden.patched(group["id"], *removing([a]))
    assert sorted(hidden.members(group["id"])) == sorted([b, c, d])
