"""How many calls of JumpCloud an operation takes: the table in docs/reference/backends/jumpcloud.md."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import ScimClient
from tests.fake_jumpcloud import FakeJumpcloudServer
from tests.storage.jumpcloud.test_ssh_keys import FIRST, encoded

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ROW = re.compile(r"^\| ([^|]+?) +\| (\d+) +\|$", re.MULTILINE)
DOCUMENT = Path(__file__).parents[3].joinpath("docs", "reference", "backends", "jumpcloud.md").read_text()
TABLE = DOCUMENT.partition("### Calls per operation")[2]
# The mark of what this server has made.
OWN = {"scimGateway000": "{}"}
DOCUMENTED = {name: int(calls) for name, calls in ROW.findall(TABLE)}


class Service:
    """A service on an organisation of 1,000 users, each in one of 10 groups, and a group of 10,000."""

    def __init__(self, fake: FakeJumpcloudServer) -> None:
        self.fake = fake
        key = fake.new_database()
        organisation = self.organisation = fake.organisations[key]
        environ = {**fake.environ(key), "API_KEY": "test-key", "LOGLEVEL": "ERROR", "PAGE_SIZE": "1000"}
        self.app = create_app(Settings.from_env(environ))
        self.scim = ScimClient(self.app.test_client())
        own = {"attributes": [{"name": name, "value": value} for name, value in OWN.items()]}
        created = (
            organisation.create_user({"username": f"u{n}", "email": f"u{n}@example.org", **own})
            for n in range(1000)
        )
        self.users = [user["_id"] for user in created]
        self.groups = [self._group(f"g{n}") for n in range(10)]
        for number, group_id in enumerate(self.groups):
            members = self.users[number::10][:99]
            organisation.members[group_id] = dict.fromkeys(members)

    def _group(self, name: str) -> str:
        group_id: str = self.organisation.create_group({"name": name, "attributes": OWN})["id"]
        return group_id

    def large_group(self, *first: str) -> str:
        """Make a group of 10,000 members, of whom the first 200 can be found."""
        group_id = self._group("all")
        found = [*first, *self.users[200:400]]
        ids = [*found, *(f"{number:024x}" for number in range(10_000 - len(found)))]
        self.organisation.members[group_id] = dict.fromkeys(ids)
        return group_id

    def with_groups(self, more: int) -> Any:
        """Return a list where there are more groups, each with a member."""
        made = [self._group(f"more{number}") for number in range(more)]
        for number, group_id in enumerate(made):
            self.organisation.members[group_id] = {self.users[number % 100]: None}
        answer = self.scim("GET", "/Users?count=100")
        for group_id in made:
            self.organisation.delete_group(group_id)
        return answer

    def member(self, operation: str, group_id: str, user_id: str) -> Any:
        """Add a member, or remove it."""
        entry: dict[str, Any] = {"op": operation, "path": "members", "value": [{"value": user_id}]}
        if operation == "remove":
            entry = {"op": operation, "path": f'members[value eq "{user_id}"]'}
        return self.scim("PATCH", f"/Groups/{group_id}", {"schemas": [PATCH], "Operations": [entry]})


@pytest.fixture(scope="module")
def service(jumpcloud: FakeJumpcloudServer) -> Iterator[Service]:
    service = Service(jumpcloud)
    yield service
    service.app.extensions["scim.storage"].close()


def patch_user(service: Service) -> Any:
    operation = {"op": "replace", "path": "title", "value": "Guide"}
    body = {"schemas": [PATCH], "Operations": [operation]}
    return service.scim("PATCH", f"/Users/{service.users[0]}", body)


OPERATIONS: dict[str, Callable[[Service], Any]] = {
    "list of 1,000 users without `groups`": lambda s: s.scim("GET", "/Users?excludedAttributes=groups"),
    "list of 1,000 users in 10 groups": lambda s: s.scim("GET", "/Users"),
    "list of 100 users in 10 groups": lambda s: s.scim("GET", "/Users?count=100"),
    "list of 100 users where there are 300 groups": lambda s: s.with_groups(290),
    "list of 100 users where there are 50 groups": lambda s: s.with_groups(40),
    "look-up by `userName`, without `groups`": lambda s: s.scim(
        "GET", '/Users?excludedAttributes=groups&filter=userName eq "U7"'
    ),
    "look-up by `externalId`, without `groups`": lambda s: s.scim(
        "GET", '/Users?excludedAttributes=groups&filter=externalId eq "x"'
    ),
    "look-up by `userName` of a user in one group": lambda s: s.scim("GET", '/Users?filter=userName eq "U7"'),
    "reading a user in one group": lambda s: s.scim("GET", f"/Users/{s.users[0]}"),
    "creating a user": lambda s: s.scim("POST", "/Users", {"userName": "new"}),
    "creating a user with one SSH key": lambda s: s.scim(
        "POST", "/Users", {"userName": "key", "x509Certificates": encoded(FIRST)}
    ),
    "PATCH of an attribute of a user in one group": patch_user,
    "reading a group without `members`": lambda s: s.scim(
        "GET", f"/Groups/{s.groups[0]}?excludedAttributes=members"
    ),
    "PATCH: one member joins a group of 10,000": lambda s: s.member("add", s.large_group(), s.users[5]),
    "PATCH: one member leaves a group of 10,000": lambda s: s.member(
        "remove", s.large_group(s.users[5]), s.users[5]
    ),
    "deleting a user in one group": lambda s: s.scim("DELETE", f"/Users/{s.users[1]}"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_take_as_many_calls_as_is_documented(service: Service, name: str) -> None:
    service.fake.requests.clear()

    answer = OPERATIONS[name](service)

    assert answer.status_code < 300, answer.text
    calls = [f"{one.method} {one.path}" for one in service.fake.requests if "all" not in one.path]
    for group in [group for group in service.organisation.groups.values() if group["name"] == "all"]:
        service.organisation.delete_group(group["id"])
    for user in [u for u in service.organisation.users.values() if u["username"] in ("new", "key")]:
        service.organisation.delete_user(user["_id"])
    assert len(calls) == DOCUMENTED.get(name), calls


def test_every_row_of_the_table_is_measured() -> None:
    assert set(DOCUMENTED) == set(OPERATIONS)
