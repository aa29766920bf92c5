"""Writes of an import: rows of the change log that agree with what is stored, and no events."""

from collections.abc import Callable

import pytest

from app.protocol.context import system
from schema import urns
from storage import attempts
from storage.adapter import Member
from storage.errors import Contention, UniquenessConflict, VersionMismatch
from tests.protocol.committing import STORAGES, WITHOUT_TRANSACTIONS, Store, ahead_of, failing, make_store
from tests.protocol.samples import GROUP, USER, stored

__all__ = ["make_store"]
Make = Callable[..., Store]
ANN, BOB = (stored({"schemas": [urns.USER], "id": i, "userName": i}, i) for i in ("ann", "bob"))
TEAM = stored({"schemas": [urns.GROUP], "id": "team", "displayName": "Team"}, "team")
IMPORT = system("import")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_LONGEST_PAUSE_S", 0)


@pytest.fixture(params=STORAGES)
def store(request: pytest.FixtureRequest, make_store: Make) -> Store:
    return make_store(request.param)


def ann_alone() -> tuple[list[Member], list[str]]:
    """Return the members that are there, and the ids that are missing."""
    return [Member("ann", "User")], ["nobody"]


def filled(store: Store) -> Store:
    store.imports.create_many(IMPORT, USER, [ANN, BOB])
    store.imports.create_one(IMPORT, GROUP, TEAM)
    store.imports.add_members(IMPORT, GROUP, "team", ann_alone)
    return store


def test_each_write_is_a_row_and_no_event(store: Store) -> None:
    filled(store)

    assert store.names(TEAM) == ["ann"]
    assert store.changes() == [
        ("create", "ann", ["userName"]),
        ("create", "bob", ["userName"]),
        ("create", "team", ["displayName"]),
        ("patch", "team", ["members"]),
    ]
    assert store.events() == []
    names = [row.txn for row in store.rows()]
    assert all(names) and len(set(names)) == 3 and {row.origin for row in store.rows()} == {"import"}


def test_nothing_is_a_row_that_changes_nothing(store: Store) -> None:
    store.imports.create_many(IMPORT, USER, [])
    missing = filled(store).imports.add_members(IMPORT, GROUP, "team", ann_alone)

    assert missing == ["nobody"]
    assert len(store.changes()) == 4


def test_what_is_refused_is_no_row(store: Store) -> None:
    filled(store)

    with pytest.raises(UniquenessConflict):
        store.imports.create_many(IMPORT, USER, [stored(ANN.document, "eve")])
    with pytest.raises(UniquenessConflict):
        store.imports.create_one(IMPORT, USER, stored(ANN.document, "eve"))

    assert len(store.changes()) == 4


@pytest.mark.parametrize("problem", [VersionMismatch("late"), Contention("undone")])
@pytest.mark.parametrize("method", ["create_many", "create", "change_members"])
def test_a_write_that_lost_a_race_is_made_again(store: Store, method: str, problem: Exception) -> None:
    ahead_of(store.adapter, method, failing(problem))

    filled(store)

    assert len(store.changes()) == 4 and store.names(TEAM) == ["ann"]


@pytest.mark.parametrize("kind", STORAGES)
def test_rows_that_cannot_be_kept_undo_their_resources_where_that_can_be(
    make_store: Make, kind: str
) -> None:
    store = make_store(kind)
    for create in (
        lambda: store.imports.create_many(IMPORT, USER, [ANN]),
        lambda: store.imports.create_one(IMPORT, USER, BOB),
    ):
        ahead_of(store.log, "append_many", failing(ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            create()

    assert store.changes() == []
    assert len(list(store.adapter.scan(USER))) == (2 if kind in WITHOUT_TRANSACTIONS else 0)


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("is_on", [True, False])
def test_without_history_there_are_no_rows(make_store: Make, kind: str, is_on: bool) -> None:
    store = filled(make_store(kind, is_on=is_on, keeps_history=False))

    assert store.changes() == [] and store.names(TEAM) == ["ann"]
    assert store.imports.assigns_ids is False
