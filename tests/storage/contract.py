"""What every adapter must do, whatever it is made of: run over each by a class of a few lines."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from schema.registry import Registry, load_registry
from schema.resource_type import ResourceType
from scim_filter import matches, parse_filter, resolve
from storage.adapter import Member, Membership, Position, Selection, Sort, StorageAdapter, StoredResource
from storage.errors import ResourceNotFound, UniquenessConflict, VersionMismatch
from storage.search import position_of, search
from tests.storage.corpus import FILTERS, USERS

REGISTRY: Registry = load_registry()
USER, GROUP = REGISTRY.resource_types[:2]
NOW = "2026-01-01T00:00:00.000Z"
LATER = "2026-02-01T00:00:00.000Z"


def stored(resource_id: str, _created: str = NOW, **document: Any) -> StoredResource:
    """Return a resource as a caller hands it to an adapter; one with a userName is a user."""
    core = USER if "userName" in document else GROUP
    schemas = [core.schema.id, *(name for name in document if name.startswith("urn:"))]
    text = orjson.dumps({"schemas": schemas, "id": resource_id, **document}).decode()
    return StoredResource(resource_id, text, created=_created, last_modified=_created)


def represent(resource: StoredResource, links: bool) -> Mapping[str, Any]:
    meta = {"created": resource.created, "lastModified": resource.last_modified}
    return {**resource.document, "meta": meta}


class StorageContract:
    """Subclasses have a fixture `adapter`, prepared for REGISTRY and complete."""

    # -- one resource

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
        assert self.found(adapter, USER, 'title eq "t" or emails.value eq "x"') == []

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
        assert self.found(adapter, USER, "id pr") == ["1"]
        assert self.found(adapter, GROUP, "id pr") == ["2"]
        adapter.replace(USER, stored("1", userName="c"))
        adapter.delete(GROUP, "2")
        adapter.create(USER, stored("2", userName="a"))

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

    def test_preparing_again_keeps_everything(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a"))

        adapter.prepare(REGISTRY.resource_types)
        adapter.check()

        assert self.found(adapter, USER, 'userName eq "A"') == ["1"]

    # -- uniqueness

    @pytest.mark.parametrize("name", ["alice", "ALICE"])
    def test_unique_values_are_kept_unique(self, adapter: StorageAdapter, name: str) -> None:
        adapter.create(USER, stored("1", userName="Alice"))
        adapter.create(USER, stored("2", userName="bob"))

        with pytest.raises(UniquenessConflict) as caught:
            adapter.create(USER, stored("3", userName=name))
        assert caught.value.attribute == "userName"
        with pytest.raises(UniquenessConflict):
            adapter.replace(USER, stored("2", userName=name))
        assert sorted(self.found(adapter, USER, "id pr")) == ["1", "2"]
        assert adapter.get(USER, "2").document["userName"] == "bob"

    def test_a_value_given_up_is_free_again(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a", externalId="x"))
        adapter.replace(USER, stored("1", userName="b"))
        adapter.create(USER, stored("2", userName="a", externalId="x"))
        adapter.delete(USER, "2")

        adapter.create(USER, stored("3", userName="A", externalId="x"))

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

    def test_long_values_are_told_apart(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="x" * 5000 + "a", title="y" * 5000 + "needle"))
        adapter.create(USER, stored("2", userName="x" * 5000 + "b"))

        assert self.found(adapter, USER, f'userName eq "{"x" * 5000}b"') == ["2"]
        assert self.found(adapter, USER, 'title co "needle"') == ["1"]
        assert self.found(adapter, USER, 'title ew "dle" and title sw "yyy"') == ["1"]
        assert sorted(self.found(adapter, USER, f'userName sw "{"x" * 5000}"')) == ["1", "2"]
        assert self.found(adapter, USER, f'userName gt "{"x" * 5000}a"') == ["2"]

    # -- searching

    @pytest.mark.parametrize("text", FILTERS)
    def test_filters_find_what_evaluation_says(self, adapter: StorageAdapter, text: str) -> None:
        fill(adapter)
        node = resolve(parse_filter(text), USER)

        expected = [r.id for r in adapter.scan(USER) if matches(node, represent(r, True))]

        assert self.found(adapter, USER, text) == expected
        assert 0 <= len(expected) <= len(USERS)

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

    # -- members

    def test_members_join_and_leave(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))
        adapter.create(GROUP, stored("g", displayName="G"))
        version = adapter.get(GROUP, "g").version

        assert change_members(adapter, "g", members("abc"), ())
        assert among(adapter, "g", ["c", "zz", "a"]) == {"a", "c"}
        assert among(adapter, "g", []) == set()
        assert not change_members(adapter, "g", members("b"), ["zz"])
        assert change_members(adapter, "g", (), ["a"])

        assert {m.resource_id for m in members_of(adapter, "g")} == {"b", "c"}
        assert [m.display for m in members_of(adapter, "g")] == ["b", "c"]
        adapter.replace(GROUP, stored("g", displayName="H"))
        assert {m.resource_id for m in members_of(adapter, "g")} == {"b", "c"}
        assert "members" not in adapter.get(GROUP, "g").document
        assert version != adapter.get(GROUP, "g").version

    def test_a_display_of_ones_own_is_kept(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="a"))
        adapter.create(GROUP, stored("g", displayName="G"))

        change_members(adapter, "g", [Member("a", "User", "Babs")], ())

        assert list(members_of(adapter, "g")) == [Member("a", "User", "Babs")]

    def test_no_more_members_are_read_than_asked_for(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))
        adapter.create(GROUP, stored("g", displayName="G"))
        change_members(adapter, "g", members("abc"), ())

        every = list(members_of(adapter, "g"))

        assert [list(members_of(adapter, "g", limit)) for limit in range(5)] == [
            every[:limit] for limit in range(5)
        ]

    def test_what_was_read_before_another_change_undoes_nothing(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))
        adapter.create(GROUP, stored("g", displayName="G"))
        change_members(adapter, "g", members("a"), ())
        before = adapter.get(GROUP, "g")
        change_members(adapter, "g", [Member("b", "User", "Babs")], ())
        adapter.replace(GROUP, stored("g", displayName="H"))

        adapter.change_members(GROUP, before, [Member("c", "User", "Cleo")], members("a"))

        shown = {(m.resource_id, m.display) for m in members_of(adapter, "g")}
        assert shown == {("b", "Babs"), ("c", "Cleo")}
        assert adapter.get(GROUP, "g").document["displayName"] == "H"

    def test_nobody_joins_a_resource_that_is_gone(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="a"))
        adapter.create(GROUP, stored("g", displayName="G"))
        before = adapter.get(GROUP, "g")
        adapter.delete(GROUP, "g")

        with pytest.raises(ResourceNotFound):
            adapter.change_members(GROUP, before, members("a"), ())
        assert memberships_of(adapter, ["a"]) == {}

    def test_memberships_are_direct_and_nested_and_may_be_circular(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="a"))
        for name in "ghi":
            adapter.create(GROUP, stored(name, displayName=name.upper()))
        change_members(adapter, "g", members("a"), ())
        change_members(adapter, "h", [Member("g", "Group")], ())
        change_members(adapter, "g", [Member("h", "Group")], ())

        found = memberships_of(adapter, ["a", "zz"])

        shown = {(m.resource_id, m.display, m.direct) for m in found["a"]}
        assert shown == {("g", "G", True), ("h", "H", False)}
        assert set(found) == {"a"}

    def test_existing_resources_are_found_by_id(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("a", userName="ann"))
        adapter.create(GROUP, stored("g", displayName="G"))

        found = found_by_id(adapter, ["a", "g", "zz"])

        assert found == {"a": Member("a", "User", "ann"), "g": Member("g", "Group", "G")}

    # -- several at once

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
        assert len(self.found(adapter, USER, 'title eq "t"')) == 40

    def found(self, adapter: StorageAdapter, resource_type: ResourceType, text: str) -> list[str]:
        node = resolve(parse_filter(text, max_length=20_000), resource_type)
        page = search(adapter, resource_type, Selection(node), represent)
        counted = search(adapter, resource_type, Selection(node, limit=0), represent)
        assert page.total == counted.total == len(page.resources)
        return [resource.id for resource in page.resources]


class TransactionContract:
    """For adapters with the capability `transactions`."""

    def test_the_state_database_commits_with_the_resources(self, adapter: StorageAdapter) -> None:
        database = adapter.state_database
        if database is None:
            pytest.skip("the backend shares its transactions with no database")

        with adapter.transaction():
            adapter.create(USER, stored("1", userName="a"))
            assert database.in_transaction
            assert database.row("SELECT COUNT(*) FROM scim_resource")[0] == 1
        with pytest.raises(UniquenessConflict), adapter.transaction():
            database.run("UPDATE scim_resource SET display = ? WHERE id = ?", ("lost", "1"))
            adapter.create(USER, stored("1", userName="b"))

        assert database.row("SELECT display FROM scim_resource WHERE id = ?", ("1",))[0] == "a"

    def test_what_fails_leaves_nothing_behind(self, adapter: StorageAdapter) -> None:
        adapter.create(USER, stored("1", userName="a"))

        with pytest.raises(UniquenessConflict), adapter.transaction():
            adapter.create(USER, stored("2", userName="b"))
            adapter.replace(USER, stored("1", userName="c"))
            adapter.create(USER, stored("3", userName="b"))

        assert [r.id for r in adapter.scan(USER)] == ["1"]
        assert adapter.get(USER, "1").document["userName"] == "a"

    def test_a_part_can_fail_alone(self, adapter: StorageAdapter) -> None:
        with adapter.transaction():
            adapter.create(USER, stored("1", userName="a"))
            with pytest.raises(UniquenessConflict), adapter.savepoint():
                adapter.create(USER, stored("2", userName="b"))
                adapter.create(USER, stored("3", userName="a"))
            with adapter.savepoint():
                adapter.create(USER, stored("4", userName="b"))

        assert [r.id for r in adapter.scan(USER)] == ["1", "4"]


ANN, CREW = Member("twin", "User", "Ann"), Member("twin", "Group", "Crew")


class TwinContract:
    """For data of others with one id in two types. Subclasses say how others write it, or why none do."""

    def plant(self, adapter: StorageAdapter) -> None:
        """Give the group `other` the id of the user `twin`, which no client of ours can."""
        raise NotImplementedError

    @pytest.fixture
    def twins(self, adapter: StorageAdapter) -> StorageAdapter:
        """The adapter with a user and a group of one id, and the group `g`."""
        adapter.create(USER, stored("twin", userName="ann", displayName="Ann"))
        adapter.create(GROUP, stored("other", displayName="Crew"))
        adapter.create(GROUP, stored("g", displayName="G"))
        self.plant(adapter)
        return adapter

    def test_both_of_one_id_are_found(self, twins: StorageAdapter) -> None:
        assert twins.get(USER, "twin").document["userName"] == "ann"
        assert twins.get(GROUP, "twin").document["displayName"] == "Crew"
        assert list(twins.find(["twin"])) == [ANN, CREW]
        assert {member.key for member in twins.find(["g", "twin", "zz", "twin"])} == {
            ANN.key,
            CREW.key,
            ("Group", "g"),
        }

    def test_both_of_one_id_are_members_as_what_they_are(self, twins: StorageAdapter) -> None:
        assert change_members(twins, "g", [ANN, CREW])

        assert set(members_of(twins, "g")) == {ANN, CREW}
        among_both = twins.among_members(GROUP, twins.get(GROUP, "g"), ["twin"])
        assert sorted(member.key for member in among_both) == [CREW.key, ANN.key]
        for resource_type in (USER, GROUP):
            (membership,) = memberships_of(twins, ["twin"], resource_type)["twin"]
            assert (membership.resource_id, membership.direct) == ("g", True)

    def test_each_of_one_id_has_a_display_of_its_own(self, twins: StorageAdapter) -> None:
        babs, team = replace(ANN, display="Babs"), replace(CREW, display="Team")
        change_members(twins, "g", [babs, team])

        assert set(members_of(twins, "g")) == {babs, team}
        change_members(twins, "g", [ANN], ["twin"])
        assert set(members_of(twins, "g")) == {ANN, team}

    @pytest.mark.parametrize(("leaving", "staying"), [(ANN, CREW), (CREW, ANN)])
    def test_one_of_one_id_leaves_and_the_other_stays(
        self, twins: StorageAdapter, leaving: Member, staying: Member
    ) -> None:
        change_members(twins, "g", [ANN, CREW])

        assert twins.change_members(GROUP, twins.get(GROUP, "g"), (), [leaving])

        assert list(members_of(twins, "g")) == [staying]
        kinds = {"User": USER, "Group": GROUP}
        assert memberships_of(twins, ["twin"], kinds[leaving.resource_type]) == {}
        assert len(memberships_of(twins, ["twin"], kinds[staying.resource_type])["twin"]) == 1
        assert not twins.change_members(GROUP, twins.get(GROUP, "g"), (), [leaving])

    @pytest.mark.parametrize(("gone", "staying"), [(USER, CREW), (GROUP, ANN)])
    def test_one_of_one_id_is_deleted_and_the_other_stays_a_member(
        self, twins: StorageAdapter, gone: ResourceType, staying: Member
    ) -> None:
        change_members(twins, "g", [ANN, CREW])

        twins.delete(gone, "twin")

        assert list(members_of(twins, "g")) == [staying]
        assert list(twins.find(["twin"])) == [staying]
        (kept,) = (kind for kind in (USER, GROUP) if kind is not gone)
        assert twins.get(kept, "twin").id == "twin"
        assert len(memberships_of(twins, ["twin"], kept)["twin"]) == 1

    def test_a_member_of_one_is_no_member_of_the_other(self, twins: StorageAdapter) -> None:
        def with_groups(resource: StoredResource, links: bool) -> Mapping[str, Any]:
            above = memberships_of(twins, [resource.id]).get(resource.id, ())
            return {**represent(resource, links), "groups": [{"value": one.resource_id} for one in above]}

        twins.create(USER, stored("a", userName="a"))
        change_members(twins, "twin", members("a"))
        change_members(twins, "g", [CREW])

        assert {(m.resource_id, m.direct) for m in memberships_of(twins, ["a"])["a"]} == {
            ("twin", True),
            ("g", False),
        }
        assert memberships_of(twins, ["twin"]) == {}
        node = resolve(parse_filter('groups.value eq "g"'), USER)
        found = search(twins, USER, Selection(node), with_groups)
        assert [resource.id for resource in found.resources] == ["a"]


def fill(adapter: StorageAdapter) -> None:
    """Keep the corpus."""
    for number, document in enumerate(USERS):
        resource_id = f"{(number * 7) % len(USERS):02}"
        adapter.create(USER, stored(resource_id, LATER if number % 3 else NOW, **document))


def members(ids: str) -> list[Member]:
    return [Member(resource_id, "User") for resource_id in ids]


def members_of(adapter: StorageAdapter, group_id: str, limit: int | None = None) -> Iterator[Member]:
    return adapter.members(GROUP, adapter.get(GROUP, group_id), limit)


def change_members(
    adapter: StorageAdapter, group_id: str, add: Iterable[Member], remove: Iterable[str] = ()
) -> bool:
    leaving = [Member(member_id, "User") for member_id in remove]
    return adapter.change_members(GROUP, adapter.get(GROUP, group_id), add, leaving)


def among(adapter: StorageAdapter, group_id: str, member_ids: Sequence[str]) -> set[str]:
    found = adapter.among_members(GROUP, adapter.get(GROUP, group_id), member_ids)
    return {member.resource_id for member in found}


def found_by_id(adapter: StorageAdapter, ids: Sequence[str]) -> dict[str, Member]:
    """Return the resources of any type with one of these ids, of which no two have the same."""
    found = adapter.find(ids)
    by_id = {member.resource_id: member for member in found}
    assert len(by_id) == len(found)
    return by_id


def memberships_of(
    adapter: StorageAdapter, ids: Sequence[str], resource_type: ResourceType = USER
) -> Mapping[str, Sequence[Membership]]:
    return adapter.memberships(resource_type, [StoredResource(one, "{}") for one in ids])


def in_threads(work: Any, count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
