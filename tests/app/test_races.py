"""A write that changed members and then lost the race for the resource: it is told once, as it is."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.conftest import GROUP, ScimClient
from tests.events import PATCH_OP, kinds, sets

# Those that keep what is changed in another database than the resources.
pytestmark = pytest.mark.on("files", "mongodb", "ldap", "forward", "jumpcloud", "irods")


class Race:
    """A group that another client renames ahead of the first attempt to replace it."""

    def __init__(self, scim: ScimClient, other_name: str) -> None:
        self.scim = scim
        self.user, self.group = scim.user("ann")["id"], scim.group("team")["id"]
        self.path = f"/Groups/{self.group}"
        self.before = scim("GET", self.path).headers["ETag"]
        self._told = len(sets(scim))
        self._storage = scim.app.extensions["scim.storage"]
        self._other_name = other_name
        self._replace = self._storage.replace
        self.lost = 0
        self._storage.replace = self._lose

    def _lose(self, resource_type: Any, *args: Any) -> Any:
        self._storage.replace = self._replace
        self.lost += 1
        now = self._storage.get(resource_type, self.group)
        renamed = orjson.dumps({**now.document, "displayName": self._other_name}).decode()
        self._replace(resource_type, replace(now, text=renamed), now.version)
        return self._replace(resource_type, *args)

    def assert_told_once(self, answer: Any, kind: str) -> None:
        """Assert that one row, one event and one version say what the group is now."""
        assert answer.status_code == 200, answer.text
        shown = self.scim("GET", self.path)
        assert self.lost == 1
        assert [member["value"] for member in shown.json["members"]] == [self.user]
        assert shown.headers["ETag"] == answer.headers["ETag"] != self.before
        told = kinds(sets(self.scim)[self._told :])
        assert told == [(f"prov:{kind}:notice", self.path), ("feed:add", f"/Users/{self.user}")]
        rows = [one.entry for one in self.scim.app.extensions["scim.delivery"].log.after(0, 100)][2:]
        assert [(row.kind, row.version) for row in rows] == [(kind, shown.headers["ETag"])]
        assert "members" in orjson.loads(rows[0].paths)


def test_a_patch_that_lost_the_race_after_its_members_changed(polled: ScimClient) -> None:
    race = Race(polled, "other")
    operations = [
        {"op": "add", "path": "members", "value": [{"value": race.user}]},
        {"op": "replace", "path": "displayName", "value": "crew"},
    ]

    answer = polled("PATCH", race.path, {"schemas": [PATCH_OP], "Operations": operations})

    race.assert_told_once(answer, "patch")
    assert answer.json["displayName"] == "crew"


def test_a_put_whose_new_name_came_from_another_client(polled: ScimClient) -> None:
    race = Race(polled, "crew")
    body = {"schemas": [GROUP], "displayName": "crew", "members": [{"value": race.user}]}

    race.assert_told_once(polled("PUT", race.path, body), "put")


def test_members_alone_that_lost_the_race(polled: ScimClient) -> None:
    if polled.app.extensions["scim.storage"].capabilities.versions_members:
        pytest.skip("a change of members makes the version by itself")
    race = Race(polled, "other")
    operation = {"op": "add", "path": "members", "value": [{"value": race.user}]}

    race.assert_told_once(
        polled("PATCH", race.path, {"schemas": [PATCH_OP], "Operations": [operation]}), "patch"
    )
