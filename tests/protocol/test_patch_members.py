"""What a PATCH says of the members of a group: who joins, who leaves, and when they are read."""

from typing import Any

import pytest

from app.protocol.patch import PatchRules, RequestedMembers, named_ids, plan_patch, read_operations
from app.protocol.references import NamedMember
from schema import urns
from schema.errors import InvalidValue, Mutability, NoTarget, ScimError
from tests.protocol.samples import (
    BOTH,
    DEFAULT,
    GROUP,
    STRICT,
    USER,
    add,
    members_read,
    no_members,
    patched,
    remove,
    replace,
)

GUIDES = {"schemas": [urns.GROUP], "id": "g", "displayName": "Tour Guides"}
# The members there are, for what must read them.
BABS = {"value": "1", "type": "User", "display": "Babs Jensen"}
MANDY = {"value": "2", "type": "User", "display": "Mandy Pepperidge"}
INNER = {"value": "3", "type": "Group", "display": "Inner"}


def delta(
    operations: list[dict[str, Any]], changes: RequestedMembers, profile: Any = DEFAULT
) -> tuple[bool, list[str], list[str]]:
    """Return whether all members left, the ids of those that join, and of those that leave."""
    after = patched(GUIDES, operations, GROUP, profile, changes).resource
    assert after == GUIDES
    return changes.cleared, list(changes.added), list(changes.removed)


def case(operations: list[dict[str, Any]], joined: str, left: str, name: str, cleared: bool = False) -> Any:
    return pytest.param(operations, cleared, joined.split(), left.split(), id=name)


UNREAD = [
    case([add("members", [{"value": "a"}, {"value": "b"}])], "a b", "", "add: several"),
    case([add("members", {"value": "a"})], "a", "", "add: one alone"),
    case([add("members", [{"value": "a"}, {"value": "a"}])], "a", "", "add: one twice"),
    case([add("members", [{"$ref": "https://x/v2/Users/a"}])], "a", "", "add: by its $ref"),
    case([add(None, {"members": [{"value": "a"}]})], "a", "", "add: without path"),
    case([add("members", None)], "", "", "add: null"),
    case([add("members.value", "a")], "a", "", "add: by the path of the ids"),
    case([replace("members", [{"value": "a"}])], "a", "", "replace: all others leave", True),
    case([replace("members", [])], "", "", "replace: by nobody", True),
    case([replace(None, {"members": [{"value": "a"}]})], "a", "", "replace: without path", True),
    case([remove("members")], "", "", "remove: all", True),
    case([remove('members[value eq "1"]')], "", "1", "remove: by id"),
    case([remove('members[value eq "nobody"]')], "", "nobody", "remove: an id of none"),
    case([add("members", [{"value": "a"}]), remove('members[value eq "a"]')], "", "a", "join, then leave"),
    case([remove('members[value eq "a"]'), add("members", [{"value": "a"}])], "a", "", "leave, then join"),
    case([remove("members"), add("members", [{"value": "a"}])], "a", "", "all leave, one joins", True),
    case([add("members", [{"value": "a"}]), remove("members")], "", "", "one joins, all leave", True),
    case([remove("members"), remove('members[value eq "1"]')], "", "", "who has left leaves once", True),
]


@pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])
@pytest.mark.parametrize(("operations", "cleared", "joined", "left"), UNREAD)
def test_members_are_changed_without_reading_them(
    profile: Any, operations: list[dict[str, Any]], cleared: bool, joined: list[str], left: list[str]
) -> None:
    assert delta(operations, RequestedMembers(no_members), profile) == (cleared, joined, left)


@pytest.mark.parametrize(
    ("operations", "cleared", "joined", "left"),
    [
        case([remove("members", [{"value": "1"}, {"value": "2"}])], "", "1 2", "a list"),
        case([remove("members", {"value": "1"})], "", "1", "one alone"),
        case([remove("members", None)], "", "", "null is no value", True),
        case([remove("members", [])], "", "", "an empty list is nobody"),
        case([remove("members", "")], "", "", "an empty text is nobody"),
        case([remove("members", [{"value": ""}])], "", "", "an empty id is nobody"),
        case([remove('members[value eq "1"]', [])], "", "", "an empty list beside a filter"),
        case([remove("members.value", ["1"])], "", "1", "ids by their path"),
        case([add('members[value eq "a"]', {"display": "A"})], "a", "", "add makes what the filter names"),
        case([add("members", "a")], "a", "", "an id alone"),
    ],
)
def test_the_default_profile_understands_members_sent_otherwise(
    operations: list[dict[str, Any]], cleared: bool, joined: list[str], left: list[str]
) -> None:
    assert delta(operations, members_read()) == (cleared, joined, left)


@pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])
@pytest.mark.parametrize(
    ("operations", "cleared", "joined", "left"),
    [
        case([remove('members[type eq "User"]')], "", "1 2", "by type"),
        case([remove('members[display sw "mandy"]')], "", "2", "by display, in any case"),
        case([remove('members[value eq "1" and type eq "User"]')], "", "1", "by id and type"),
        case([remove('members[value eq "1" and type eq "Group"]')], "", "", "by id and another type"),
        case([remove('members[value eq "1" or value eq "3"]')], "", "1 3", "by two ids"),
        case([remove('members[not (type eq "User")]')], "", "3", "by what they are not"),
        case([replace('members[value eq "1"]', {"value": "a"})], "a", "1", "replaced by another"),
        case([remove("members"), remove("members[type pr]")], "", "", "nobody is left", True),
        case(
            [add("members", [{"value": "a"}]), remove('members[value eq "a" or value eq "2"]')],
            *("", "a 2", "who has just joined"),
        ),
        case(
            [remove('members[value eq "1"]'), remove('members[type eq "User"]')],
            "",
            "1 2",
            "who has just left",
        ),
    ],
)
def test_filters_are_evaluated_on_the_members_so_far(
    profile: Any, operations: list[dict[str, Any]], cleared: bool, joined: list[str], left: list[str]
) -> None:
    found = delta(operations, members_read(BABS, MANDY, INNER), profile)

    assert (found[0], found[1], set(found[2])) == (cleared, joined, set(left))


USER_1, GROUP_1 = {"value": "1", "type": "User"}, {"value": "1", "type": "Group"}
ONE, ONE_GROUP = remove('members[value eq "1"]'), remove('members[value eq "1" and type eq "Group"]')


@pytest.mark.parametrize(
    ("operations", "joined", "left"),
    [
        ([add("members", [USER_1, GROUP_1])], "User Group", ""),
        ([add("members", USER_1), add("members", GROUP_1)], "User Group", ""),
        ([add("members", {"value": "1"}), add("members", GROUP_1)], "Group", ""),
        ([ONE], "", "User Group"),
        ([ONE_GROUP], "", "Group"),
        ([ONE, add("members", GROUP_1)], "Group", "User Group"),
        ([ONE_GROUP, add("members", USER_1)], "User", "Group"),
        ([ONE_GROUP, ONE], "", "User Group"),
        ([add("members", [USER_1, GROUP_1]), ONE], "", "User Group"),
        ([add("members", [USER_1, GROUP_1]), ONE_GROUP], "User", "Group"),
        ([ONE, add("members", [USER_1, GROUP_1]), ONE_GROUP], "User", "User Group"),
        ([remove("members", [GROUP_1])], "", "Group"),
        ([replace("members", [GROUP_1])], "Group", ""),
        ([replace("members", [USER_1, GROUP_1]), ONE_GROUP], "User", ""),
        ([remove('members[type eq "Group"]'), add("members", GROUP_1), ONE_GROUP], "", "Group"),
    ],
)
def test_members_of_one_id_join_and_leave_by_type(
    operations: list[dict[str, Any]], joined: str, left: str
) -> None:
    changes = members_read(USER_1, GROUP_1, MANDY)

    patched(GUIDES, operations, GROUP, members=changes)

    assert [one.type for one in changes.added.get("1", ())] == joined.split()
    assert [name for name in ("User", "Group") if changes.leaves("1", name)] == left.split()
    assert changes.replaced == ({"1"} if joined and left else set())
    assert not any(changes.leaves("2", name) for name in ("User", "Group"))


@pytest.mark.parametrize(
    ("element", "named"),
    [
        ({"value": "a"}, NamedMember()),
        ({"value": "a", "display": "A", "type": "user"}, NamedMember("A", "user")),
        ({"value": "a", "$ref": "../Users/a/"}, NamedMember(ref="../Users/a")),
    ],
)
def test_what_a_client_says_of_a_member_is_passed_on(element: dict[str, Any], named: NamedMember) -> None:
    changes = RequestedMembers(no_members)

    patched(GUIDES, [add("members", [element])], GROUP, members=changes)

    assert changes.added == {"a": (named,)}


@pytest.mark.parametrize(
    ("operation", "profile", "error", "detail"),
    [
        (replace('members[value eq "a"]', {"value": "b"}), DEFAULT, NoTarget, "members: no value matches"),
        (add('members[value eq "a"]', {"display": "A"}), STRICT, NoTarget, "members: no value matches"),
        (replace("members.display", "x"), DEFAULT, Mutability, "members.display: is immutable"),
        (replace('members[value eq "1"].value', "x"), DEFAULT, Mutability, "members.value: is immutable"),
        (remove('members[value eq "1"].display'), DEFAULT, Mutability, "members.display: is immutable"),
        (add("members", [{"display": "A"}]), DEFAULT, InvalidValue, "members[0].value: is required"),
        (add("members", [{"value": "a"}, {"value": 7}]), DEFAULT, InvalidValue, "members[1].value: must be"),
        (add("members", "a"), STRICT, InvalidValue, "members[0]: must be an object"),
        (remove("members", [{"value": "1"}]), STRICT, InvalidValue, "is not allowed with remove"),
    ],
)
def test_members_that_cannot_be_changed_so_are_refused(
    operation: dict[str, Any], profile: Any, error: type[ScimError], detail: str
) -> None:
    with pytest.raises(error) as caught:
        patched(GUIDES, [operation], GROUP, profile, members_read(BABS))

    assert caught.value.detail.startswith("Operations[0]") and detail in caught.value.detail


