"""A user joins a group at one node of a cluster while another node deletes the user."""

import os
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import KEY, ScimClient
from tests.galera import GaleraCluster

pytestmark = pytest.mark.skipif(not os.environ.get("SCIM_TEST_FULL"), reason="starts a cluster")

ROUNDS = 40
GHOSTS = (
    "SELECT COUNT(*) FROM scim_member m WHERE NOT EXISTS (SELECT 1 FROM scim_resource r "
    "WHERE r.rid = m.member_rid) OR NOT EXISTS (SELECT 1 FROM scim_resource r WHERE r.rid = m.group_rid)"
)


@pytest.fixture
def nodes(galera: GaleraCluster) -> Iterator[list[ScimClient]]:
    """Clients of two servers, each at a node of its own."""
    apps = []
    for url in galera.new_database()[:2]:
        environ = {"API_KEY": KEY, "LOGLEVEL": "CRITICAL", "EMBEDDED_WORKER": "false", "DATABASE_URL": url}
        apps.append(create_app(Settings.from_env(environ)))
        galera.settle()
    yield [ScimClient(app.test_client()) for app in apps]
    for app in apps:
        app.extensions["scim.delivery"].database.close()
        app.extensions["scim.storage"].close()


@pytest.mark.parametrize("deleted", ["member", "group"])
def test_no_membership_is_left_of_what_another_node_deletes(
    galera: GaleraCluster, nodes: list[ScimClient], deleted: str
) -> None:
    answers: Counter[tuple[str, int]] = Counter()
    for number in range(ROUNDS):
        user = nodes[0].user(f"u{number}")["id"]
        group = nodes[0].group(f"g{number}")["id"]
        galera.settle()
        together = threading.Barrier(2)
        path = f"/Users/{user}" if deleted == "member" else f"/Groups/{group}"

        def join(user: str = user, group: str = group, together: threading.Barrier = together) -> None:
            together.wait()
            add = {"op": "add", "path": "members", "value": [{"value": user}]}
            body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [add]}
            answers["join", nodes[0]("PATCH", f"/Groups/{group}", body).status_code] += 1

        def delete(path: str = path, together: threading.Barrier = together) -> None:
            together.wait()
            answers["delete", nodes[1]("DELETE", path).status_code] += 1

        threads = [threading.Thread(target=one) for one in (join, delete)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    galera.settle()

    assert nodes[0].app.extensions["scim.storage"].state_database.row(GHOSTS)[0] == 0, answers
    assert nodes[1].names("members pr", "/Groups", "displayName") == [], answers
    refused = ("join", 400 if deleted == "member" else 404)
    assert answers["delete", 204] == answers["join", 200] + answers[refused] == ROUNDS, answers
