"""The contract of several threads at once."""

from collections.abc import Callable

import pytest

from schema.resource_type import ResourceType
from storage.adapter import Selection, Sort, StorageAdapter
from storage.errors import Contention, UniquenessConflict, VersionMismatch
from storage.search import search
from storage.testing.links import change_members, found_by_id, members, members_of
from storage.testing.resources import GROUP, USER, ids_matching, in_threads, represent, stored


class RacesContract:
    """Of several that want the same, one gets it; what the others did stays."""

    def test_of_parallel_creates_of_two_types_one_wins(self, adapter: StorageAdapter) -> None:
        if adapter.capabilities.assigns_ids:
            pytest.skip("the backend gives ids of its own")
        outcomes: list[str] = []

        def create(number: int) -> None:
            try:
                if number % 2:
                    adapter.create(USER, stored("same", userName=str(number)))
                else:
                    adapter.create(GROUP, stored("same", displayName=str(number)))
                outcomes.append("created")
            except UniquenessConflict:
                outcomes.append("conflict")
            finally:
                adapter.close()

        in_threads(create, 8)

        assert sorted(outcomes) == ["conflict"] * 7 + ["created"]
        assert list(found_by_id(adapter, ["same"])) == ["same"]

    def test_parallel_searches_get_what_they_asked_for(self, adapter: StorageAdapter) -> None:
        paths = [path for name in ("title", "userName") if (path := USER.path(name)) is not None]
        for number in range(9):
            adapter.create(USER, stored(str(number), userName=f"u{number}", title=f"t{9 - number}"))
        wrong: list[object] = []

        def look(number: int) -> None:
            path = paths[number % 2]
            expected = "876543210" if path.text == "title" else "012345678"
            try:
                for _ in range(20):
                    page = search(adapter, USER, Selection(sort=Sort(path)), represent)
                    if [one.id for one in page.resources] != list(expected):
                        wrong.append(page)
            except Exception as exc:
                wrong.append(exc)
            finally:
                adapter.close()

        in_threads(look, 6)

        assert not wrong

    def test_of_parallel_creates_one_wins(self, adapter: StorageAdapter) -> None:
        outcomes: list[str] = []

        def create(number: int) -> None:
            try:
                adapter.create(USER, stored(str(number), userName="same"))
                outcomes.append("created")
            except UniquenessConflict:
                outcomes.append("conflict")
            finally:
                adapter.close()

        in_threads(create, 8)

        assert sorted(outcomes) == ["conflict"] * 7 + ["created"]

    @pytest.mark.parametrize(("resource_type", "name"), [(USER, "userName"), (GROUP, "displayName")])
    def test_of_changes_to_one_version_one_wins(
        self, adapter: StorageAdapter, resource_type: ResourceType, name: str
    ) -> None:
        version = adapter.create(resource_type, stored("1", **{name: "before"})).version
        outcomes: list[str] = []

        def change(number: int) -> None:
            resource = stored("1", **{name: f"after {number}"})
            try:
                _until_done(lambda: adapter.replace(resource_type, resource, version))
                outcomes.append("changed")
            except VersionMismatch:
                outcomes.append("mismatch")
            finally:
                adapter.close()

        in_threads(change, 8)

        assert sorted(outcomes) == ["changed"] + ["mismatch"] * 7

    def test_members_that_join_at_once_all_join(self, adapter: StorageAdapter) -> None:
        adapter.create(GROUP, stored("g", displayName="G"))
        for number in range(8):
            adapter.create(USER, stored(str(number), userName=str(number)))

        def join(number: int) -> None:
            try:
                _until_done(lambda: change_members(adapter, "g", members(str(number))))
            finally:
                adapter.close()

        in_threads(join, 8)

        assert {member.resource_id for member in members_of(adapter, "g")} == set("01234567")

    def test_threads_work_side_by_side(self, adapter: StorageAdapter) -> None:
        failures: list[Exception] = []

        def work(number: int) -> None:
            try:
                for step in range(5):
                    name = f"{number}-{step}"
                    adapter.create(USER, stored(name, userName=name))
                    adapter.replace(USER, stored(name, userName=name, title="t"))
                    assert adapter.get(USER, name).document["title"] == "t"
            except Exception as exc:
                failures.append(exc)
            finally:
                adapter.close()

        in_threads(work, 8)

        assert failures == []
        assert len(ids_matching(adapter, USER, 'title eq "t"')) == 40


def _until_done(work: Callable[[], object]) -> None:
    """Do `work` again as long as another transaction undoes it."""
    while True:
        try:
            work()
            return
        except Contention:
            continue
