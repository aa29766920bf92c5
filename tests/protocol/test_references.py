"""Members that clients name, and the resources that they are (RFC 7643 sections 4.1.2 and 4.2)."""

from typing import Any, cast

import pytest

from app.protocol.references import NamedMember, References, named_members, take_members
from schema import urns
from schema.attribute import Attribute
from schema.errors import InvalidValue
from storage.adapter import Member
from tests.protocol.samples import GROUP, REGISTRY, USER, storage_of, stored

MEMBERS = cast(Attribute, GROUP.members)
ANN, INNER = Member("1", "User", "Ann"), Member("2", "Group", "Inner")
CREW, TEAM = Member("1", "Group", "Crew"), Member("1", "Group", "Team")


@pytest.fixture(scope="module")
def references() -> References:
    storage = storage_of(
        (USER, stored({"schemas": [urns.USER], "userName": "ann", "displayName": "Ann"}, "1")),
        (GROUP, stored({"schemas": [urns.GROUP], "displayName": "Inner"}, "2")),
    )
    return References(REGISTRY, storage, "https://scim.example.com/v2")


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ([], {}),
        ([{"value": "1"}, {"value": "2"}], {"1": NamedMember(), "2": NamedMember()}),
        ([{"$ref": "https://x/v2/Users/1"}], {"1": NamedMember(ref="https://x/v2/Users/1")}),
        ([{"$ref": "Users/1/"}], {"1": NamedMember(ref="Users/1")}),
        ([{"$ref": "1"}], {"1": NamedMember(ref="1")}),
        ([{"value": "1", "$ref": "Users/2"}], {"1": NamedMember(ref="Users/2")}),
        ([{"value": "1", "display": "A", "type": "User"}], {"1": NamedMember("A", "User")}),
        ([{"value": "1", "display": "", "type": ""}], {"1": NamedMember()}),
        ([{"value": "1", "type": "User"}, {"value": "1", "display": "B"}], {"1": NamedMember("B", "User")}),
        ([{"value": "1", "type": "User"}, {"value": "1", "type": "user"}], {"1": NamedMember(None, "user")}),
    ],
)
def test_members_are_named_by_their_ids(elements: list[dict[str, Any]], named: dict[str, Any]) -> None:
    assert {i: one for i, (one,) in named_members(MEMBERS, elements).items()} == named


@pytest.mark.parametrize(
    ("elements", "detail"),
    [
        ([{"display": "x"}], "members[0].value: is required"),
        ([{"value": "1"}, {"value": ""}], "members[1].value: is required"),
        ([{"$ref": "/"}], "members[0].value: is required"),
    ],
)
def test_a_member_without_id_is_refused(elements: list[dict[str, Any]], detail: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        named_members(MEMBERS, elements)

    assert caught.value.detail == detail


@pytest.mark.parametrize(
    ("elements", "names"),
    [
        ([{"type": "User"}, {"type": "Group"}], [("User", ""), ("Group", "")]),
        ([{"type": "User"}, {"type": "Group"}, {"type": "uSER"}], [("uSER", ""), ("Group", "")]),
        ([{"type": "Group"}, {}], [("Group", "")]),
        ([{}, {"type": "Group"}], [("Group", "")]),
        ([{"$ref": "/Users/1"}, {"$ref": "/Groups/1"}], [(None, "/Users/1"), (None, "/Groups/1")]),
        ([{"$ref": "/Groups/1"}, {}, {"$ref": "/Groups/1"}], [(None, "/Groups/1")]),
        ([{"$ref": "/Groups/1"}, {"type": "User"}], [("User", "")]),
    ],
)
def test_members_of_one_id_are_told_apart_by_type_or_reference(
    elements: list[dict[str, Any]], names: list[tuple[str | None, str]]
) -> None:
    named = named_members(MEMBERS, [{"value": "1", **element} for element in elements])

    assert [(one.type, one.ref) for one in named["1"]] == names


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([NamedMember()], [ANN]),
        ([NamedMember(type="group")], [CREW]),
        ([NamedMember(ref="../Groups/1")], [CREW]),
        ([NamedMember(type="Group", display="Team"), NamedMember(type="User")], [TEAM, ANN]),
        ([NamedMember(ref="/v2/Users/1"), NamedMember(ref="https://other.org/1")], [ANN]),
    ],
)
def test_of_resources_of_one_id_the_one_of_the_type_is_chosen(
    names: list[NamedMember], found: list[Member]
) -> None:
    storage = storage_of(
        (GROUP, stored({"schemas": [urns.GROUP], "displayName": "Crew"}, "1")),
        (USER, stored({"schemas": [urns.USER], "userName": "ann", "displayName": "Ann"}, "1")),
    )

    assert References(REGISTRY, storage, "").members(MEMBERS, {"1": names}) == found


