"""The storage contract over scim2-server, a service provider that is none of ours."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from app import create_app
from app.configuration.settings import Settings
from scim_filter import matches, parse_filter, resolve
from storage.adapter import StorageAdapter
from storage.errors import ValueRefused
from storage.testing import (
    GROUP,
    LATER,
    REGISTRY,
    USER,
    StorageContract,
    among,
    change_members,
    ids_matching,
    members,
    members_of,
    represent,
    stored,
)
from storage.testing.corpus import FILTERS, SRAM, USERS
from storage.testing.own_ids import OwnIds
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient
from tests.ports import free_port
from tests.servers import program

TOKEN = "scim2-token"
TENANTS = itertools.count()
CONTRACT = StorageContract()
# It compares text in lower case, where "Straße" and "STRASSE" differ.
OTHERWISE = {'displayName eq "strasse"'}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = program(str(Path(sys.executable).parent / "scim2-server"))
    port = free_port()
    options = ["--port", str(port), "--bearer-token", TOKEN, "--dynamic-tenants"]
    server = subprocess.Popen([command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(f"http://127.0.0.1:{port}/x/ServiceProviderConfig", timeout=5)
            break
        except requests.ConnectionError:
            assert server.poll() is None and time.monotonic() < deadline, "scim2-server does not start"
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)


@pytest.fixture
def adapter(url: str) -> Iterator[StorageAdapter]:
    """A tenant of its own for each test."""
    tenant = f"{url}/t{next(TENANTS)}"
    adapter = OwnIds(open_backend("forward", forward_scim_url=tenant, forward_scim_key=TOKEN))
    adapter.prepare(REGISTRY.resource_types)
    yield adapter
    adapter.close()


@pytest.mark.parametrize(
    "check",
    [
        "test_what_is_not_there_is_not_found",
        "test_replace_drops_attributes_that_were_not_sent",
        "test_the_version_changes_with_every_replacement",
        "test_a_stale_version_changes_nothing",
        "test_an_id_is_taken_once",
        "test_preparing_again_keeps_everything",
        "test_of_parallel_creates_one_wins",
        "test_long_values_are_told_apart",
        "test_existing_resources_are_found_by_id",
        "test_memberships_are_direct_and_nested_and_may_be_circular",
        "test_a_display_of_ones_own_is_kept",
        "test_threads_work_side_by_side",
    ],
)
def test_the_contract_holds(adapter: StorageAdapter, check: str) -> None:
    getattr(CONTRACT, check)(adapter)


def _fill(adapter: StorageAdapter) -> None:
    for number, document in enumerate(USERS):
        if SRAM not in document:
            adapter.create(USER, stored(f"{number * 7 % len(USERS):02}", LATER, **document))


def test_filters_find_what_evaluation_says(adapter: StorageAdapter) -> None:
    _fill(adapter)

    for text in FILTERS:
        if text not in OTHERWISE:
            node = resolve(parse_filter(text), USER)
            expected = [r.id for r in adapter.scan(USER) if matches(node, represent(r, True))]
            # What it looks up in an index comes in no order.
            assert sorted(ids_matching(adapter, USER, text)) == sorted(expected), text


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_unique_values_are_kept_unique(adapter: StorageAdapter, name: str) -> None:
    CONTRACT.test_unique_values_are_kept_unique(adapter, name)


def test_members_join_and_leave_under_the_names_it_keeps(adapter: StorageAdapter) -> None:
    for name in "abc":
        adapter.create(USER, stored(name, userName=name))
    adapter.create(GROUP, stored("g", displayName="G"))

    assert change_members(adapter, "g", members("abc"), ())
    assert not change_members(adapter, "g", members("b"), ("zz",))
    assert change_members(adapter, "g", (), ("a",))

    # It shows no names of members but those that were sent.
    assert [(m.resource_id, m.display) for m in members_of(adapter, "g")] == [("b", None), ("c", None)]
    adapter.replace(GROUP, stored("g", displayName="H"))
    assert among(adapter, "g", ["a", "b", "c"]) == {"b", "c"}


def test_extensions_it_does_not_have_are_refused_in_its_words(adapter: StorageAdapter) -> None:
    with pytest.raises(ValueRefused, match="sram"):
        adapter.create(USER, stored("1", userName="a", **{SRAM: {"sramInactiveDays": 9}}))


def test_a_service_in_front_of_it_keeps_references_true(url: str) -> None:
    environ = {"API_KEY": KEY, "FORWARD_SCIM_URL": f"{url}/front", "FORWARD_SCIM_KEY": TOKEN}
    app = create_app(Settings.from_env({**environ, "LOGLEVEL": "ERROR"}))
    scim = ScimClient(app.test_client())
    ann, bob = scim.user("ann"), scim.user("bob")
    group = scim.group("G", ann["id"], bob["id"])

    shown = scim("GET", f"/Users/{ann['id']}").json["groups"]
    assert [(one["value"], one["display"]) for one in shown] == [(group["id"], "G")]
    assert scim("DELETE", f"/Users/{ann['id']}").status_code == 204

    left = scim("GET", f"/Groups/{group['id']}").json["members"]
    assert [member["value"] for member in left] == [bob["id"]]
    app.extensions["scim.storage"].close()
