"""How many requests an operation takes (docs/reference/backends/irods.md), and that look-ups are look-ups."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member
from storage.irods.form import Kind, with_id
from storage.irods.seal import Seal
from storage.testing import GROUP, USER, stored
from tests.conftest import KEY, ScimClient
from tests.fake_irods import FakeIrodsServer
from tests.storage.irods.store import Store

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "reference" / "backends" / "irods.md"
LARGE = 10_000


class Service:
    """A service on a zone with 1,000 users and a group of 10,000 members."""

    def __init__(self, store: Store) -> None:
        self.store = store
        app = create_app(Settings.from_env({"API_KEY": KEY, "LOGLEVEL": "ERROR", **store.environ}))
        self.close = app.extensions["scim.storage"].close
        self.scim = ScimClient(app.test_client())
        self.ids: list[str] = []
        for number in range(1000):
            self.add(f"user{number:04}")
        self.group = self.scim.group("large")["meta"]["location"]

    def add(self, name: str) -> None:
        """Make a user as the service would, without its requests."""
        account = self.store.fake.catalog.add(name, "rodsuser")
        document = {"userName": name, "emails": [{"value": f"{name}@x"}]}
        kept = with_id(stored("1", **document), account.number, "1.x")
        avus = Kind(USER, Seal()).metadata(kept)
        self.store.fake.catalog.change_avus(
            name, [("add", (avu.attribute, avu.value, avu.unit)) for avu in avus]
        )
        self.ids.append(str(account.number))

    def fill(self) -> None:
        """Give the group its members."""
        catalog = self.store.fake.catalog
        for number in range(LARGE):
            self.add(f"member{number:05}")
            catalog.join("large", f"member{number:05}")

    @contextmanager
    def counted(self) -> Iterator[list[int]]:
        """Count the requests of what is done in this context."""
        self.store.fake.mischief.requests.clear()
        count: list[int] = []
        yield count
        count.append(len(self.store.fake.mischief.requests))


@pytest.fixture(scope="module")
def service(irods: FakeIrodsServer) -> Iterator[Service]:
    service = Service(Store(irods))
    yield service
    service.close()


def documented() -> dict[str, int]:
    section = DOCUMENTATION.read_text().partition("### Requests per operation")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \|$", section, re.MULTILINE)
    return {name.strip(): int(number) for name, number in rows}


def test_operations_take_the_documented_number_of_requests(service: Service) -> None:
    scim = service.scim
    user_id = scim("GET", "/Users?count=1").json["Resources"][0]["id"]
    member = {"value": user_id}

    def patch(operation: str, path: str = "members", **value: object) -> Callable[[], object]:
        body = {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": operation, "path": path, **value}],
        }
        return lambda: scim("PATCH", service.group, body)

    def get(path: str) -> Callable[[], object]:
        return lambda: scim("GET", path)

    few = {"count": "100", "excludedAttributes": "groups"}
    operations: dict[str, Callable[[], object]] = {
        "list of 1,000 users, a page of 100": lambda: scim("GET", "/Users", query_string=few),
        "the same with the groups of each": lambda: scim("GET", "/Users?count=100"),
        "read one user, without groups": get(f"/Users/{user_id}?excludedAttributes=groups"),
        "look up by `userName`": get('/Users?filter=userName eq "user0500"&excludedAttributes=groups'),
        "look up by `externalId`": get('/Users?filter=externalId eq "x"&excludedAttributes=groups'),
        "create a user": lambda: scim("POST", "/Users", {"userName": "new", "externalId": "n"}),
        "replace a user": lambda: scim("PUT", f"/Users/{user_id}", {"userName": "user0000", "title": "t"}),
    }
    counts = {name: count(service, operation) for name, operation in operations.items()}
    counts |= counts_of_many(service)
    service.fill()
    join = patch("add", value=[member])
    leave = patch("remove", f'members[value eq "{user_id}"]')
    counts["add one member to a group of 10,000"] = count(service, join)
    counts["remove one member from a group of 10,000"] = count(service, leave)
    counts["delete a user"] = count(service, lambda: scim("DELETE", f"/Users/{user_id}"))

    assert counts == documented()


def counts_of_many(service: Service) -> dict[str, int]:
    """Return the requests to fill a group with 1,000 users, and to find these by it."""
    crew = service.scim.group("crew")
    members = [{"value": user_id} for user_id in service.ids]
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "add", "path": "members", "value": members}],
    }
    location = f"{crew['meta']['location']}?attributes=displayName"
    page = {"filter": f'groups.value eq "{crew["id"]}"', "count": "100"}

    counts = {
        "add 1,000 members to a group": count(service, lambda: service.scim("PATCH", location, body)),
        "`groups.value eq` with 1,000 matches, a page of 100": count(
            service, lambda: service.scim("GET", "/Users", query_string=page)
        ),
    }
    service.scim("DELETE", location)
    return counts


def count(service: Service, operation: Callable[[], object]) -> int:
    # Connections are there, as they are in a service that has run for a while.
    service.scim("GET", "/Users?count=0")
    with service.counted() as requests:
        answer = operation()
    assert getattr(answer, "status_code", 500) < 300, getattr(answer, "text", "")
    return requests[0]


def test_whether_some_are_members_is_asked_without_reading_the_others(service: Service) -> None:
    store = service.store
    adapter = store.open()
    ids = {one.document["userName"]: one.id for one in adapter.scan(USER)}
    catalog = store.fake.catalog
    catalog.add("many", "rodsgroup")
    for number in range(100, 800):
        catalog.join("many", f"user{number:04}")
    group = next(one for one in adapter.scan(GROUP) if one.document["displayName"] == "many")
    asked = [ids["user0500"], ids["user0005"], "x", "9" * 30]

    with service.counted() as requests:
        found = adapter.among_members(GROUP, group, asked)

    assert found == [Member(ids["user0500"], "User")]
    assert requests[0] == 2
    adapter.close()


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "USER0500"',
        'userName sw "user0500"',
        'emails.value eq "user0500@x"',
        'emails[value eq "user0500@x" and not (type pr)]',
        'emails.value eq "user0500@x" and active ne true',
        'userName eq "nobody" or emails.value eq "user0500@x"',
    ],
)
def test_common_filters_do_not_read_everything(service: Service, text: str) -> None:
    with service.counted() as requests:
        assert service.scim.names(text) == ["user0500"]

    assert requests[0] <= 10
