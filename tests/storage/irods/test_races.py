"""Several writers at once, in threads and in processes: one wins, and nothing is lost."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from irods.meta import iRODSMeta
from irods.models import User

from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import StorageError, UniquenessConflict, VersionMismatch
from storage.testing import GROUP, USER, change_members, members_of
from tests.storage.irods.store import Store, changed, create, found, values

Work = Callable[[StorageAdapter, int], object]


def outcomes(store: Store, work: Work, count: int = 8) -> Counter[str]:
    """Return what became of `count` calls at the same time: "done" or the name of the error."""

    def one(number: int) -> str:
        try:
            work(store.adapter, number)
            return "done"
        except StorageError as exc:
            return type(exc).__name__

    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(one, range(count)))


@pytest.mark.parametrize("attempt", range(5))
def test_of_parallel_creates_with_one_external_id_one_wins(store: Store, attempt: int) -> None:
    result = outcomes(store, lambda a, n: create(a, USER, userName=f"u{n}", externalId="same"))

    assert result == {"done": 1, "UniquenessConflict": 7}
    assert len(list(store.adapter.scan(USER))) == 1
    assert len(store.names()) == 1


@pytest.mark.parametrize("attempt", range(5))
def test_of_parallel_renames_to_one_name_one_wins(store: Store, attempt: int) -> None:
    users = [create(store.adapter, USER, userName=f"u{n}") for n in range(8)]

    result = outcomes(store, lambda a, n: a.replace(USER, changed(users[n], userName="same")))

    assert result == {"done": 1, "UniquenessConflict": 7}
    assert len(found(store.adapter, USER, 'userName eq "same"')) == 1
    assert sum(values(store.metadata(u.id), "scim.key.userName") == ["same"] for u in users) == 1


@pytest.mark.parametrize("attempt", range(5))
def test_a_rename_and_creates_with_one_name_leave_one_owner(store: Store, attempt: int) -> None:
    user = create(store.adapter, USER, userName="u")

    def work(adapter: StorageAdapter, number: int) -> StoredResource:
        if number:
            return create(adapter, USER, userName="same")
        return adapter.replace(USER, changed(user, userName="same"))

    assert outcomes(store, work)["done"] == 1
    assert len(found(store.adapter, USER, 'userName eq "same"')) == 1


def test_of_parallel_changes_of_one_version_one_wins(store: Store) -> None:
    user = create(store.adapter, USER, userName="a")

    for _ in range(5):

        def work(adapter: StorageAdapter, number: int, before: StoredResource = user) -> StoredResource:
            return adapter.replace(USER, changed(before, userName="a", title=str(number)), before.version)

        assert outcomes(store, work) == {"done": 1, "VersionMismatch": 7}
        user = store.adapter.get(USER, user.id)
    assert user.version.startswith("6.")


def test_unconditional_changes_all_take_effect_one_after_the_other(store: Store) -> None:
    user = create(store.adapter, USER, userName="a")

    assert outcomes(store, lambda a, n: a.replace(USER, changed(user, userName="a", title=str(n))), 4) == {
        "done": 4
    }
    assert store.adapter.get(USER, user.id).version.startswith("5.")


def test_of_parallel_take_overs_of_a_foreign_account_one_wins(store: Store) -> None:
    with store.session() as session:
        number = str(session.users.create("carol", "rodsuser").id)
    before = store.adapter.get(USER, number)

    def work(adapter: StorageAdapter, n: int) -> StoredResource:
        return adapter.replace(USER, changed(before, userName="carol", title=str(n)), before.version)

    assert outcomes(store, work) == {"done": 1, "VersionMismatch": 7}
    assert len(values(store.metadata(number), "scim.version")) == 1


def test_a_change_and_a_removal_do_not_both_win(store: Store) -> None:
    for _ in range(5):
        user = create(store.adapter, USER, userName="a")

        def work(adapter: StorageAdapter, number: int, before: StoredResource = user) -> Any:
            if number % 2:
                return adapter.delete(USER, before.id, before.version)
            return adapter.replace(USER, changed(before, userName="a", title="t"), before.version)

        assert outcomes(store, work)["done"] == 1
        for user_id in found(store.adapter, USER, "id pr"):
            store.adapter.delete(USER, user_id)


def test_members_that_join_at_the_same_time_are_all_there(store: Store) -> None:
    group = create(store.adapter, GROUP, displayName="g")
    users = [create(store.adapter, USER, userName=f"u{n}") for n in range(8)]

    outcomes(store, lambda a, n: change_members(a, group.id, [Member(users[n].id, "User")], ()))

    assert [m.resource_id for m in members_of(store.adapter, group.id)] == [u.id for u in users]


def process(environ: dict[str, str], names: list[str], results: Any) -> None:
    """Create users in a process of its own and tell which ones."""
    from app.configuration.settings import Settings
    from storage.registry import open_storage
    from storage.testing import REGISTRY

    adapter = open_storage(*Settings.from_env(environ).backend)
    adapter.prepare(REGISTRY.resource_types)
    done = []
    for name in names:
        try:
            create(adapter, USER, userName=name, externalId=f"x-{name}")
            done.append(name)
        except UniquenessConflict:
            pass
    results.put(done)


def test_processes_do_not_create_a_name_twice(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    names = [f"u{number}" for number in range(15)]
    processes = [
        context.Process(target=process, args=(store.environ, names, results)) for _ in range(3)
    ]
    for one in processes:
        one.start()

    done = [name for _ in processes for name in results.get(timeout=60)]

    for one in processes:
        one.join()
    assert sorted(done) == sorted(names)
    assert store.names() == set(names)


def test_versions_are_not_mixed_up_when_a_token_comes_back_too_late(store: Store) -> None:
    adapter = store.adapter
    user = create(adapter, USER, userName="a")
    after = adapter.replace(USER, changed(user, userName="a", title="new"), user.version)

    with pytest.raises(VersionMismatch):
        adapter.replace(USER, changed(user, userName="a", title="late"), user.version)
    assert adapter.get(USER, user.id).version == after.version


@pytest.mark.parametrize("age_s", [0, 3600])
def test_a_claim_that_a_release_before_stored_counts_until_it_is_old(store: Store, age_s: int) -> None:
    other = create(store.adapter, USER, userName="other")
    user = create(store.adapter, USER, userName="a")
    claim = ("scim.key.userName", "same", f"claim:{(time.time() - age_s) * 1000:.0f}:0123456789abcdef")
    with store.session() as session:
        session.metadata.add(User, store.account_of(other.id), iRODSMeta(*claim))

    expected = {"done": 1} if age_s else {"UniquenessConflict": 1}
    assert outcomes(store, lambda a, n: create(a, USER, userName="same"), 1) == expected
    # Now the new user has the value, or the claim of the older account goes first.
    result = outcomes(store, lambda a, n: a.replace(USER, changed(user, userName="same")), 1)
    assert result == {"UniquenessConflict": 1}
    assert (claim in store.metadata(other.id)) is not bool(age_s)
