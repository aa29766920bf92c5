"""The load that servers are compared under: requests over HTTP, each answer checked."""

import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson

from benchmarks.operations import user

GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
# Users beside those of the group; they join it and leave it.
OUTSIDE: Final = 100
# Numbers of users that the load creates. Their names come behind all others.
_FIRST_NEW: Final = 20_000_000
# How many changed resources are read again after each block.
_AGAIN: Final = 5


@dataclass(frozen=True)
class Answer:
    """An answer of a server; `document` is None for an empty body, or for one that is no JSON."""

    status: int
    document: Any

    def finds(self, *ids: str) -> bool:
        """Return whether this is a list of exactly these resources."""
        shown = self.document or {}
        found = {resource.get("id") for resource in shown.get("Resources", [])}
        return self.status == 200 and shown.get("totalResults") == len(ids) and found == set(ids)


class Client:
    """One connection to a server; `times` are the seconds that each request took."""

    def __init__(self, url: str, token: str) -> None:
        split = urlsplit(url)
        kind = HTTPSConnection if split.scheme == "https" else HTTPConnection
        self._connection = kind(split.netloc, timeout=600)
        self._path = split.path
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
        self.times: list[float] = []

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = None if body is None else orjson.dumps(body)
        started = time.perf_counter()
        self._connection.request(method, self._path + path, sent, {**self._headers, **(headers or {})})
        answer = self._connection.getresponse()
        raw = answer.read()
        self.times.append(time.perf_counter() - started)
        try:
            return Answer(answer.status, orjson.loads(raw) if raw else None)
        except orjson.JSONDecodeError:
            return Answer(answer.status, None)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True)
class Operation:
    """One kind of request.

    A block has up to `times` of them. `call` sends one and returns whether the answer is right; its number
    is given once. `most` is how many can be sent now. `look_again` returns how many of the block's effects
    are missing.
    """

    times: int
    call: Callable[[Client, int], bool]
    most: Callable[[], int] = lambda: 10**9
    look_again: Callable[[Client], int] = lambda client: 0


