"""Orders in which resources without a value come first: the few that lack one are listed."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.adapter import Selection, Sort
from storage.index import lacking as lists_of_lacking
from storage.index.database import Database
from storage.search import search
from storage.sql.adapter import SqlAdapter
from storage.testing import USER, represent, stored
from tests.storage.sql.conftest import Open, Server
from tests.storage.sql.old_process import OldProcess


def names(adapter: SqlAdapter, order: str = "-userName", offset: int = 0, limit: int = 3) -> list[str]:
    """Return the ids of a page in an order, and see that its total is right."""
    path = USER.path(order.lstrip("-"))
    assert path is not None
    selection = Selection(None, Sort(path, order.startswith("-")), offset=offset, limit=limit)
    page = search(adapter, USER, selection, represent)
    assert page.total == len(list(adapter.scan(USER)))
    return [resource.id for resource in page.resources]


def is_listed(adapter: SqlAdapter, monkeypatch: pytest.MonkeyPatch, order: str = "-userName") -> bool:
    """Return whether the first page comes from a list, without a look at all resources."""
    ran: list[str] = []
    rows = Database.rows

    def noted(database: Database, statement: str, params: Any = ()) -> list[Any]:
        ran.append(statement)
        return rows(database, statement, params)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "rows", noted)
        names(adapter, order)
    assert any("ORDER BY r.rid DESC" in statement for statement in ran)
    assert not any("COUNT(*) FROM scim_attribute" in statement for statement in ran)
    return any("FROM scim_lacking r" in statement for statement in ran)


def filled(adapter: SqlAdapter) -> SqlAdapter:
    for name in "abcd":
        adapter.create(USER, stored(name, userName=name, displayName=name))
    return adapter


def pairs(adapter: SqlAdapter, rows: str) -> set[tuple[str, str]]:
    """Return the path and the id that each of these rows, of paths that are listed, has."""
    return set(map(tuple, adapter.state_database.rows(f"SELECT p.path, r.id FROM {rows} AND p.ready = 2")))


def lists(adapter: SqlAdapter) -> set[tuple[str, str]]:
    """Return the path and the id of each resource that is listed."""
    return pairs(
        adapter,
        "scim_lacking a JOIN scim_path p ON p.number = a.path JOIN scim_resource r ON r.rid = a.rid "
        "WHERE r.type = p.type",
    )


def lacking(adapter: SqlAdapter) -> set[tuple[str, str]]:
    """Return the path and the id of each resource that the lists should have."""
    return pairs(
        adapter,
        "scim_path p JOIN scim_resource r ON r.type = p.type WHERE NOT EXISTS (SELECT 1 FROM "
        "scim_attribute s WHERE s.rid = r.rid AND s.path = p.number AND s.element = 0)",
    )


def bulk(adapter: SqlAdapter) -> None:
    with adapter.transaction(), adapter.pipelined():
        adapter.create(USER, stored("e", userName="e"))
        adapter.create(USER, stored("none", title="T"))


WRITES: dict[str, Callable[[SqlAdapter], object]] = {
    "create": lambda adapter: adapter.create(USER, stored("none", title="T")),
    "create_many": lambda adapter: adapter.create_many(
        USER, [stored("e", userName="e"), stored("none", title="T")]
    ),
    "bulk": bulk,
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
    assert names(other) == ["d", "c", "b"] and is_listed(other, monkeypatch)

    WRITES[write](adapter)

    second = "e" if write in ("create_many", "bulk") else "d"
    assert names(other)[:2] == names(adapter)[:2] == ["none", second]
    assert names(other, offset=1)[0] == second
    assert names(other, "userName", limit=9)[-1] == "none"
    assert is_listed(other, monkeypatch)
    assert lists(adapter) == lacking(adapter) >= {("userName", "none"), ("displayName", "none")}
    adapter.replace(USER, stored("none", userName="z"))
    assert names(other)[:2] == ["none", second]
    assert lists(adapter) == lacking(adapter) >= {("displayName", "none")}
    adapter.delete(USER, "none")
    assert names(other)[0] == second
    assert lists(adapter) == lacking(adapter)


def test_the_place_in_the_order_is_that_of_the_first_or_primary_element(server: Server, opened: Open) -> None:
    adapter = filled(opened(server.new_database()))
    adapter.create(USER, stored("one", userName="one", emails=[{"value": "m@x", "type": "work"}]))
    adapter.create(USER, stored("two", userName="two", emails=[{"type": "work"}, {"value": "z@x"}]))

    assert names(adapter, "-emails.value", limit=9)[-1] == "one"
    assert ("emails.value", "two") in lists(adapter) and lists(adapter) == lacking(adapter)

    adapter.replace(USER, stored("two", userName="two", emails=[{"value": "a@x"}]))

    assert names(adapter, "-emails.value", limit=9)[-2:] == ["one", "two"]
    assert lists(adapter) == lacking(adapter)


def test_a_write_that_is_undone_changes_no_list(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_of_lacking, "_NOTED", 1)
    monkeypatch.setattr(lists_of_lacking, "_FEW", 0)
    adapter = filled(opened(server.new_database()))

    with pytest.raises(ZeroDivisionError), adapter.transaction():
        adapter.create(USER, stored("none", title="T"))
        raise ZeroDivisionError

    assert names(adapter) == ["d", "c", "b"] and is_listed(adapter, monkeypatch)
    monkeypatch.undo()
    adapter.create(USER, stored("none", title="T"))
    assert names(adapter)[0] == "none" and lists(adapter) == lacking(adapter)


def test_a_list_that_gets_too_long_ends(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_database()
    adapter, other = opened(url), opened(url)

    for number in range(240):
        one = adapter if number % 2 else other
        one.create(USER, stored(f"id{number}", displayName="x" * (number % 50 == 0)))

    assert not is_listed(adapter, monkeypatch)
    assert names(other) == ["id239", "id238", "id237"]
    adapter.create_many(USER, [stored(f"late{number}", displayName="n") for number in range(120)])
    other.replace(USER, stored("id7", userName="first"))
    assert names(adapter, "-userName", offset=358) == ["id0", "id7"]
    # Enough of them have names now, and nobody else is written by the old rule.
    for number in range(240):
        adapter.replace(USER, stored(f"id{number}", userName=f"u{number}", displayName="d"))
    adapter.create_many(USER, [stored(f"n{number}", userName=f"n{number}") for number in range(40)])
    for number in range(100):
        other.delete(USER, f"late{number}")

    later = opened(url)
    later.mend()

    assert is_listed(later, monkeypatch) and is_listed(other, monkeypatch)
    assert lists(later) == lacking(later) >= {("userName", f"late{number}") for number in range(100, 120)}
    # Each writer lists by the new generation.
    other.create(USER, stored("new", title="T"))
    adapter.replace(USER, stored("id1", title="T"))
    assert lists(later) == lacking(later) >= {("userName", "new"), ("userName", "id1")}
    assert names(later)[0] == "new"


@pytest.mark.parametrize("has_nameless", [False, True])
def test_a_store_of_an_earlier_release_is_looked_through_once(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch, has_nameless: bool
) -> None:
    url = server.new_database()
    before = filled(opened(url))
    if has_nameless:
        before.create(USER, stored("none", title="T"))
    before.close()
    # As version 6 was.
    server.execute(
        url,
        "DROP TABLE scim_lacking",
        "UPDATE scim_layout SET version = 6",
        "UPDATE scim_path SET ready = 1",
    )
    after = opened(url)
    assert not is_listed(after, monkeypatch)

    after.mend()

    assert is_listed(after, monkeypatch)
    assert names(after) == (["none", "d", "c"] if has_nameless else ["d", "c", "b"])
    assert lists(after) == lacking(after)


def test_what_an_earlier_release_writes_is_seen_when_it_is_mended(server: Server, opened: Open) -> None:
    url = server.new_database()
    adapter = filled(opened(url))
    adapter.create(USER, stored("none", title="T"))
    old = OldProcess(url, indexed=None)

    old.replace("a", title="T")
    old.replace("none", userName="none")
    adapter.mend()

    assert names(adapter) == ["a", "none", "d"]
    assert lists(adapter) == lacking(adapter)
    old.close()
