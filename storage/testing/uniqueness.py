"""The contract of unique and of long values."""


import pytest

from storage.adapter import StorageAdapter
from storage.errors import UniquenessConflict
from storage.testing.resources import USER, ids_matching, stored


class UniquenessContract:
    @pytest.mark.parametrize("name", ["alice", "ALICE"])
    def test_unique_values_are_kept_unique(self, adapter: StorageAdapter, name: str) -> None:
        adapter.create(USER, stored("1", userName="Alice"))
        adapter.create(USER, stored("2", userName="bob"))

        with pytest.raises(UniquenessConflict) as caught:
            adapter.create(USER, stored("3", userName=name))
        assert caught.value.attribute == "userName"
        with pytest.raises(UniquenessConflict):
            adapter.replace(USER, stored("2", userName=name))
        assert sorted(ids_matching(adapter, USER, "id pr")) == ["1", "2"]
        assert adapter.get(USER, "2").document["userName"] == "bob"

    def test_a_value_given_up_is_free_again(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a", externalId="x"))
        adapter.replace(USER, stored("1", userName="b"))
        adapter.create(USER, stored("2", userName="a", externalId="x"))
        adapter.delete(USER, "2")

        adapter.create(USER, stored("3", userName="A", externalId="x"))

    def test_long_values_are_told_apart(self, adapter: StorageAdapter) -> None:
        resource = stored("1", userName="x" * 5000 + "a", title="y" * 5000 + "needle")
        adapter.create(USER, resource)
        adapter.create(USER, stored("2", userName="x" * 5000 + "b"))

        assert adapter.get(USER, "1").document == resource.document
        assert ids_matching(adapter, USER, f'userName eq "{"x" * 5000}b"') == ["2"]
        assert ids_matching(adapter, USER, 'title co "needle"') == ["1"]
        assert ids_matching(adapter, USER, 'title ew "dle" and title sw "yyy"') == ["1"]
        assert sorted(ids_matching(adapter, USER, f'userName sw "{"x" * 5000}"')) == ["1", "2"]
        assert ids_matching(adapter, USER, f'userName gt "{"x" * 5000}a"') == ["2"]
