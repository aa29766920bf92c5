"""The contract of transactions, for adapters with the capability `transactions`."""

import pytest

from storage.adapter import StorageAdapter
from storage.errors import UniquenessConflict
from storage.testing.resources import USER, stored

_TABLE = "CREATE TABLE IF NOT EXISTS scim_contract (id INTEGER PRIMARY KEY, text VARCHAR(9))"


class TransactionContract:
    """Several calls take effect together or not at all."""

    @pytest.fixture
    def together(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter, where it has transactions."""
        if not adapter.capabilities.transactions:
            pytest.skip("the backend has no transactions")
        return adapter

    def test_the_state_database_commits_with_the_resources(self, together: StorageAdapter) -> None:
        database = together.state_database
        if database is None:
            pytest.skip("the backend shares its transactions with no database")
        database.run_ddl(_TABLE)
        with database.transaction():
            database.run("DELETE FROM scim_contract")

        with together.transaction():
            together.create(USER, stored("1", userName="a"))
            assert database.in_transaction
            database.run("INSERT INTO scim_contract (id, text) VALUES (?, ?)", (1, "kept"))
        with pytest.raises(UniquenessConflict), together.transaction():
            database.run("UPDATE scim_contract SET text = ? WHERE id = ?", ("lost", 1))
            together.create(USER, stored("1", userName="b"))
        with pytest.raises(KeyError), database.transaction():
            together.create(USER, stored("2", userName="b"))
            raise KeyError

        assert database.row("SELECT text FROM scim_contract WHERE id = ?", (1,))[0] == "kept"
        assert [r.id for r in together.scan(USER)] == ["1"]

    def test_what_fails_leaves_nothing_behind(self, together: StorageAdapter) -> None:
        together.create(USER, stored("1", userName="a"))

        with pytest.raises(UniquenessConflict), together.transaction():
            together.create(USER, stored("2", userName="b"))
            together.replace(USER, stored("1", userName="c"))
            together.create(USER, stored("3", userName="b"))

        assert [r.id for r in together.scan(USER)] == ["1"]
        assert together.get(USER, "1").document["userName"] == "a"

    def test_a_pipeline_raises_conflicts_and_keeps_what_has_none(self, together: StorageAdapter) -> None:
        together.create(USER, stored("1", userName="a"))

        for taken in (stored("3", userName="a"), stored("1", userName="c")):
            with pytest.raises(UniquenessConflict), together.transaction(), together.pipelined():
                together.create(USER, stored("2", userName="b"))
                together.create(USER, taken)
        with together.transaction(), together.pipelined():
            together.create(USER, stored("4", userName="b"))
            read = together.get(USER, "4")

        assert [r.id for r in together.scan(USER)] == ["1", "4"]
        assert together.get(USER, "4") == read

    def test_a_part_of_a_pipeline_can_fail_alone(self, together: StorageAdapter) -> None:
        with together.transaction(), together.pipelined():
            with pytest.raises(KeyError), together.savepoint():
                together.create(USER, stored("1", userName="a"))
                raise KeyError
            together.create(USER, stored("2", userName="a"))

        assert [r.id for r in together.scan(USER)] == ["2"]

    def test_a_part_can_fail_alone(self, together: StorageAdapter) -> None:
        with together.transaction():
            together.create(USER, stored("1", userName="a"))
            with pytest.raises(UniquenessConflict), together.savepoint():
                together.create(USER, stored("2", userName="b"))
                together.create(USER, stored("3", userName="a"))
            with together.savepoint():
                together.create(USER, stored("4", userName="b"))

        assert [r.id for r in together.scan(USER)] == ["1", "4"]
