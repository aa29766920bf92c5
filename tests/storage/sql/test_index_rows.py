"""A resource that was changed has the same rows as a new one: only the attributes that differ are written."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from schema.attribute import Attribute
from storage.adapter import StoredResource
from storage.index.layout import IndexRow, TypeLayout
from storage.index_paths import numbered_paths
from storage.sql.adapter import SqlAdapter
from storage.testing import USER
from tests.backends import open_backend
from tests.servers import MariadbServer, PostgresqlServer, SqliteFolder
from tests.storage.other_settings import ALL

Open = Callable[..., SqlAdapter]
Rows = Callable[[StoredResource, StoredResource], tuple[set[IndexRow], set[IndexRow]]]

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
LONG = "long " * 60
WORDS = ["", "a", "A", "b", "\u00df", LONG + "1", LONG + "2", (LONG + "1").upper()]
VALUES: dict[str, list[Any]] = {
    "boolean": [True, False],
    "integer": [0, 1, -5],
    "decimal": [0, 1.5, -2],
    "dateTime": ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-02T00:00:00.5Z"],
    "binary": ["QUJD", "REVG"],
}
# What other programs may have stored, of which some equal each other in Python.
ODD: list[Any] = [None, True, 1, 1.0, 0, False, "1", [], {}, ["a", None]]
SOME = frozenset({"title", "emails.value", "roles", f"{ENTERPRISE}:manager"})
INDEXED = [ALL, None, SOME, frozenset[str]()]


def numbers() -> dict[str, int]:
    return {text: number for number, text in enumerate(numbered_paths(USER, ALL), 1)}


def layout(indexed: frozenset[str] | None = ALL) -> TypeLayout:
    chosen = numbered_paths(USER, indexed)
    return TypeLayout(USER, 1, "Users", {text: numbers()[text] for text in chosen})


def value_of(attribute: Attribute, chance: random.Random, whole: bool = False) -> Any:
    if attribute.multi_valued and not whole:
        return [value_of(attribute, chance, True) for _ in range(chance.randrange(4))]
    if chance.random() < 0.05:
        return chance.choice(ODD)
    if attribute.is_complex:
        return {sub.name: value_of(sub, chance) for sub in attribute.sub_attributes if chance.random() < 0.6}
    return chance.choice(VALUES.get(attribute.type, WORDS))


def filled(holder: dict[str, Any], attributes: tuple[Attribute, ...], chance: random.Random) -> None:
    """Give some attributes another value, or none, and let the elements of others change their places."""
    for attribute in attributes:
        name, kind = attribute.name, chance.random()
        if kind < 0.25:
            holder[name] = value_of(attribute, chance)
        elif kind < 0.35:
            holder.pop(name, None)
        elif kind < 0.5 and isinstance(holder.get(name), list):
            chance.shuffle(holder[name])
            del holder[name][:1]


def states(seed: int, number: int) -> Iterator[tuple[StoredResource, StoredResource]]:
    """Yield a resource before and after a change, the same ones for one `seed`."""
    chance = random.Random(seed)
    before = StoredResource("1", '{"id": "1"}', created="2026-01-01T00:00:00.000Z")
    for _ in range(number):
        document = orjson.loads(before.text)
        filled(document, tuple(a for a in USER.attributes if a.name != "id"), chance)
        for extension in USER.extensions:
            kind = chance.random()
            if kind < 0.1:
                document[extension.schema.id] = orjson.loads(orjson.dumps(chance.choice(ODD)))
            elif kind < 0.6:
                held = document.get(extension.schema.id)
                holder = document[extension.schema.id] = held if isinstance(held, dict) else {}
                filled(holder, extension.schema.attributes, chance)
        after = StoredResource(
            "1",
            orjson.dumps(document).decode(),
            created=before.created,
            last_modified=f"2026-01-01T00:00:0{chance.randrange(3)}.000Z",
        )
        yield before, after
        before = after


def is_complete(one: TypeLayout, before: StoredResource, after: StoredResource, rows: Rows) -> bool:
    """Return whether the changes make the rows of `after` of those of `before`, and write none twice."""
    old, new = rows(before, after)
    had, wanted = one.index_rows(before), one.index_rows(after)
    unique = (one.unique_rows(had) - one.unique_rows(old)) | one.unique_rows(new)
    return old <= had and (had - old) | new == wanted and unique == one.unique_rows(wanted)


@pytest.mark.parametrize("indexed", INDEXED)
def test_the_rows_of_changed_attributes_are_all_that_changes(indexed: frozenset[str] | None) -> None:
    one = layout(indexed)

    for before, after in states(1, 1000):
        assert is_complete(one, before, after, one.changed_rows), (before.text, after.text)


def test_a_changed_path_that_is_forgotten_is_noticed() -> None:
    one, pairs = layout(), list(states(2, 300))

    def forgetting(number: int) -> Rows:
        def rows(before: StoredResource, after: StoredResource) -> tuple[set[IndexRow], set[IndexRow]]:
            old, new = one.changed_rows(before, after)
            return {row for row in old if row[0] != number}, {row for row in new if row[0] != number}

        return rows

    # Nothing changes when a resource was created.
    for number in {*numbers().values()} - {numbers()["meta.created"]}:
        rows = forgetting(number)
        assert not all(is_complete(one, before, after, rows) for before, after in pairs), number


def test_an_attribute_that_stays_as_it_is_costs_no_rows() -> None:
    text = orjson.dumps({"id": "1", "userName": "a", "emails": [{"value": "a"}], "title": "x"}).decode()
    before = StoredResource("1", text)
    after = StoredResource("1", text.replace('"x"', '"y"'))

    old, new = layout().changed_rows(before, after)

    title = numbers()["title"]
    assert (old, new) == ({(title, "x", 0, None)}, {(title, "y", 0, None)})


@pytest.mark.parametrize("indexed", INDEXED)
def test_the_unique_rows_of_a_resource_are_found_without_the_others(indexed: frozenset[str] | None) -> None:
    one, resources = layout(indexed), [after for _, after in states(3, 300)]

    found = [(one.unique_rows_of(each), one.unique_rows(one.index_rows(each))) for each in resources]

    assert all(alone == among_all for alone, among_all in found)
    assert any(alone for alone, _ in found)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path
) -> PostgresqlServer | MariadbServer | SqliteFolder:
    if request.param not in (request.config.getoption("--backend") or (request.param,)):
        pytest.skip("runs on other backends only")
    if request.param == "sqlite":
        return SqliteFolder(tmp_path)
    found: PostgresqlServer | MariadbServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def opened() -> Iterator[Open]:
    adapters: list[SqlAdapter] = []

    def start(url: str, indexed: frozenset[str] | None = None) -> SqlAdapter:
        adapter = open_backend("sql", database_url=url, indexed_attributes=indexed)
        assert isinstance(adapter, SqlAdapter)
        adapters.append(adapter)
        adapter.prepare([USER])
        return adapter

    yield start
    for adapter in adapters:
        adapter.close()


def rows_of(adapter: SqlAdapter) -> list[list[Any]]:
    """Return what is in the side tables, paths by name; there is one resource."""
    database = adapter.state_database
    statements = (
        "SELECT p.path, a.value, a.element, a.long_value FROM scim_attribute a "
        "JOIN scim_path p ON p.number = a.path",
        "SELECT p.path, u.value, 0, '' FROM scim_unique u JOIN scim_path p ON p.number = u.path",
    )
    return [sorted(database.rows(statement), key=repr) for statement in statements]


@pytest.mark.parametrize("earlier", INDEXED)
def test_a_store_that_was_changed_holds_what_a_new_one_does(
    server: PostgresqlServer | MariadbServer | SqliteFolder, opened: Open, earlier: frozenset[str] | None
) -> None:
    """Also where the resource was written while fewer attributes were indexed."""
    url = server.new_database()
    first, *pairs = states(3, 40)
    opened(url, earlier).create(USER, first[1])
    changed = opened(url, ALL)
    other = server.new_database()
    opened(other, earlier)
    fresh = opened(other, ALL)

    for _, after in pairs:
        changed.replace(USER, after)
        fresh.create(USER, after)

        assert rows_of(changed) == rows_of(fresh), after.text
        fresh.delete(USER, "1")
        assert rows_of(fresh) == [[], []]