@dataclass
class Load:
    """What one server holds: `count` users in one group, and OUTSIDE more of them."""

    count: int
    ids: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    group: str = ""
    members: set[str] = field(default_factory=set)
    outside: deque[str] = field(default_factory=deque)
    joined: deque[str] = field(default_factory=deque)
    created: deque[str] = field(default_factory=deque)
    deleted: deque[str] = field(default_factory=lambda: deque(maxlen=_AGAIN))
    # The last value that each changed user was given, by id.
    active: dict[str, bool] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    new: Any = field(default_factory=lambda: itertools.count(_FIRST_NEW))

    def fill(self, client: Client) -> None:
        """Create the users and the group. Raises ValueError where the server does not."""
        for number in range(self.count + OUTSIDE):
            answer = client("POST", "/Users", user(number))
            if answer.status != 201:
                raise ValueError(f"create of user {number}: status {answer.status}")
            self.ids.append(answer.document["id"])
            self.versions.append(answer.document.get("meta", {}).get("version", ""))
        self.members = set(self.ids[: self.count])
        self.outside.extend(self.ids[self.count :])
        values = [{"value": member} for member in self.ids[: self.count]]
        body = {"schemas": [GROUP], "displayName": "large", "members": values}
        answer = client("POST", "/Groups", body)
        if answer.status != 201:
            raise ValueError(f"create of the group: status {answer.status}")
        self.group = answer.document["id"]

    def empty(self, client: Client) -> None:
        """Delete the group and the users."""
        client("DELETE", f"/Groups/{self.group}")
        for one in (*self.ids, *self.created):
            client("DELETE", f"/Users/{one}")

    @property
    def total(self) -> int:
        """How many users there are."""
        return len(self.ids) + len(self.created)

    def operations(self) -> dict[str, Operation]:
        """Return each kind of request by name."""
        return {
            "GET by id": Operation(500, self._get),
            "GET by id, 304": Operation(500, self._not_modified),
            "userName eq": Operation(300, self._equal),
            "userName eq, none found": Operation(300, self._equal_to_none),
            "emails[type eq and value eq]": Operation(200, self._work_email),
            "userName sw, 10 found": Operation(200, self._starts_with),
            "list of 100": Operation(50, self._page),
            "sortBy userName, 100": Operation(50, self._sorted_page),
            "create": Operation(100, self._create),
            "create, 409": Operation(100, self._conflict),
            "PATCH active": Operation(100, self._patch, look_again=self._look_at_active),
            "replace": Operation(100, self._replace, look_again=self._look_at_titles),
            "delete": Operation(100, self._delete, lambda: len(self.created), self._look_at_deleted),
            "group: add a member": Operation(25, self._add, lambda: len(self.outside), self._look_at_group),
            "group: remove a member": Operation(
                25, self._remove, lambda: len(self.joined), self._look_at_group
            ),
            "group: GET": Operation(10, lambda client, number: not self._look_at_group(client)),
        }

    # -- users that nothing changes are the first half; the others are changed

    def _read(self) -> int:
        return random.randrange(max(1, self.count // 2))

    def _changed(self, number: int) -> int:
        return self.count // 2 + number % (self.count - self.count // 2)

    def _get(self, client: Client, number: int) -> bool:
        one = self._read()
        answer = client("GET", f"/Users/{self.ids[one]}")
        return answer.status == 200 and self._shows(answer.document, one, active=user(one)["active"])

    def _shows(self, document: Any, number: int, **more: Any) -> bool:
        """Return whether a document is that of a user, with `more` in it."""
        expected = {**user(number), **more}
        names = ("userName", "externalId", "name", "displayName", *more)
        emails = {(one["type"], one["value"]) for one in expected["emails"]}
        shown = document or {}
        return (
            all(shown.get(name) == expected[name] for name in names)
            and {(one.get("type"), one.get("value")) for one in shown.get("emails", [])} == emails
            and (number >= _FIRST_NEW or shown.get("id") == self.ids[number])
        )

    def _not_modified(self, client: Client, number: int) -> bool:
        one = self._read()
        answer = client("GET", f"/Users/{self.ids[one]}", headers={"If-None-Match": self.versions[one]})
        return answer == Answer(304, None)

    def _found(self, client: Client, text: str) -> Answer:
        return client("GET", f"/Users?filter={quote(text)}")

    def _equal(self, client: Client, number: int) -> bool:
        one = self._read()
        answer = self._found(client, f'userName eq "user{one:08}"')
        return answer.finds(self.ids[one]) and self._shows(answer.document["Resources"][0], one)

    def _equal_to_none(self, client: Client, number: int) -> bool:
        return self._found(client, f'userName eq "nobody{number:08}"').finds()

    def _work_email(self, client: Client, number: int) -> bool:
        one = self._read()
        text = f'emails[type eq "work" and value eq "user{one:08}@work.example"]'
        answer = self._found(client, text)
        return answer.finds(self.ids[one]) and self._shows(answer.document["Resources"][0], one)

    def _starts_with(self, client: Client, number: int) -> bool:
        tens = self._read() // 10
        answer = self._found(client, f'userName sw "user{tens:07}"')
        return answer.finds(*self.ids[tens * 10 : tens * 10 + 10])

    def _page(self, client: Client, number: int) -> bool:
        shown = self._shown_page(client("GET", "/Users?count=100"))
        known = {one: position for position, one in enumerate(self.ids)} if shown else {}
        return len({one["id"] for one in shown}) == min(100, self.total) and all(
            one["id"] in self.created or self._shows(one, known[one["id"]]) for one in shown
        )

    def _sorted_page(self, client: Client, number: int) -> bool:
        shown = self._shown_page(client("GET", "/Users?sortBy=userName&count=100"))
        # Users that the load creates come behind these.
        first = range(min(100, len(self.ids)))
        return len(shown) >= len(first) and all(self._shows(shown[one], one) for one in first)

    def _shown_page(self, answer: Answer) -> list[Any]:
        """Return the resources of a page of 100, none if the answer is wrong."""
        if answer.status != 200 or (answer.document or {}).get("totalResults") != self.total:
            return []
        shown: list[Any] = answer.document.get("Resources", [])
        return shown if len(shown) == min(100, self.total) else []

    # -- writes

    def _create(self, client: Client, number: int) -> bool:
        one = next(self.new)
        answer = client("POST", "/Users", user(one))
        if answer.status != 201 or not (answer.document or {}).get("id"):
            return False
        self.created.append(answer.document["id"])
        return self._shows(answer.document, one, active=user(one)["active"])

    def _conflict(self, client: Client, number: int) -> bool:
        answer = client("POST", "/Users", user(self._read()))
        return answer.status == 409 and (answer.document or {}).get("scimType") == "uniqueness"

    def _patch(self, client: Client, number: int) -> bool:
        changed = self._changed(number)
        one = self.ids[changed]
        value = self.active[one] = not self.active.pop(one, user(changed)["active"])
        operation = {"op": "replace", "path": "active", "value": value}
        answer = client("PATCH", f"/Users/{one}", {"schemas": [PATCH], "Operations": [operation]})
        return answer.status == 204 or (answer.status == 200 and answer.document.get("active") is value)

    def _replace(self, client: Client, number: int) -> bool:
        one = self._changed(number)
        title = self.titles[self.ids[one]] = f"Title {next(self.new)}"
        # A replacement sets the other attributes too.
        active = self.active.get(self.ids[one], user(one)["active"])
        answer = client("PUT", f"/Users/{self.ids[one]}", {**user(one), "title": title, "active": active})
        return answer.status == 200 and self._shows(answer.document, one, title=title, active=active)

    def _delete(self, client: Client, number: int) -> bool:
        self.deleted.append(self.created.popleft())
        return client("DELETE", f"/Users/{self.deleted[-1]}").status == 204

    def _add(self, client: Client, number: int) -> bool:
        one = self.outside.popleft()
        self.joined.append(one)
        self.members.add(one)
        return self._change_group(client, {"op": "add", "path": "members", "value": [{"value": one}]})

    def _remove(self, client: Client, number: int) -> bool:
        one = self.joined.popleft()
        self.outside.append(one)
        self.members.discard(one)
        return self._change_group(client, {"op": "remove", "path": f'members[value eq "{one}"]'})

    def _change_group(self, client: Client, operation: Mapping[str, Any]) -> bool:
        # As clients do that know how large a group can be.
        path = f"/Groups/{self.group}?attributes=displayName"
        answer = client("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})
        is_shown = answer.status == 200 and answer.document.get("displayName") == "large"
        return answer.status == 204 or is_shown

    # -- what a block has left behind

    def _look_at_active(self, client: Client) -> int:
        return self._look_at(client, "active", self.active)

    def _look_at_titles(self, client: Client) -> int:
        return self._look_at(client, "title", self.titles)

    def _look_at(self, client: Client, name: str, values: Mapping[str, Any]) -> int:
        shown = [(client("GET", f"/Users/{one}"), value) for one, value in [*values.items()][-_AGAIN:]]
        return sum((answer.document or {}).get(name) != value for answer, value in shown)

    def _look_at_deleted(self, client: Client) -> int:
        return sum(client("GET", f"/Users/{one}").status != 404 for one in self.deleted)

    def _look_at_group(self, client: Client) -> int:
        answer = client("GET", f"/Groups/{self.group}")
        if answer.status != 200 or answer.document is None:
            return 1
        shown = {member.get("value") for member in answer.document.get("members", [])}
        return len(shown ^ self.members)
