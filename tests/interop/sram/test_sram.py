"""What a real SRAM sends, over a real socket: look-ups, changes by location, the sweep, deletions.

It knows a base URL and appends `meta.location` to it; a status up to 204 is success; it sends `""`
for absent values, and what it gets back it compares with what it sent.
"""

import base64
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.conftest import KEY, Server

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
SRAM_USER = "urn:mace:surf.nl:sram:scim:extension:User"
SRAM_GROUP = "urn:mace:surf.nl:sram:scim:extension:Group"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk0 harry@laptop"


class Sram:
    """Sends requests as SRAM does."""

    def __init__(self, base: str) -> None:
        self._base = base

    def headers(self) -> dict[str, str]:
        """Return what every request has."""
        return {"Authorization": f"Bearer {KEY}", "X-Service": "42"}

    def send(self, method: str, path: str, body: Any = None) -> Any:
        headers = self.headers()
        if method != "DELETE":
            headers |= {"Accept": "application/scim+json", "Content-Type": "application/scim+json"}
        answer = requests.request(method, self._base + path, json=body, headers=headers, timeout=(3.05, 15))
        assert answer.status_code <= 204, answer.text
        return answer.json() if answer.content else None

    def look_up(self, endpoint: str, external_id: str) -> Any:
        """Return the resource SRAM knows by `external_id`, or None."""
        found = self.send("GET", f"{endpoint}?filter=externalId%20eq%20%22{external_id}%40sram.surf.nl%22")
        return None if found["totalResults"] == 0 else found["Resources"][0]

    def provision(self, endpoint: str, body: dict[str, Any]) -> Any:
        """Create or replace, as SRAM finds it."""
        known = self.look_up(endpoint, body["externalId"].split("@")[0])
        if known is None:
            return self.send("POST", endpoint, body)
        return self.send("PUT", known["meta"]["location"], body)

    def sweep(self, endpoint: str) -> list[Any]:
        """Return everything there is, page by page by `startIndex` alone."""
        found: list[Any] = []
        while True:
            page = self.send("GET", f"{endpoint}?startIndex={len(found) + 1}")
            found += page["Resources"]
            if len(found) == page["totalResults"]:
                return found
            assert page["Resources"], "an empty page would make SRAM ask for ever"


def user(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "schemas": [USER, SRAM_USER],
        "externalId": f"user-{number}@sram.surf.nl",
        "userName": f"harry{number}",
        "name": {"givenName": "Harry", "familyName": ""},
        "displayName": f"Harry {number}",
        "active": True,
        "emails": [{"value": f"harry{number}@example.nl", "primary": True}],
        "x509Certificates": [{"value": base64.b64encode(SSH_KEY.encode()).decode()}],
        SRAM_USER: {
            "eduPersonScopedAffiliation": "",
            "eduPersonUniqueId": f"{number}@sram.surf.nl",
            "voPersonExternalAffiliation": "employee@example.nl",
            "voPersonExternalId": f"harry{number}@example.nl",
            "sramInactiveDays": number,
        },
        **changes,
    }


def group(name: str, *members: Any) -> dict[str, Any]:
    return {
        "schemas": [GROUP, SRAM_GROUP],
        "externalId": f"{name}@sram.surf.nl",
        "displayName": name,
        "members": [
            {"value": member["id"], "display": member["displayName"], "$ref": f"https://sram/x/{number}"}
            for number, member in enumerate(members)
        ],
        SRAM_GROUP: {
            "description": "",
            "urn": f"surf:demo:{name}",
            "labels": ["label"],
            "links": [{"name": "logo", "value": "https://sram/logo.png"}],
        },
    }


def echoed(sent: dict[str, Any], got: dict[str, Any]) -> bool:
    """Return whether everything SRAM compares came back as it was sent."""
    return all(got[name] == value for name, value in sent.items() if name not in ("schemas", "members"))


@pytest.mark.parametrize(("base_path", "profile"), [("", "default"), ("/api/v2", "sram")])
def test_the_life_of_a_collaboration(
    serve: Callable[..., Server], base_path: str, profile: str
) -> None:
    server = serve(PAGE_SIZE="2", BASE_PATH=base_path, PROFILE=profile, LOGLEVEL="ERROR")
    sram = Sram(server.url + base_path)

    people = [sram.provision("/Users", user(number)) for number in range(3)]
    assert all(echoed(user(number), person) for number, person in enumerate(people))
    assert [sram.look_up("/Users", f"user-{number}") for number in range(3)] == people
    changed = sram.provision("/Users", user(1, active=False, displayName="H"))
    assert changed["id"] == people[1]["id"] and changed["active"] is False
    collaboration = sram.provision("/Groups", group("co", *people[:2]))
    assert echoed(group("co"), collaboration)
    assert [member["value"] for member in collaboration["members"]] == [p["id"] for p in people[:2]]
    collaboration = sram.provision("/Groups", group("co", *people))
    assert len(collaboration["members"]) == 3
    for name in ("a", "b"):
        sram.provision("/Groups", group(name, people[0]))

    assert [found["externalId"].split("@")[0] for found in sram.sweep("/Groups")] == ["co", "a", "b"]
    assert [found["id"] for found in sram.sweep("/Users")] == [person["id"] for person in people]

    sram.send("DELETE", people[0]["meta"]["location"])
    assert sram.look_up("/Users", "user-0") is None
    rest = sram.provision("/Groups", group("co", *people[1:]))
    assert [member["value"] for member in rest["members"]] == [person["id"] for person in people[1:]]
    assert "members" not in sram.look_up("/Groups", "a")
    for found in sram.sweep("/Groups") + sram.sweep("/Users"):
        sram.send("DELETE", found["meta"]["location"])
    assert sram.sweep("/Groups") == sram.sweep("/Users") == []


def test_a_user_is_refused_without_a_key(serve: Callable[..., Server]) -> None:
    server = serve(LOGLEVEL="ERROR")

    answer = requests.post(f"{server.url}/Users", json=user(1), timeout=15)

    assert answer.status_code == 401
    assert server("GET", "/Users").json()["totalResults"] == 0
