"""How many operations of the directory a request takes, with the schema that we ship and without."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import KEY, ScimClient
from tests.openldap import LdapServer

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
OPERATION = re.compile(r"conn=\d+ op=\d+ (SRCH base|ADD|MOD dn|DEL|BIND)")


class Service:
    """An application on one directory, and what the directory has been asked."""

    def __init__(self, server: LdapServer, **environ: str) -> None:
        self.server = server
        variables = {"API_KEY": KEY, "LOGLEVEL": "ERROR", "EMBEDDED_WORKER": "false", **environ}
        variables |= server.environ(server.new_database())
        self.scim = ScimClient(create_app(Settings.from_env(variables)).test_client())
        self.users = [self.scim.user(f"user{number:03}")["id"] for number in range(120)]
        self.group = self.scim.group("g", *self.users[:100])["id"]

    def operations(self, method: str, path: str, body: Any = None) -> list[str]:
        """Send a request and return the names of the operations that it takes."""
        before = self.server.logged()
        assert self.scim(method, path, body).status_code < 300
        return OPERATION.findall(self.server.log(before))

    def patch(self, op: str, member: str) -> list[str]:
        operation = {"op": op, "path": "members", "value": [{"value": member}]}
        body = {"schemas": [PATCH], "Operations": [operation]}
        return self.operations("PATCH", f"/Groups/{self.group}", body)

    def close(self) -> None:
        self.scim.app.extensions["scim.delivery"].database.close()
        self.scim.app.extensions["scim.storage"].close()


@pytest.fixture(scope="module", params=["ldap", "plain_ldap"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    state = tmp_path_factory.mktemp("state") / "state.db"
    service = Service(request.getfixturevalue(request.param), STATE_DATABASE_URL=f"sqlite:///{state}")
    yield service
    service.close()


def test_the_members_of_a_group_are_read_together(service: Service) -> None:
    assert len(service.operations("GET", f"/Groups/{service.group}")) == 3


def test_one_member_of_a_large_group_changes_in_few_operations(service: Service) -> None:
    assert len(service.patch("add", service.users[110])) == 11
    assert len(service.patch("remove", service.users[110])) == 9


def test_a_page_is_read_together(service: Service) -> None:
    assert len(service.operations("GET", "/Users?count=100")) == 4