def test_members_are_taken_out_of_a_resource() -> None:
    group = {"displayName": "g", "members": [{"value": "1"}]}

    assert list(take_members(GROUP, group)) == ["1"]
    assert group == {"displayName": "g"}
    assert take_members(GROUP, group) == {}
    assert take_members(USER, {"members": [{"value": "1"}]}) == {}


@pytest.mark.parametrize(
    ("named", "member"),
    [
        pytest.param(NamedMember(), ANN, id="nothing said"),
        pytest.param(NamedMember("Babs"), Member("1", "User", "Babs"), id="a display of its own"),
        pytest.param(NamedMember(type="User"), ANN, id="the type"),
        pytest.param(NamedMember(type="uSER"), ANN, id="the type in another case"),
        pytest.param(NamedMember(ref="https://scim.example.com/v2/Users/1"), ANN, id="the location"),
        pytest.param(NamedMember(ref="HTTPS://SCIM.example.com/v2/Users/1"), ANN, id="the host in any case"),
        pytest.param(NamedMember(ref="/v2/Users/1"), ANN, id="the path"),
        pytest.param(NamedMember(ref="../Users/1"), ANN, id="a relative reference"),
        pytest.param(NamedMember(ref="Users/1"), ANN, id="the endpoint alone"),
        pytest.param(NamedMember(ref="https://other.org/v2/Groups/1"), ANN, id="the location of others"),
        pytest.param(NamedMember(ref="../Groups/9"), ANN, id="the location of another id"),
    ],
)
def test_what_is_true_or_says_nothing_is_accepted(
    references: References, named: NamedMember, member: Member
) -> None:
    assert references.members(MEMBERS, {"1": [named]}) == [member]


@pytest.mark.parametrize(
    ("member_id", "named", "kind"),
    [
        ("9", NamedMember(), "User or Group"),
        ("9", NamedMember(type="user"), "User"),
        ("1", NamedMember(type="Group"), "Group"),
        ("1", NamedMember(type="Device"), "Device"),
        ("1", NamedMember(ref="../Groups/1"), "Group"),
        ("1", NamedMember(ref="Groups/1"), "Group"),
        ("1", NamedMember(ref="https://scim.example.com/v2/Groups/1"), "Group"),
        ("2", NamedMember(ref="/v2/Users/2"), "User"),
    ],
)
def test_what_is_no_such_resource_is_named(
    references: References, member_id: str, named: NamedMember, kind: str
) -> None:
    wanted = {"2" if member_id == "1" else "1": [NamedMember()], member_id: [named]}

    with pytest.raises(InvalidValue) as caught:
        references.members(MEMBERS, wanted)

    assert caught.value.detail == f"members[1].value: there is no {kind} with the id {member_id}"


def test_those_that_exist_are_told_from_those_that_do_not(references: References) -> None:
    said = {"9": NamedMember(), "2": NamedMember(), "8": NamedMember(type="User"), "1": NamedMember()}
    named = {member_id: [one] for member_id, one in said.items()}

    found, missing = references.existing(MEMBERS, named)

    assert found == [INNER, ANN]
    assert missing == {"9": "User or Group", "8": "User"}


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        (NamedMember(), None),
        (NamedMember(type="USER"), "User"),
        (NamedMember(type="Robot"), "Robot"),
        (NamedMember(type="Group", ref="../Users/1"), "Group"),
        (NamedMember(ref="../Users/1"), "User"),
        (NamedMember(ref="../Robots/1"), None),
    ],
)
def test_the_type_is_what_the_client_says(
    references: References, named: NamedMember, kind: str | None
) -> None:
    assert references.says(named, "1") == kind
