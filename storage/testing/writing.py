"""The contract of one resource: create, get, replace, delete."""

from dataclasses import replace

import pytest

from storage.adapter import StorageAdapter
from storage.errors import ResourceNotFound, UniquenessConflict, VersionMismatch
from storage.testing.resources import GROUP, NOW, REGISTRY, USER, ids_matching, stored


class WritingContract:
    def test_what_was_created_is_there(self, adapter: StorageAdapter) -> None:
        resource = replace(stored("1", userName="a", title="\u00e9\U0001f600"), secrets={"password": "h"})

        created = adapter.create(USER, resource)
        read = adapter.get(USER, "1")

        assert read.document == resource.document
        assert read.version == created.version
        if not adapter.capabilities.assigns_ids:
            assert (read.created, read.last_modified) == (NOW, NOW)
        secrets = {} if adapter.capabilities.takes_secrets else {"password": "h"}
        assert dict(read.secrets) == secrets

    def test_what_is_not_there_is_not_found(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a"))

        missing = ((USER, "2"), (GROUP, "1"), (USER, ""), (USER, "*"), (USER, "1'--"))
        for resource_type, resource_id in missing:
            with pytest.raises(ResourceNotFound):
                adapter.get(resource_type, resource_id)
            with pytest.raises(ResourceNotFound):
                adapter.delete(resource_type, resource_id)
            with pytest.raises(ResourceNotFound):
                adapter.replace(resource_type, stored(resource_id, userName="x"))

    def test_replace_drops_attributes_that_were_not_sent(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a", title="t", emails=[{"value": "x"}]))

        adapter.replace(USER, stored("1", userName="a"))

        assert adapter.get(USER, "1").document == stored("1", userName="a").document
        assert ids_matching(adapter, USER, 'title eq "t" or emails.value eq "x"') == []

    def test_a_replacement_keeps_the_place(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a"))
        replaced = adapter.replace(USER, stored("1", userName="b"))

        # A backend may have no places before it is searched.
        assert replaced.place in ("", adapter.get(USER, "1").place)

    def test_the_version_changes_with_every_replacement(self, adapter: StorageAdapter) -> None:
        versions = [adapter.create(USER, stored("1", userName="a")).version]
        versions += [adapter.replace(USER, stored("1", userName=name)).version for name in "bcd"]

        assert len(set(versions)) == 4
        assert adapter.get(USER, "1").version == versions[-1]

    def test_a_stale_version_changes_nothing(self, adapter: StorageAdapter) -> None:
        first = adapter.create(USER, stored("1", userName="a")).version
        second = adapter.replace(USER, stored("1", userName="b"), first).version

        with pytest.raises(VersionMismatch):
            adapter.replace(USER, stored("1", userName="c"), first)
        with pytest.raises(VersionMismatch):
            adapter.delete(USER, "1", first)
        assert adapter.get(USER, "1").document["userName"] == "b"
        adapter.delete(USER, "1", second)
        with pytest.raises(ResourceNotFound):
            adapter.get(USER, "1")

    def test_an_id_is_taken_once(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a"))

        with pytest.raises(UniquenessConflict):
            adapter.create(USER, stored("1", userName="b"))
        assert adapter.get(USER, "1").document["userName"] == "a"

    def test_an_id_is_taken_once_whatever_the_type(self, adapter: StorageAdapter) -> None:
        if adapter.capabilities.assigns_ids:
            pytest.skip("the backend gives ids of its own")
        adapter.create(USER, stored("1", userName="a"))
        adapter.create(GROUP, stored("2", displayName="b"))

        for resource_type, resource in (
            (GROUP, stored("1", displayName="c")),
            (USER, stored("2", userName="c")),
        ):
            with pytest.raises(UniquenessConflict) as caught:
                adapter.create(resource_type, resource)
            assert caught.value.attribute == "id"
            with pytest.raises(UniquenessConflict):
                adapter.create_many(resource_type, [resource])
        assert ids_matching(adapter, USER, "id pr") == ["1"]
        assert ids_matching(adapter, GROUP, "id pr") == ["2"]
        adapter.replace(USER, stored("1", userName="c"))
        adapter.delete(GROUP, "2")
        adapter.create(USER, stored("2", userName="a"))

    def test_preparing_again_keeps_everything(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a"))

        adapter.prepare(REGISTRY.resource_types)
        adapter.check()

        assert ids_matching(adapter, USER, 'userName eq "A"') == ["1"]
