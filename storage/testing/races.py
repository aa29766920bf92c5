"""The contract of several threads at once."""


import pytest

from storage.adapter import StorageAdapter
from storage.errors import UniquenessConflict
from storage.testing.links import found_by_id
from storage.testing.resources import GROUP, USER, ids_matching, in_threads, stored


class RacesContract:
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
