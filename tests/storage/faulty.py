"""The contract over a right adapter with one fault after another; `test_faults.py` runs these classes."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest

from schema.resource_type import ResourceType
from scim_filter.nodes import And
from storage.adapter import Found, Page, Selection, StorageAdapter, StoredResource
from storage.errors import VersionMismatch
from storage.search import search
from storage.testing import StorageContract, ready, represent
from tests.storage.memory import MemoryAdapter

Paged = Callable[[Selection, Callable[[Selection], Page]], Found]


def right(adapter: Any) -> None:
    """No fault."""


def lost_uniqueness(adapter: Any) -> None:
    adapter._refuse_duplicates = lambda resource_type, resource: None


def one_id_in_two_types(adapter: Any) -> None:
    adapter._refuse_taken = lambda resource_type, resource_id: None


def _paging(adapter: Any, paged: Paged) -> None:
    """Make the adapter find its pages by itself, as `paged` spoils them."""
    scan = adapter.scan

    class Scanning(MemoryAdapter):
        def scan(self, resource_type: ResourceType) -> Any:
            return scan(resource_type)

    def candidates(resource_type: ResourceType, selection: Selection) -> Found:
        return paged(selection, lambda some: search(Scanning(), resource_type, some, represent))

    adapter.candidates = candidates


def wrong_total(adapter: Any) -> None:
    def paged(selection: Selection, page: Callable[[Selection], Page]) -> Found:
        found = page(selection)
        return Found(found.resources, is_page=True, total=found.total + 1)

    _paging(adapter, paged)


def total_of_the_page(adapter: Any) -> None:
    def paged(selection: Selection, page: Callable[[Selection], Page]) -> Found:
        found = page(selection).resources
        return Found(found, is_page=True, total=len(found))

    _paging(adapter, paged)


def position_repeated(adapter: Any) -> None:
    def paged(selection: Selection, page: Callable[[Selection], Page]) -> Found:
        if selection.after is not None:
            # What stands just ahead of the position.
            before = replace(selection.after, place=selection.after.place[:-1])
            selection = replace(selection, after=before)
        found = page(selection)
        return Found(found.resources, is_page=True, total=found.total)

    _paging(adapter, paged)


def ignored_sort(adapter: Any) -> None:
    def paged(selection: Selection, page: Callable[[Selection], Page]) -> Found:
        found = page(replace(selection, sort=None))
        return Found(found.resources, is_page=True, total=found.total)

    _paging(adapter, paged)


def unstable_order(adapter: Any) -> None:
    scan, turns = adapter.scan, cycle((1, -1))
    adapter.scan = lambda resource_type: iter(list(scan(resource_type))[:: next(turns)])
    adapter.candidates = lambda resource_type, selection: Found(adapter.scan(resource_type), selection.filter)


def dropped_clause(adapter: Any) -> None:
    candidates = adapter.candidates

    def dropped(resource_type: ResourceType, selection: Selection) -> Found:
        found: Found = candidates(resource_type, selection)
        node = found.residual
        return replace(found, residual=node.operands[0]) if isinstance(node, And) else found

    adapter.candidates = dropped


def cut_text(adapter: Any) -> None:
    create = adapter.create

    def cut(resource_type: ResourceType, resource: StoredResource) -> Any:
        return create(resource_type, replace(resource, text=resource.text.replace("y" * 500, "y" * 256)))

    adapter.create = cut


def lost_member(adapter: Any) -> None:
    change = adapter.change_members

    def changed(resource_type: ResourceType, one: StoredResource, add: Iterable[Any], remove: Any) -> Any:
        return change(resource_type, one, list(add)[:2], remove)

    adapter.change_members = changed


def members_overwritten(adapter: Any) -> None:
    """The members that were read are written with the change, without those that joined meanwhile."""
    change, members = adapter.change_members, adapter.members

    def changed(resource_type: ResourceType, one: StoredResource, add: Any, remove: Any) -> Any:
        read = {member.key for member in members(resource_type, one)}
        time.sleep(0.02)
        now = members(resource_type, adapter.get(resource_type, one.id))
        return change(resource_type, one, add, [*remove, *(m for m in now if m.key not in read)])

    adapter.change_members = changed


def stale_version(adapter: Any) -> None:
    change, delete = adapter.replace, adapter.delete
    adapter.replace = lambda resource_type, resource, if_version=None: change(resource_type, resource)
    adapter.delete = lambda resource_type, one, if_version=None: delete(resource_type, one)


def lost_update(adapter: Any) -> None:
    """Between the look at the version and the write, others write."""
    change = adapter.replace

    def replaced(resource_type: ResourceType, resource: StoredResource, if_version: str | None = None) -> Any:
        if if_version not in (None, adapter.get(resource_type, resource.id).version):
            raise VersionMismatch
        time.sleep(0.02)
        return change(resource_type, resource)

    adapter.replace = replaced


def same_version(adapter: Any) -> None:
    change, get = adapter.replace, adapter.get
    adapter.replace = lambda *given: replace(change(*given), version="1")
    adapter.get = lambda *given: replace(get(*given), version="1")


# The tests of the contract that each fault turns red.
FAULTS: dict[Callable[[Any], None], tuple[str, ...]] = {
    lost_uniqueness: ("test_unique_values_are_kept_unique[alice]", "test_of_parallel_creates_one_wins"),
    one_id_in_two_types: (
        "test_an_id_is_taken_once_whatever_the_type",
        "test_of_parallel_creates_of_two_types_one_wins",
    ),
    wrong_total: (
        "test_filters_find_what_evaluation_says[title pr]",
        "test_pages_of_one_make_up_the_whole[False--]",
        "test_random_selections_are_those_of_evaluation",
    ),
    total_of_the_page: ("test_pages_of_one_make_up_the_whole[True-userName-]",),
    position_repeated: ("test_pages_of_one_make_up_the_whole[False--]",),
    ignored_sort: ("test_pages_of_one_make_up_the_whole[False-title-]",),
    unstable_order: (
        "test_pages_of_one_make_up_the_whole[False--title pr]",
        "test_random_selections_are_those_of_evaluation",
    ),
    dropped_clause: (
        'test_filters_find_what_evaluation_says[title pr and userName eq "alice" and emails[value co "a"]]',
        "test_random_selections_are_those_of_evaluation",
    ),
    cut_text: ("test_long_values_are_told_apart", "test_random_selections_are_those_of_evaluation"),
    lost_member: ("test_members_join_and_leave", "test_no_more_members_are_read_than_asked_for"),
    members_overwritten: ("test_members_that_join_at_once_all_join",),
    stale_version: ("test_a_stale_version_changes_nothing",),
    lost_update: ("test_of_changes_to_one_version_one_wins[resource_type0-userName]",),
    same_version: ("test_the_version_changes_with_every_replacement",),
}
# Without a fault, the same tests are green.
TESTS = {right: tuple(dict.fromkeys(sum(FAULTS.values(), ()))), **FAULTS}


def _contract(spoil: Callable[[Any], None]) -> type[StorageContract]:
    class Test(StorageContract):
        @pytest.fixture
        def adapter(self) -> StorageAdapter:
            adapter = ready(MemoryAdapter())
            spoil(adapter)
            return adapter

    return Test


for _spoil in TESTS:
    globals()[f"Test_{_spoil.__name__}"] = _contract(_spoil)
