"""The smallest backends: several processes write to one that can be locked, and one process to another."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings, SettingsError
from tests.conftest import GROUP, KEY, ScimClient, Server, error_of
from tests.distributions import memory_at
from tests.events import PATCH_OP

SCIM = Path(sys.executable).parent / "scim"

# A store that keeps its members elsewhere must give the same answers.
BOTH = pytest.mark.on("lines", "sqlite")


def adding(*user_ids: str) -> dict[str, Any]:
    members = [{"value": user_id} for user_id in user_ids]
    return {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "members", "value": members}]}


# -- versions and names


@BOTH
def test_each_answer_has_the_version_that_is_read_next(scim: ScimClient) -> None:
    ann, bob = (scim.user(name)["id"] for name in ("ann", "bob"))
    body = {"schemas": [GROUP], "displayName": "team", "members": [{"value": ann}]}
    answer = scim("POST", "/Groups", body)
    path, tags = answer.json["meta"]["location"], [answer.headers["ETag"]]

    for method, sent in (
        ("PATCH", adding(bob)),
        ("PUT", {**body, "displayName": "crew"}),
        ("PUT", {**body, "displayName": "crew", "members": [{"value": bob}]}),
        ("PATCH", {"schemas": [PATCH_OP], "Operations": [{"op": "remove", "path": "members"}]}),
    ):
        assert scim("GET", path).headers["ETag"] == answer.headers["ETag"] == answer.json["meta"]["version"]
        answer = scim(method, path, sent, {"If-Match": tags[-1]})
        assert answer.status_code == 200, answer.text
        tags.append(answer.headers["ETag"])
        for stale in tags[:-1]:
            error_of(scim(method, path, sent, {"If-Match": stale}), 412)

    assert scim("GET", path).headers["ETag"] == tags[-1]
    assert len(set(tags)) == 5
    assert "members" not in scim("GET", path).json


@BOTH
def test_what_changes_no_member_makes_no_version(scim: ScimClient) -> None:
    ann = scim.user("ann")["id"]
    group = scim.group("team", ann)
    path, tag = group["meta"]["location"], group["meta"]["version"]
    body = {"schemas": [GROUP], "displayName": "team", "members": [{"value": ann}]}

    for method, sent in (("PATCH", adding(ann)), ("PUT", body)):
        assert scim(method, path, sent, {"If-Match": tag}).headers["ETag"] == tag


@BOTH
def test_the_name_of_a_member_is_its_own_unless_the_client_gave_another(scim: ScimClient) -> None:
    ann, bob = (scim.user(name, displayName=name)["id"] for name in ("ann", "bob"))
    members = [{"value": ann, "display": "ann"}, {"value": bob, "display": "Boss"}]
    body = {"schemas": [GROUP], "displayName": "team", "members": members}
    path = scim("POST", "/Groups", body).json["meta"]["location"]

    for user_id in (ann, bob):
        operation = {"op": "replace", "path": "displayName", "value": "new"}
        scim("PATCH", f"/Users/{user_id}", {"schemas": [PATCH_OP], "Operations": [operation]})

    shown = {member["value"]: member["display"] for member in scim("GET", path).json["members"]}
    assert shown == {ann: "new", bob: "Boss"}


# -- several processes


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """Do work in so many threads that begin together."""
    start = threading.Barrier(count)

    def begin(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


@pytest.fixture
def servers(serve: Callable[..., Server]) -> list[Server]:
    """Two servers of two processes each, on one store."""
    return [serve(WORKERS="2", LOGLEVEL="ERROR") for _ in range(2)]


@BOTH
def test_of_creates_by_several_servers_one_wins(servers: list[Server]) -> None:
    def create(number: int) -> int:
        return servers[number % 2]("POST", "/Users", json={"userName": "same"}).status_code

    assert Counter(at_once(create, 16)) == {201: 1, 409: 15}


@BOTH
def test_no_member_is_lost_among_several_servers(servers: list[Server]) -> None:
    ids = [servers[n % 2]("POST", "/Users", json={"userName": f"u{n}"}).json()["id"] for n in range(16)]
    path = servers[0]("POST", "/Groups", json={"displayName": "team"}).json()["meta"]["location"]

    def join(number: int) -> str:
        answer = servers[number % 2]("PATCH", path, json=adding(ids[number]))
        assert answer.status_code == 200, answer.text
        return str(answer.headers["ETag"])

    tags = at_once(join, 16)

    shown = servers[1]("GET", path)
    assert {member["value"] for member in shown.json()["members"]} == set(ids)
    assert len(set(tags)) == 16 and shown.headers["ETag"] in tags


@BOTH
def test_of_changes_to_one_version_by_several_servers_one_wins(servers: list[Server]) -> None:
    ids = [servers[0]("POST", "/Users", json={"userName": f"u{n}"}).json()["id"] for n in range(8)]
    answer = servers[0]("POST", "/Groups", json={"displayName": "team"})
    path, tag = answer.json()["meta"]["location"], answer.headers["ETag"]

    def change(number: int) -> Any:
        return servers[number % 2]("PATCH", path, json=adding(ids[number]), headers={"If-Match": tag})

    answers = at_once(change, 8)

    (won,) = (one for one in answers if one.status_code == 200)
    assert Counter(one.status_code for one in answers) == {200: 1, 412: 7}
    shown = servers[1]("GET", path)
    assert shown.headers["ETag"] == won.headers["ETag"]
    assert shown.json()["members"] == won.json()["members"]


@BOTH
def test_a_user_that_is_deleted_while_it_joins_groups_is_in_none(servers: list[Server]) -> None:
    user = servers[0]("POST", "/Users", json={"userName": "ann"}).json()["id"]
    groups = [
        servers[0]("POST", "/Groups", json={"displayName": f"g{n}"}).json()["meta"]["location"]
        for n in range(7)
    ]

    def work(number: int) -> int:
        if number == 7:
            return servers[0]("DELETE", f"/Users/{user}").status_code
        return servers[number % 2]("PATCH", groups[number], json=adding(user)).status_code

    *joined, deleted = at_once(work, 8)

    assert deleted == 204 and set(joined) <= {200, 400}
    found = servers[1]("GET", "/Groups", params={"filter": f'members.value eq "{user}"'}).json()
    assert found["totalResults"] == 0
    assert not any("members" in servers[1]("GET", path).json() for path in groups)


# -- one process


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The variables of a server whose storage is for one process."""
    found = memory_at(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    chosen = {"STORAGE": "memory", "MEMORY_NAME": "test", "WORKERS": "1"}
    state = {"STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db"}
    return {"API_KEY": KEY, "PATH": os.environ["PATH"], **chosen, **state, **found}


def test_a_storage_for_one_process_serves_and_says_so(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    scim = ScimClient(create_app(Settings.from_env(environ)).test_client())

    assert scim.names("userName pr") == []
    scim.user("ann")
    assert scim.names("userName pr") == ["ann"]
    said = "the storage memory is for one process: run one server and, while it runs, no other command"
    assert caplog.messages.count(said) == 1


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"WORKERS": "2"}, "WORKERS: must be 1: the storage memory is for one process"),
        (
            {"CELERY_BROKER_URL": "redis://localhost"},
            "CELERY_BROKER_URL: must be unset: the storage memory is for one process",
        ),
    ],
)
def test_more_processes_than_a_storage_takes_are_refused(
    environ: dict[str, str], more: dict[str, str], problem: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        create_app(Settings.from_env({**environ, **more}))
    assert caught.value.problems == [problem]


def test_a_worker_beside_a_storage_for_one_process_ends(environ: dict[str, str]) -> None:
    ended = subprocess.run([SCIM, "worker"], env=environ, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert "scim: the storage memory is for one process: run no scim worker" in ended.stderr


def test_the_one_process_is_not_replaced_while_it_serves(
    environ: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(**environ, LOGLEVEL="ERROR")
    try:
        created = server("POST", "/Users", json={"userName": "ann"}).json()
        server.process.send_signal(signal.SIGHUP)
        said, deadline = "", time.monotonic() + 30
        while "SIGHUP has no effect: the storage is for one process" not in said:
            assert time.monotonic() < deadline, said
            said += capfd.readouterr().err
            time.sleep(0.02)
        assert server("GET", created["meta"]["location"]).json() == created
    finally:
        server.kill()
