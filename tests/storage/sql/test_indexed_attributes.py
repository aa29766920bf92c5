"""INDEXED_ATTRIBUTES: the paths with rows by default, those that a store keeps, and the end of other rows."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.operations import ENTERPRISE, user
from scim_filter import parse_filter, resolve
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.index import mending
from storage.index.generation import generation_of
from storage.index.layout import TypeLayout
from storage.index_paths import USUAL
from storage.sql.adapter import SqlAdapter
from storage.testing import USER, stored
from storage.testing.differential import DifferentialContract
from storage.testing.resources import ids_matching
from tests.storage.other_settings import ALL, TITLE
from tests.storage.sql.conftest import Open, Server

NAMES = ("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix")
# Of these extensions, everything is indexed.
OTHERS = ("urn:mace:", "urn:temporaryNamespace:")
BY_DEFAULT = {
    *("meta.created", "meta.lastModified", "externalId", "userName", "displayName", "active"),
    *(f"name.{name}" for name in NAMES),
    *("emails.value", "emails.type", f"{ENTERPRISE}:employeeNumber", ENTERPRISE),
}


class TestByDefault(DifferentialContract):
    """Random selections, most of which name attributes without an index."""

    omitted = "\0"

    @pytest.fixture
    def adapter(self, server: Server, opened: Open) -> Iterator[StorageAdapter]:
        yield opened(server.new_database())


def paths(adapter: SqlAdapter) -> set[str]:
    """Return the paths of users that have rows, those of RFC 7643."""
    rows = adapter.state_database.rows(
        "SELECT p.path FROM scim_path p JOIN scim_type t ON t.number = p.type WHERE t.name = 'User'"
    )
    return {path for (path,) in rows if not path.startswith(OTHERS)}


def count(adapter: SqlAdapter, table: str) -> int:
    return int(adapter.state_database.row(f"SELECT COUNT(*) FROM {table}")[0])


def one(number: int) -> StoredResource:
    document = {name: value for name, value in user(number).items() if name != "schemas"}
    return stored(f"id{number}", **document)


def test_a_new_store_indexes_the_attributes_that_clients_filter_by(server: Server, opened: Open) -> None:
    adapter = opened(server.new_database())

    adapter.create(USER, one(1))

    assert paths(adapter) == BY_DEFAULT
    assert count(adapter, "scim_attribute") == 14


def test_a_store_keeps_the_rows_that_it_has(server: Server, opened: Open) -> None:
    url = server.new_database()
    before = opened(url, indexed_attributes=ALL)
    before.create(USER, one(1))
    generation = generation_of(before.state_database)

    after = opened(url)
    after.create(USER, one(2))

    assert paths(after) == paths(before) > BY_DEFAULT
    assert generation_of(after.state_database) == generation
    assert count(after, "scim_attribute") == 2 * 33


def test_a_store_that_indexes_the_values_of_an_extension_finds_it_by_these(
    server: Server, opened: Open
) -> None:
    """As one of an earlier release: no row says of any resource that it has the extension."""
    url = server.new_database()
    before = opened(url, indexed_attributes=ALL)
    database = before.state_database
    with database.transaction():
        database.run("DELETE FROM scim_path WHERE path = ?", (ENTERPRISE,))
    for settings in ({}, {"indexed_attributes": ALL}):
        after = opened(url, **settings)
        assert ENTERPRISE not in paths(after)
    after.create(USER, one(1))
    after.create(USER, stored("bare", userName="bare"))
    after.create(USER, stored("empty", userName="empty", **{ENTERPRISE: {"department": ""}}))

    assert ids_matching(after, USER, f"{ENTERPRISE} pr") == ["id1"]


def test_an_extension_is_found_by_one_row_for_each_resource(server: Server, opened: Open) -> None:
    adapter = opened(server.new_database())
    adapter.create(USER, one(1))
    adapter.create(USER, stored("bare", userName="bare"))
    # The number of the employee alone has a row of its own.
    adapter.create(USER, stored("other", userName="other", **{ENTERPRISE: {"department": "D"}}))
    adapter.create(USER, stored("empty", userName="empty", **{ENTERPRISE: {"manager": {"value": ""}}}))
    pages = adapter._pages[USER.name]

    native, residual = pages._compiler.split(resolve(parse_filter(f"{ENTERPRISE} pr"), USER))

    assert native is not None and native.distinct and residual is None
    assert ids_matching(adapter, USER, f"{ENTERPRISE} pr") == ["id1", "other"]
    adapter.replace(USER, stored("other", userName="other", **{ENTERPRISE: {"department": ""}}))
    assert ids_matching(adapter, USER, f"{ENTERPRISE} pr") == ["id1"]


@pytest.mark.parametrize(
    "text",
    [
        'emails[value eq "a@x" and primary eq true]',
        'emails[primary eq true and value eq "a@x" and not (type eq "home")]',
        'emails[value eq "a@x" and (type eq "work" or display eq "A")]',
        'title eq "T" and userName sw "a"',
    ],
)
def test_a_part_with_an_index_spares_the_other_resources(server: Server, opened: Open, text: str) -> None:
    adapter = opened(server.new_database())
    for name in "abc":
        emails = [{"value": f"{name}@x", "type": "work", "primary": True}]
        adapter.create(USER, stored(name, userName=name, title="T", emails=emails))

    found = adapter.candidates(USER, Selection(resolve(parse_filter(text), USER)))

    assert [resource.id for resource in found.resources] == ["a"]
    assert ids_matching(adapter, USER, text) == ["a"]


def test_default_names_attributes_beside_others(server: Server, opened: Open) -> None:
    adapter = opened(server.new_database(), indexed_attributes=frozenset({USUAL, "title"}))

    assert paths(adapter) == BY_DEFAULT | {"title"}


def test_rows_of_other_paths_are_removed_in_parts(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "_PART", 4)
    url = server.new_database()
    before = opened(url, indexed_attributes=ALL)
    before.create_many(USER, [one(number) for number in range(10)])
    rows, retired = count(before, "scim_attribute"), len(paths(before) - BY_DEFAULT)

    after = opened(url, indexed_attributes=frozenset({USUAL}))

    # The start marks them.
    assert count(after, "scim_attribute") == rows == 330
    assert paths(after) == BY_DEFAULT
    assert ids_matching(after, USER, 'title eq "Tour Guide"') == [f"id{number}" for number in range(10)]
    after.mend()
    # At most 4 rows of one value, and 4 of others, at a time.
    assert rows - 2 * 5 * 4 <= count(after, "scim_attribute") < rows
    for _ in range(retired):
        after.mend()
    assert count(after, "scim_attribute") == 10 * 14
    assert after.state_database.row("SELECT path FROM scim_path WHERE type = 0") is None
    # Numbers come again, rows do not.
    last = opened(url, indexed_attributes=frozenset({USUAL, "title", "nickName"}))
    assert count(last, "scim_attribute") == 10 * 15
    assert ids_matching(last, USER, 'title eq "tour guide" and nickName pr') == []


def test_a_path_that_comes_back_has_rows_of_its_own(server: Server, opened: Open) -> None:
    """Before the rows are removed that it had."""
    url = server.new_database()
    opened(url, indexed_attributes=TITLE).create(USER, stored("a", userName="a", title="Old"))
    opened(url, indexed_attributes=frozenset()).replace(USER, stored("a", userName="a", title="New"))
    back = opened(url, indexed_attributes=TITLE)

    assert ids_matching(back, USER, 'title eq "old"') == []
    assert ids_matching(back, USER, 'title eq "new"') == ["a"]
    back.mend()
    assert ids_matching(back, USER, "title pr") == ["a"]
    values = back.state_database.rows("SELECT value FROM scim_attribute WHERE value IN ('old', 'new')")
    assert list(values) == [("new",)]


def test_a_taken_name_costs_no_index_rows(server: Server, opened: Open) -> None:
    adapter = opened(server.new_database())
    adapter.create(USER, one(1))
    database = adapter.state_database
    numbers = dict(database.rows("SELECT path, number FROM scim_path WHERE type = 1"))
    layout = TypeLayout(USER, 1, database.dialect.quoted("Users"), numbers)
    index = sorted(layout.index_rows(one(1)))
    unique = sorted(layout.unique_rows(index))
    row: tuple[Any, ...] = (1, "other", 1, "", "", None, None, 0, 1, None)

    with database.transaction():
        whole = database.dialect.insertion(
            layout.table, generation_of(database), row, "{}", unique, index, True
        )
        if whole is None:
            pytest.skip("takes one statement for each table, and stops behind the first")
        (_, free), = database.run(*whole).fetchall()
        written = count(adapter, "scim_attribute")

    assert free == [] and written == 14
