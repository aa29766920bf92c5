"""The contract of filters, sorts and pages over a fixed corpus."""

from dataclasses import replace
from typing import Any

import pytest

from scim_filter import matches, parse_filter, resolve
from scim_filter.nodes import And, Node
from scim_filter.plan import SERVER, STORAGE
from scim_filter.render import render_without_values
from storage.adapter import Position, Selection, Sort, StorageAdapter, StoredResource
from storage.search import position_of, search
from storage.selection import SCAN
from storage.testing.corpus import FILTERS, LABEL_FILTERS, LABELS, SRAM_GROUP, USERS
from storage.testing.resources import GROUP, LATER, NOW, USER, ids_matching, represent, stored


class SearchingContract:
    @pytest.mark.parametrize("text", FILTERS)
    def test_filters_find_what_evaluation_says(self, adapter: StorageAdapter, text: str) -> None:
        fill(adapter)
        node = resolve(parse_filter(text), USER)

        expected = [r.id for r in adapter.scan(USER) if matches(node, represent(r, True))]

        assert ids_matching(adapter, USER, text) == expected
        # Backends that assign ids have dates and names of managers of their own.
        if not (adapter.capabilities.assigns_ids and ("meta." in text or "manager[" in text)):
            assert set(expected) == {_id_of(int(number)) for number in FILTERS[text]}

    def test_filters_find_simple_values_by_their_value(self, adapter: StorageAdapter) -> None:
        for number, labels in enumerate(LABELS):
            more: dict[str, Any] = {SRAM_GROUP: {"labels": labels}} if labels else {}
            adapter.create(GROUP, stored(str(number), displayName=f"g{number}", **more))

        for text, expected in LABEL_FILTERS.items():
            whole = text.replace("labels", f"{SRAM_GROUP}:labels")
            assert sorted(ids_matching(adapter, GROUP, whole)) == list(expected), text

    def test_a_plan_tells_what_is_left_to_evaluation(self, adapter: StorageAdapter) -> None:
        fill(adapter)
        for text in FILTERS:
            selection = Selection(resolve(parse_filter(text), USER), limit=3)

            residual = shapes(adapter.candidates(USER, selection).residual)
            work = search(adapter, USER, selection, represent).work
            assert work is not None

            parts = work.explain().parts if work.explain is not None else ()
            if work.explain is not None:
                told = [render_without_values(part.node) for part in parts]
                assert told == shapes(selection.filter), text
            left = [render_without_values(part.node) for part in parts if part.by != STORAGE]
            assert set(left) <= set(residual), text
            is_narrowed = any(part.by != SERVER for part in parts)
            assert (work.plan == SCAN) == (not is_narrowed), text

    @pytest.mark.parametrize("text", ["", "title pr", f'schemas eq "{USER.schema.id}"', "emails[value pr]"])
    @pytest.mark.parametrize("sort_by", ["", "userName", "title", "emails.value", "active", "meta.created"])
    @pytest.mark.parametrize("descending", [False, True])
    def test_pages_of_one_make_up_the_whole(
        self, adapter: StorageAdapter, text: str, sort_by: str, descending: bool
    ) -> None:
        fill(adapter)
        path = USER.path(sort_by) if sort_by else None
        selection = Selection(
            resolve(parse_filter(text), USER) if text else None,
            Sort(path, descending) if path else None,
        )

        whole = search(adapter, USER, selection, represent)
        pages = [
            search(adapter, USER, replace(selection, offset=n, limit=1), represent)
            for n in range(whole.total + 1)
        ]

        ids = [r.id for r in whole.resources]
        assert [r.id for page in pages for r in page.resources] == ids
        assert {page.total for page in pages} == {len(ids)}
        self.check_keysets(adapter, selection, ids)
        if path is not None:
            self.check_order(whole.resources, selection)

    def check_keysets(self, adapter: StorageAdapter, selection: Selection, ids: list[str]) -> None:
        """Every position leads to what follows it and to what precedes it."""
        whole = search(adapter, USER, selection, represent).resources
        for index, resource in enumerate(whole):
            position = position_of(resource, selection.sort, represent(resource, True))
            after = search(adapter, USER, replace(selection, after=position, limit=2), represent)
            before = search(adapter, USER, replace(selection, before=position, limit=2), represent)
            assert [r.id for r in after.resources] == ids[index + 1 : index + 3]
            assert [r.id for r in before.resources] == ids[max(0, index - 2) : index]
            assert after.total == before.total == len(ids)

    def check_order(self, resources: Any, selection: Selection) -> None:
        assert selection.sort is not None
        orders = [self.order(resource, selection.sort) for resource in resources]
        assert orders == sorted(orders, reverse=selection.sort.descending)

    @staticmethod
    def order(resource: StoredResource, sort: Sort) -> tuple[Any, ...]:
        position: Position = position_of(resource, sort, represent(resource, True))
        return position.order(sort)


def shapes(node: Node | None) -> list[str]:
    """Return the parts of an `and`, or the filter as the only part, as text without ids of the backend."""
    parts = node.operands if isinstance(node, And) else [node] if node is not None else []
    return [render_without_values(part) for part in parts]


def fill(adapter: StorageAdapter) -> None:
    """Keep the corpus."""
    for number, document in enumerate(USERS):
        adapter.create(USER, stored(_id_of(number), LATER if number % 3 else NOW, **document))


def _id_of(number: int) -> str:
    """Return the id of a user of the corpus; ids come in another order than users."""
    return f"{(number * 7) % len(USERS):02}"
