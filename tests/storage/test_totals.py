"""A page and its total are of one instant, whoever writes meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Page, Position, Selection, Sort, StorageAdapter
from storage.index.database import Database
from storage.index_keys import place_of
from storage.search import fitting_total, search
from storage.testing import REGISTRY, USER, represent, stored
from tests.backends import open_backend


@pytest.fixture(params=["sqlite", "files", "postgresql", "mariadb"])
def open_adapter(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], StorageAdapter]]:
    """Return a function that opens the same empty store again and again."""
    options: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path}/scim.db"}
    if request.param == "files":
        options = {"data_path": tmp_path / "data"}
    elif request.param != "sqlite":
        options["database_url"] = request.getfixturevalue(request.param).new_database()
    kind, opened = "files" if request.param == "files" else "sql", []

    def make() -> StorageAdapter:
        opened.append(open_backend(kind, **options))
        opened[-1].prepare(REGISTRY.resource_types)
        return opened[-1]

    yield make
    for adapter in opened:
        adapter.close()


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that has something done behind each statement that reads."""
    read = Database.rows

    def install(work: Callable[[], object]) -> None:
        def rows(database: Database, statement: str, params: Any = ()) -> list[Any]:
            found = read(database, statement, params)
            monkeypatch.setattr(Database, "rows", read)
            work()
            monkeypatch.setattr(Database, "rows", rows)
            return found

        monkeypatch.setattr(Database, "rows", rows)

    return install


BY_NAME = Sort(USER.path("userName"))  # type: ignore[arg-type]
BY_TITLE = Sort(USER.path("title"))  # type: ignore[arg-type]
SELECTIONS = [
    Selection(limit=0),
    Selection(limit=1),
    Selection(limit=2, offset=9),
    Selection(None, BY_NAME, limit=1),
    Selection(None, BY_TITLE, limit=4),
    Selection(None, BY_TITLE, offset=7, limit=4),
    Selection(None, limit=1, after=Position(place_of(2))),
]


@pytest.mark.parametrize("text", ["", 'not (title eq "t")', 'title ne "t"', 'userName sw "u"'])
@pytest.mark.parametrize("number", range(len(SELECTIONS)))
def test_a_total_is_that_of_the_instant_of_its_page(
    open_adapter: Callable[[], StorageAdapter],
    between: Callable[[Callable[[], object]], None],
    text: str,
    number: int,
) -> None:
    adapter, other = open_adapter(), open_adapter()
    for n in range(4):
        adapter.create(USER, stored(f"u{n}", userName=f"u{n}", **({"title": "t"} if n == 3 else {})))
    selection = replace(SELECTIONS[number], filter=resolve(parse_filter(text), USER) if text else None)
    instants = [_shown(search(adapter, USER, selection, represent))]
    names = (f"u{n}" for n in count(10))

    def come() -> None:
        for _ in range(3):
            name = next(names)
            other.create(USER, stored(name, userName=name, title="t"))
        instants.append(_shown(search(other, USER, selection, represent)))

    between(come)

    assert _shown(search(adapter, USER, selection, represent)) in instants


def _shown(page: Page) -> tuple[int, list[str]]:
    return page.total, [resource.id for resource in page.resources]


@pytest.mark.parametrize(
    ("found", "counted", "selection", "total"),
    [
        (2, 9, Selection(limit=2), 9),
        (2, 1, Selection(limit=2), 2),
        (2, 3, Selection(offset=4, limit=2), 6),
        (0, 9, Selection(offset=4, limit=2), 4),
        (0, 3, Selection(offset=4, limit=2), 3),
        (0, 3, Selection(offset=0, limit=0), 3),
        (2, 1, Selection(limit=2, after=Position(place_of(1))), 2),
    ],
)
def test_a_total_that_was_counted_apart_fits_what_the_page_shows(
    found: int, counted: int, selection: Selection, total: int
) -> None:
    resources = [stored(f"u{n}", userName=f"u{n}") for n in range(found)]

    assert fitting_total(resources, counted, selection) == total
