"""The descending order of userName: without a count of all names where every user has one."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.adapter import Selection, Sort
from storage.index.database import Database
from storage.search import search
from storage.sql.adapter import SqlAdapter
from storage.testing import USER, represent, stored
from tests.storage.sql.conftest import Open, Server
from tests.storage.sql.old_process import OldProcess


def names(adapter: SqlAdapter, descending: bool = True) -> list[str]:
    """Return the ids of the first page in the order of userName, and see that its total is right."""
    path = USER.path("userName")
    assert path is not None
    page = search(adapter, USER, Selection(None, Sort(path, descending), limit=3), represent)
    assert page.total == len(list(adapter.scan(USER)))
    return [resource.id for resource in page.resources]


def counts(adapter: SqlAdapter, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether the first page takes a count of all names."""
    ran: list[str] = []
    rows = Database.rows

    def noted(database: Database, statement: str, params: Any = ()) -> list[Any]:
        ran.append(statement)
        return rows(database, statement, params)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "rows", noted)
        names(adapter)
    assert any("ORDER BY r.value DESC" in statement for statement in ran)
    return any("COUNT(*) FROM scim_attribute" in statement for statement in ran)


def filled(adapter: SqlAdapter) -> SqlAdapter:
    for name in "abcd":
        adapter.create(USER, stored(name, userName=name))
    return adapter


WRITES: dict[str, Callable[[SqlAdapter], object]] = {
    "create": lambda adapter: adapter.create(USER, stored("none", title="T")),
    "create_many": lambda adapter: adapter.create_many(
        USER, [stored("e", userName="e"), stored("none", title="T")]
    ),
    "replace": lambda adapter: (
        adapter.create(USER, stored("none", userName="n")),
        adapter.replace(USER, stored("none", title="T")),
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_user_without_a_name_comes_first(
    server: Server, opened: Open, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_database()
    adapter, other = filled(opened(url)), opened(url)
    assert names(other) == ["d", "c", "b"] and not counts(other, monkeypatch)

    WRITES[write](adapter)

    assert names(other)[:2] == names(adapter)[:2] == ["none", "e" if write == "create_many" else "d"]
    # In each process: those of a later start too.
    other.mend()
    assert counts(other, monkeypatch)
    adapter.replace(USER, stored("none", userName="z"))
    assert names(other)[:2] == ["none", "e" if write == "create_many" else "d"]
    later = opened(url)
    later.mend()
    assert not counts(later, monkeypatch) and not counts(other, monkeypatch)


def test_a_write_that_is_undone_takes_nothing_back(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = filled(opened(server.new_database()))

    with pytest.raises(ZeroDivisionError), adapter.transaction():
        adapter.create(USER, stored("none", title="T"))
        raise ZeroDivisionError

    assert names(adapter) == ["d", "c", "b"] and not counts(adapter, monkeypatch)


@pytest.mark.parametrize("has_nameless", [False, True])
def test_a_store_of_an_earlier_release_is_counted_once(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch, has_nameless: bool
) -> None:
    url = server.new_database()
    before = filled(opened(url))
    if has_nameless:
        before.create(USER, stored("none", title="T"))
    with before.transaction():
        before.state_database.run("UPDATE scim_path SET ready = 1")
    after = opened(url)
    assert counts(after, monkeypatch)

    after.mend()

    assert counts(after, monkeypatch) is has_nameless
    assert names(after) == (["none", "d", "c"] if has_nameless else ["d", "c", "b"])


def test_what_an_earlier_release_writes_is_seen_when_it_is_mended(server: Server, opened: Open) -> None:
    url = server.new_database()
    adapter = filled(opened(url))
    old = OldProcess(url, indexed=None)

    old.replace("a", title="T")
    adapter.mend()

    assert names(adapter) == ["a", "d", "c"]
    old.close()
