"""Sorted pages are those of evaluation, whichever of the two ways finds them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Selection, Sort, StorageAdapter
from storage.index.pages import Pages
from storage.search import cut, position_of, search
from storage.testing import USER, represent, stored
from storage.testing.differential import DifferentialContract
from tests.storage.other_settings import ALL
from tests.storage.sql.conftest import Open, Server

FILTERS = (
    "",
    'title gt "b"',
    'title le "b" and title ge "a"',
    'title sw "A" and userName pr',
    'title eq "a" or userName co "7"',
    "not (title pr)",
    'meta.created ge "2026-01-05T00:00:00Z" and active eq true',
    'emails.value ew "x" and title pr',
    'emails[type eq "work" and value pr] and userName lt "u5"',
    'userName eq "u11"',
    'userName eq "nobody"',
    'title ne "a" and userName gt "u2"',
)
ORDERS = ("userName", "title", "emails.value", "active", "meta.created")


def user(random: Random, number: int) -> dict[str, Any]:
    optional = {
        "title": random.choice(["a", "A", "b", "c", "\u00e9", "x" * 300 + random.choice("ab"), ""]),
        "active": random.random() < 0.5,
        "emails": [{"value": f"{random.randrange(20)}@x", "type": random.choice(["work", "home"])}],
    }
    return {"userName": f"u{number}", **{name: v for name, v in optional.items() if random.random() < 0.7}}


@pytest.fixture
def adapter(server: Server, opened: Open) -> Iterator[StorageAdapter]:
    yield opened(server.new_database(), indexed_attributes=ALL)


@pytest.mark.parametrize("most", [0, 3, 5000])
def test_pages_are_those_of_evaluation(
    adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(Pages, "most_sorted", most)
    random = Random(most)
    for number in range(30):
        created = f"2026-01-{1 + random.randrange(9):02}T00:00:00.000Z"
        adapter.create(USER, stored(f"id{number}", created, **user(random, number)))
    everything = list(adapter.scan(USER))

    for text, order, descending in product(FILTERS, ORDERS, (False, True)):
        path = USER.path(order)
        assert path is not None
        node = resolve(parse_filter(text), USER) if text else None
        sort = Sort(path, descending)
        one = random.choice(everything)
        edge = position_of(one, sort, represent(one, True))
        whole = Selection(node, sort)
        for selection in (
            whole,
            replace(whole, limit=4),
            replace(whole, offset=random.randrange(30), limit=5),
            replace(whole, after=edge, limit=5),
            replace(whole, before=edge, limit=5),
            replace(whole, after=edge),
        ):
            page = search(adapter, USER, selection, represent)
            expected = cut(everything, node, selection, lambda resource: represent(resource, True))
            found = [resource.id for resource in page.resources]
            assert found == [resource.id for resource in expected.resources], (text, selection)
            assert page.total == expected.total, (text, selection)


class TestWalking(DifferentialContract):
    """Random selections, with every order walked through."""

    omitted = "\0"

    @pytest.fixture
    def adapter(
        self, server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[StorageAdapter]:
        monkeypatch.setattr(Pages, "most_sorted", 1)
        yield opened(server.new_database(), indexed_attributes=ALL)
