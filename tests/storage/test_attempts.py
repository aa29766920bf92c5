"""Lost races: one PATCH is tried a bounded number of times, however many layers try again."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from storage import attempts
from storage.adapter import Member
from storage.attempts import ATTEMPTS, Changed, own_limit, repeated
from storage.errors import Contention, StorageError, VersionMismatch
from storage.testing import GROUP, USER
from tests.conftest import ScimClient, error_of

OPERATION = {"op": "replace", "path": "title", "value": "mine"}
PATCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [OPERATION]}
# Where a writer is between its reading and its writing.
BETWEEN: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "LdapAdapter": lambda adapter: (adapter._writer, "replace"),
    "MongoAdapter": lambda adapter: (adapter._types["User"].writer, "replace"),
    "IrodsAdapter": lambda adapter: (adapter._changes, "_take"),
    "ForwardAdapter": lambda adapter: (adapter._exchanges["User"], "_changed"),
    "JumpcloudAdapter": lambda adapter: (adapter, "replace"),
}


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(attempts, "_LONGEST_PAUSE_S", 0)
    yield


@pytest.mark.on("ldap", "mongodb", "irods", "forward", "jumpcloud")
def test_a_patch_that_always_loses_is_tried_a_bounded_number_of_times(
    scim: ScimClient, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter: Any = scim.app.extensions["scim.storage"]
    user = scim.user("ann", title="theirs")
    owner, name = BETWEEN[type(adapter).__name__](adapter)
    write, replace_alone, writer = getattr(owner, name), adapter.replace, threading.current_thread()
    tries = 0

    def change_first() -> None:
        stored = adapter.get(USER, user["id"])
        text = stored.text.replace(stored.document["title"], f"theirs {tries}")
        replace_alone(USER, replace(stored, text=text))

    def overtaken(*args: Any, **options: Any) -> Any:
        nonlocal tries
        if threading.current_thread() is writer:
            tries += 1
            other = threading.Thread(target=change_first)
            other.start()
            other.join()
        return write(*args, **options)

    monkeypatch.setattr(owner, name, overtaken)
    answer = scim("PATCH", f"/Users/{user['id']}", PATCH)

    error_of(answer, 412)
    assert tries == ATTEMPTS
    assert adapter.get(USER, user["id"]).document["title"] == f"theirs {tries}"


@pytest.mark.on("ldap")
def test_a_member_that_others_remove_and_add_is_added_a_bounded_number_of_times(
    scim: ScimClient, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter: Any = scim.app.extensions["scim.storage"]
    member, group = Member(scim.user("ann")["id"], "User"), scim.group("g")
    read, write, writer = adapter._group, adapter._writer.change_members, threading.current_thread()
    tries = 0

    def change_first(*members: list[Member]) -> None:
        adapter.change_members(GROUP, adapter.get(GROUP, group["id"]), *members)

    def overtaken(method: Callable[..., Any], *members: list[Member]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal tries
            if threading.current_thread() is writer:
                tries += method is write
                other = threading.Thread(target=change_first, args=members)
                other.start()
                other.join()
            return method(*args)

        return call

    monkeypatch.setattr(adapter, "_group", overtaken(read, [], [member]))
    monkeypatch.setattr(adapter._writer, "change_members", overtaken(write, [member], []))
    operation = {"op": "add", "path": "members", "value": [{"value": member.resource_id}]}
    answer = scim("PATCH", f"/Groups/{group['id']}", {**PATCH, "Operations": [operation]})

    error_of(answer, 412)
    assert tries == ATTEMPTS


# -- the limit


def losing(tries: list[int], loss: type[StorageError]) -> Callable[[], None]:
    def change() -> None:
        tries.append(1)
        raise loss("late") if loss is not Changed else Changed

    return change


def test_layers_share_one_limit(no_pauses: None) -> None:
    tries: list[int] = []

    with pytest.raises(Changed):
        repeated(lambda: repeated(losing(tries, Changed), Changed), VersionMismatch, Contention)

    assert len(tries) == ATTEMPTS


def test_a_loss_that_only_the_outer_layer_repeats_counts_too(no_pauses: None) -> None:
    tries: list[int] = []
    kinds = [Changed, VersionMismatch]

    def change() -> None:
        tries.append(1)
        raise Changed if kinds[len(tries) % 2] is Changed else VersionMismatch("late")

    with pytest.raises(VersionMismatch):
        repeated(lambda: repeated(change, Changed), VersionMismatch)

    assert len(tries) == ATTEMPTS


def test_another_resource_has_a_limit_of_its_own_and_ends_that_of_the_whole(no_pauses: None) -> None:
    tries: list[int] = []
    wins: list[int] = []

    def sometimes() -> None:
        wins.append(1)
        if len(wins) % 3:
            raise Changed

    def change() -> None:
        for _ in range(ATTEMPTS):
            with own_limit():
                repeated(sometimes, Changed)
        with own_limit():
            repeated(losing(tries, Changed), Changed)

    with pytest.raises(Changed):
        repeated(change, VersionMismatch)

    assert len(wins) == 3 * ATTEMPTS and len(tries) == ATTEMPTS


def test_a_change_ends_when_its_time_is_over(no_pauses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "LONGEST_S", 0.0)
    tries: list[int] = []

    with pytest.raises(Contention):
        repeated(losing(tries, Contention), Contention)

    assert len(tries) == 1
