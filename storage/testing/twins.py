"""The contract of data of others with one id in two types."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from schema.resource_type import ResourceType
from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection, StorageAdapter, StoredResource
from storage.search import search
from storage.testing.links import change_members, members, members_of, memberships_of
from storage.testing.resources import GROUP, USER, represent, stored

ANN, CREW = Member("twin", "User", "Ann"), Member("twin", "Group", "Crew")


class TwinContract:
    """Runs where other programs can write into the backend; a subclass says how by `plant`."""

    def plant(self, adapter: StorageAdapter) -> None:
        """Give the group `other` the id of the user `twin`, as no client can; skip where no program can."""
        pytest.skip("no program gives one id to a user and to a group in this backend")

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
