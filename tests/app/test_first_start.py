"""Instances that start for the first time at one moment on one store: all of them come up."""

from collections.abc import Callable

import pytest

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import KEY, OWN_DATABASE, ScimClient
from tests.first_start import start_together

INSTANCES = 8


@pytest.mark.full("mariadb", "mongodb", "ldap", "lines", "jumpcloud", "forward", "irods")
def test_instances_come_up_together_on_an_empty_store(backend: Callable[[set[str]], dict[str, str]]) -> None:
    environ = {**backend(OWN_DATABASE), "SET_POLL_ENABLED": "true", "EMBEDDED_WORKER": "false"}

    start_together([environ] * INSTANCES)

    app = create_app(Settings.from_env({"API_KEY": KEY, **environ}))
    scim = ScimClient(app.test_client())
    assert scim("GET", "/Users").json["totalResults"] == 0
    user = scim.user("ann")
    assert scim.names('userName eq "ANN"', attribute="id") == [user["id"]]
    group = scim.group("Crew", user["id"])
    assert [one["value"] for one in scim("GET", f"/Users/{user['id']}").json["groups"]] == [group["id"]]
    app.extensions["scim.delivery"].database.close()
    app.extensions["scim.storage"].close()