ELEMENTS = [{**one, "$ref": f"/{one['type']}s/{one['value']}"} for one in (BABS, MANDY, INNER)]
LATER = [{**BABS, "value": "a", "$ref": "/Users/a"}, {**MANDY, "value": "b", "$ref": "/Users/b"}]


@pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])
@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ('$ref eq "/Users/1"', "1"),
        ('$ref ew "/2" or $ref eq "/Groups/3"', "2 3"),
        ("$ref pr", "1 2 3 a b"),
        ('$ref sw "/Groups/"', "3"),
        ('$ref eq "/Users/a"', "a"),
        ('display eq "Babs Jensen"', "1 a"),
        ('display eq "Renamed"', ""),
        ('type eq "User"', "1 2 a b"),
    ],
)
def test_filters_find_members_that_joined_as_a_get_shows_them(
    profile: Any, condition: str, left: str
) -> None:
    asked: list[str] = []

    def joining(named: Any) -> Any:
        asked.extend(named)
        return [one for one in LATER if one["value"] in named]

    changes = RequestedMembers(lambda: (dict(one) for one in ELEMENTS), joining)
    operations = [
        add("members", [{"value": "a"}, {"value": "b"}, {"value": "1"}]),
        remove(f"members[{condition}]"),
        remove('members[type eq "none"]'),
    ]

    patched(GUIDES, operations, GROUP, profile, changes)

    assert set(changes.removed) == set(left.split())
    assert asked == ["a", "b"]


def test_a_display_that_a_client_gives_a_member_is_found() -> None:
    changes = members_read(BABS, MANDY)

    patched(
        GUIDES,
        [
            add("members", [{"value": "1", "display": "New"}]),
            remove('members[display eq "Babs Jensen"]'),
            remove('members[display eq "Mandy Pepperidge"]'),
        ],
        GROUP,
        members=changes,
    )

    assert list(changes.added) == ["1"] and changes.removed == ["2"]


@pytest.mark.parametrize(
    ("location", "left"), [("/Users/1", "1"), ("/Users/nobody", "nobody"), ("x", ""), ("/Users/", "")]
)
def test_a_member_is_removed_by_its_location_without_reading_others(location: str, left: str) -> None:
    def located(text: str) -> Any:
        member_id = text.removeprefix("/Users/")
        return ("User", member_id) if member_id not in ("", text) else None

    changes = RequestedMembers(no_members, located=located)

    patched(GUIDES, [remove(f'members[$ref eq "{location}"]')], GROUP, STRICT, changes)

    assert list(changes.removed) == left.split()
    assert not changes.leaves(left, "Group")


def test_a_group_keeps_members_apart_from_its_attributes() -> None:
    changes = RequestedMembers(no_members)
    value = {"displayName": "Guides", "members": [{"value": "a"}]}

    after = patched(GUIDES, [replace(None, value)], GROUP, members=changes).resource

    assert after == {**GUIDES, "displayName": "Guides"} and list(changes.added) == ["a"]


@pytest.mark.parametrize(
    ("operations", "named"),
    [
        ([add("members", [{"value": "a"}, {"value": "b"}]), add("members", {"value": "a"})], "a b"),
        ([remove("members", [{"value": "a"}]), remove('members[value eq "b"]')], "a b"),
        ([remove('members[value eq "a" and type eq "User"]')], "a"),
        ([replace(None, {"displayName": "H", "members": [{"value": "a"}]})], "a"),
        ([add("members.value", ["a", "b"])], "a b"),
        ([remove("members"), remove('members[display eq "Babs"]'), replace("displayName", "H")], ""),
        ([add("members", [{"display": "Babs"}, 7]), replace(None, {"displayName": "H"})], ""),
    ],
)
def test_ids_are_known_before_the_group_is(operations: list[dict[str, Any]], named: str) -> None:
    body = {"schemas": [urns.PATCH_OP], "Operations": operations}

    plan = plan_patch(PatchRules(GROUP, DEFAULT), read_operations(body, DEFAULT))

    assert named_ids(plan) == named.split()


def test_a_patch_of_a_user_names_no_members() -> None:
    body = {"schemas": [urns.PATCH_OP], "Operations": [replace("emails", [{"value": "a"}])]}

    assert named_ids(plan_patch(PatchRules(USER, DEFAULT), read_operations(body, DEFAULT))) == []
