"""PATCH (RFC 7644 section 3.5.2): each example of the RFC, and what its text demands."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import GROUP, USER, ScimClient, error_of
from tests.events import payload, sets

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SRAM = "urn:mace:surf.nl:sram:scim:extension:User"


def patch(scim: ScimClient, resource: dict[str, Any], *operations: dict[str, Any], **headers: str) -> Any:
    body = {"schemas": [PATCH_OP], "Operations": list(operations)}
    return scim("PATCH", resource["meta"]["location"], body, headers=headers)


def patched(scim: ScimClient, resource: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    answer = patch(scim, resource, *operations)
    assert answer.status_code == 200, answer.text
    assert scim("GET", resource["meta"]["location"]).json == answer.json
    assert answer.headers["ETag"] == answer.json["meta"]["version"]
    result: dict[str, Any] = answer.json
    return result


def member_ids(group: dict[str, Any]) -> list[str]:
    return [member["value"] for member in group.get("members", ())]


ADDRESSES = [
    {"type": "work", "streetAddress": "100 Universal City Plaza", "locality": "Hollywood"},
    {"type": "home", "streetAddress": "456 Hollywood Blvd"},
]
EMAILS = [
    {"value": "bjensen@example.com", "type": "work", "primary": True},
    {"value": "babs@jensen.org", "type": "home"},
]


@pytest.fixture
def babs(scim: ScimClient) -> dict[str, Any]:
    name = {"givenName": "Barbara", "familyName": "Jensen"}
    enterprise = {"department": "Tour", "manager": {"value": "1"}}
    more = {ENTERPRISE: enterprise}
    return scim.user("bjensen", name=name, emails=EMAILS, addresses=ADDRESSES, active=True, **more)


# -- the examples of the RFC


def test_3_5_2_1_add_members_to_a_group(scim: ScimClient) -> None:
    user, group = scim.user("babs"), scim.group("Tour Guides")
    value = [{"display": "Babs Jensen", "$ref": f"https://x/v2/Users/{user['id']}", "value": user["id"]}]

    changed = patched(scim, group, {"op": "add", "path": "members", "value": value})

    assert member_ids(changed) == [user["id"]]
    assert changed["members"][0]["display"] == "Babs Jensen"


def test_3_5_2_1_add_without_path(scim: ScimClient, babs: dict[str, Any]) -> None:
    value = {"emails": [{"value": "babs@example.net", "type": "other"}], "nickname": "Babs"}

    changed = patched(scim, babs, {"op": "add", "value": value})

    assert changed["emails"] == [*EMAILS, {"value": "babs@example.net", "type": "other"}]
    assert changed["nickName"] == "Babs"


def test_3_5_2_2_remove_one_member(scim: ScimClient) -> None:
    first, second = scim.user("a")["id"], scim.user("b")["id"]
    group = scim.group("g", first, second)

    changed = patched(scim, group, {"op": "remove", "path": f'members[value eq "{first}"]'})

    assert member_ids(changed) == [second]


def test_3_5_2_2_remove_all_members(scim: ScimClient) -> None:
    group = scim.group("g", scim.user("a")["id"], scim.user("b")["id"])

    assert "members" not in patched(scim, group, {"op": "remove", "path": "members"})


def test_3_5_2_2_remove_by_two_conditions(scim: ScimClient, babs: dict[str, Any]) -> None:
    path = 'emails[type eq "work" and value ew "example.com"]'

    assert patched(scim, babs, {"op": "remove", "path": path})["emails"] == EMAILS[1:]


def test_3_5_2_2_remove_and_add_a_member_at_once(scim: ScimClient) -> None:
    first, second = scim.user("a")["id"], scim.user("b")["id"]
    group = scim.group("g", first)

    changed = patched(
        scim,
        group,
        {"op": "remove", "path": f'members[value eq "{first}"]'},
        {"op": "add", "path": "members", "value": [{"value": second}]},
    )

    assert member_ids(changed) == [second]


def test_3_5_2_3_replace_all_members(scim: ScimClient) -> None:
    first, second, third = (scim.user(name)["id"] for name in "abc")
    group = scim.group("g", first, second)
    value = [{"value": second}, {"value": third}]

    changed = patched(scim, group, {"op": "replace", "path": "members", "value": value})

    assert set(member_ids(changed)) == {second, third}


def test_3_5_2_3_replace_the_work_address(scim: ScimClient, babs: dict[str, Any]) -> None:
    work = {"type": "work", "streetAddress": "911 Universal City Plaza", "country": "US", "primary": True}

    changed = patched(scim, babs, {"op": "replace", "path": 'addresses[type eq "work"]', "value": work})

    assert changed["addresses"] == [work, ADDRESSES[1]]


def test_3_5_2_3_replace_a_sub_attribute_of_the_work_address(
    scim: ScimClient, babs: dict[str, Any]
) -> None:
    operation = {"op": "replace", "path": 'addresses[type eq "work"].streetAddress', "value": "1010 Broadway"}

    changed = patched(scim, babs, operation)

    assert changed["addresses"] == [{**ADDRESSES[0], "streetAddress": "1010 Broadway"}, ADDRESSES[1]]


def test_3_5_2_3_replace_without_path(scim: ScimClient, babs: dict[str, Any]) -> None:
    emails = [{"value": "bjensen@example.com", "type": "work", "primary": True}, {"value": "b@jensen.org"}]

    changed = patched(scim, babs, {"op": "replace", "value": {"emails": emails, "nickname": "Babs"}})

    assert (changed["emails"], changed["nickName"]) == (emails, "Babs")


# -- add


def test_add_replaces_a_single_value(scim: ScimClient, babs: dict[str, Any]) -> None:
    scim_name = {"op": "add", "path": "displayName", "value": "Babs"}

    assert patched(scim, babs, scim_name, {**scim_name, "value": "B"})["displayName"] == "B"


def test_add_merges_a_complex_value(scim: ScimClient, babs: dict[str, Any]) -> None:
    changed = patched(scim, babs, {"op": "add", "path": "name", "value": {"middleName": "Jane"}})

    assert changed["name"] == {"givenName": "Barbara", "familyName": "Jensen", "middleName": "Jane"}


def test_add_of_what_is_there_changes_nothing(scim: ScimClient, babs: dict[str, Any]) -> None:
    same = patched(
        scim,
        babs,
        {"op": "add", "path": "emails", "value": EMAILS[:1]},
        {"op": "replace", "path": "active", "value": True},
        {"op": "remove", "path": "nickName"},
    )

    assert same == babs


@pytest.mark.parametrize("count", [2, 3])
def test_values_that_share_a_part_are_still_different(scim: ScimClient, count: int) -> None:
    group = scim.group("g")
    ids = [scim.user(f"u{number}")["id"] for number in range(count)]
    operations = [
        {"op": "add", "path": "members", "value": [{"value": member_id, "type": "User"}]} for member_id in ids
    ]
    user = scim.user("x", emails=[{"value": "a@x", "type": "work"}])

    assert member_ids(patched(scim, group, *operations)) == ids
    second = {"op": "add", "path": "emails", "value": [{"value": "b@x", "type": "work"}]}
    assert [email["value"] for email in patched(scim, user, second)["emails"]] == ["a@x", "b@x"]


def test_a_new_primary_value_takes_over(scim: ScimClient, babs: dict[str, Any]) -> None:
    value = [{"value": "new@x", "primary": True}]

    added = patched(scim, babs, {"op": "add", "path": "emails", "value": value})
    home = {"op": "replace", "path": 'emails[type eq "home"].primary', "value": True}
    replaced = patched(scim, added, home)

    assert [email.get("primary") for email in added["emails"]] == [False, None, True]
    assert [email.get("primary") for email in replaced["emails"]] == [False, True, False]


def test_add_through_a_value_path_makes_the_element(scim: ScimClient) -> None:
    user = scim.user("a")

    changed = patched(scim, user, {"op": "add", "path": 'emails[type eq "work"].value', "value": "a@x"})

    assert changed["emails"] == [{"type": "work", "value": "a@x"}]


# -- replace


def test_replace_of_what_is_missing_adds_it(scim: ScimClient) -> None:
    changed = patched(
        scim,
        scim.user("a"),
        {"op": "replace", "path": "name.familyName", "value": "J"},
        {"op": "replace", "path": f"{ENTERPRISE}:manager", "value": {"value": "7"}},
        {"op": "replace", "path": "emails", "value": [{"value": "a@x"}]},
        {"op": "replace", "path": "title", "value": "T"},
    )

    assert changed["name"] == {"familyName": "J"}
    assert changed[ENTERPRISE] == {"manager": {"value": "7"}}
    assert changed["schemas"] == [USER, ENTERPRISE]
    assert (changed["emails"], changed["title"]) == ([{"value": "a@x"}], "T")


def test_replace_by_null_removes(scim: ScimClient, babs: dict[str, Any]) -> None:
    changed = patched(
        scim,
        babs,
        {"op": "replace", "path": "emails", "value": None},
        {"op": "replace", "path": "name", "value": {"givenName": None, "middleName": "J"}},
    )

    assert "emails" not in changed
    assert changed["name"] == {"familyName": "Jensen", "middleName": "J"}


@pytest.mark.parametrize(
    "path", ['emails[type eq "fax"].value', 'emails[type eq "fax"]', 'members[value eq "x"]']
)
def test_replace_of_what_no_filter_finds_has_no_target(
    make_scim: Callable[..., ScimClient], path: str
) -> None:
    scim = make_scim(PROFILE="strict")
    target = scim.group("g") if path.startswith("members") else scim.user("a", emails=EMAILS)

    error_of(patch(scim, target, {"op": "replace", "path": path, "value": "x"}), 400, "noTarget")


# -- remove


def test_remove_of_parts(scim: ScimClient, babs: dict[str, Any]) -> None:
    changed = patched(
        scim,
        babs,
        {"op": "remove", "path": "name.familyName"},
        {"op": "remove", "path": 'emails[type eq "work"].primary'},
        {"op": "remove", "path": "addresses.locality"},
        {"op": "remove", "path": f"{ENTERPRISE}:manager"},
    )

    assert changed["name"] == {"givenName": "Barbara"}
    assert changed["emails"][0] == {"value": "bjensen@example.com", "type": "work"}
    assert "locality" not in changed["addresses"][0]
    assert changed[ENTERPRISE] == {"department": "Tour"}


def test_remove_of_a_whole_extension(scim: ScimClient, babs: dict[str, Any]) -> None:
    changed = patched(scim, babs, {"op": "remove", "path": ENTERPRISE})

    assert ENTERPRISE not in changed and changed["schemas"] == [USER]


def test_removing_the_last_value_unassigns_the_attribute(scim: ScimClient, babs: dict[str, Any]) -> None:
    changed = patched(scim, babs, {"op": "remove", "path": "emails[value pr]"})

    assert "emails" not in changed


def test_remove_of_members_that_are_none_is_no_error(scim: ScimClient) -> None:
    group = scim.group("g")

    assert patched(scim, group, {"op": "remove", "path": 'members[value eq "zzz"]'}) == group


def test_members_are_removed_by_any_filter(scim: ScimClient) -> None:
    user, inner = scim.user("a"), scim.group("inner")
    group = scim.group("g", user["id"], inner["id"])

    changed = patched(scim, group, {"op": "remove", "path": 'members[type eq "Group" or display eq "zz"]'})

    assert member_ids(changed) == [user["id"]]


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_simple_values_are_selected_by_their_value(
    make_scim: Callable[..., ScimClient], profile: str
) -> None:
    urn, scim = "urn:mace:surf.nl:sram:scim:extension:Group", make_scim(PROFILE=profile)
    labels = f"{urn}:labels"
    group = scim.group("g", schemas=[GROUP, urn], **{urn: {"labels": ["red", "green", "blue", "grey"]}})

    removed = patched(scim, group, {"op": "remove", "path": f'{labels}[value eq "RED"]'})
    replaced = patched(scim, group, {"op": "replace", "path": f'{labels}[value eq "blue"]', "value": "black"})
    both = patched(scim, group, {"op": "remove", "path": f'{labels}[value sw "gr" and not (value ew "y")]'})
    last = patched(
        scim,
        group,
        {"op": "replace", "path": f'{labels}[value eq "grey"].value', "value": "white"},
        {"op": "add", "path": f"{labels}.value", "value": ["grey", "white"]},
        {"op": "remove", "path": f'{labels}[value eq "grey" or value eq "black"]'},
    )
    none = patched(scim, group, {"op": "remove", "path": f"{labels}[value pr]"})

    assert removed[urn]["labels"] == ["green", "blue", "grey"]
    assert replaced[urn]["labels"] == ["green", "black", "grey"]
    assert both[urn]["labels"] == ["black", "grey"]
    assert last[urn]["labels"] == ["white"]
    assert urn not in none and none["schemas"] == [GROUP]
    for path, scim_type in (
        (f'{labels}[value eq "red"]', "noTarget"),
        (f"{labels}[colour eq 1]", "invalidFilter"),
        (f"{labels}[value pr].colour", "invalidPath"),
        (f"{labels}.colour", "invalidPath"),
        ('displayName[value eq "g"]', "invalidPath"),
        ("displayName.value", "invalidPath"),
    ):
        error_of(patch(scim, group, {"op": "replace", "path": path, "value": "x"}), 400, scim_type)


# -- extensions and URNs


def test_urn_qualified_paths(scim: ScimClient, babs: dict[str, Any]) -> None:
    changed = patched(
        scim,
        babs,
        {"op": "replace", "path": f"{USER}:name.familyName", "value": "J"},
        {"op": "replace", "path": f"{SRAM}:eduPersonUniqueId", "value": "x@y"},
        {"op": "replace", "path": f"{ENTERPRISE.upper()}:DEPARTMENT", "value": "Sales"},
        {"op": "add", "value": {SRAM: {"sramInactiveDays": 3}, f"{ENTERPRISE}:division": "D"}},
        {"op": "replace", "path": "DISPLAYNAME", "value": "B"},
    )

    assert changed["name"]["familyName"] == "J" and changed["displayName"] == "B"
    assert changed[SRAM] == {"eduPersonUniqueId": "x@y", "sramInactiveDays": 3}
    assert changed[ENTERPRISE] == {"department": "Sales", "manager": {"value": "1"}, "division": "D"}
    assert changed["schemas"] == [USER, ENTERPRISE, SRAM]


# -- errors


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "remove"}, "noTarget"),
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "replace", "path": "userName", "value": ""}, "invalidValue"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "meta.version", "value": "x"}, "mutability"),
        ({"op": "add", "path": "groups", "value": [{"value": "x"}]}, "mutability"),
        ({"op": "remove", "path": "schemas"}, "mutability"),
        ({"op": "replace", "path": "emails[", "value": 43}, "invalidPath"),
        ({"op": "replace", "path": 'emails[shoe eq "x"]', "value": 43}, "invalidFilter"),
        ({"op": "remove", "path": 'emails[type eq "work" and].value'}, "invalidFilter"),
        ({"op": "add", "path": "emails[primary gt true].value", "value": "x"}, "invalidFilter"),
        ({"op": "replace", "path": 'title[value eq "x"]', "value": 43}, "invalidPath"),
        ({"op": "replace", "path": 7, "value": 43}, "invalidPath"),
        ({"op": "replace", "path": "active", "value": "maybe"}, "invalidValue"),
        ({"op": "replace", "path": "title"}, "invalidValue"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ({"op": "replace", "value": {"emails": "x"}}, "invalidValue"),
        (
            {"op": "add", "path": "emails", "value": [{"primary": True}, {"value": "x", "primary": True}]},
            "invalidValue",
        ),
        ({"op": "replace", "path": "emails.primary", "value": True}, "invalidValue"),
        ({"op": "move", "path": "title", "value": "x"}, "invalidSyntax"),
        ("move", "invalidSyntax"),
    ],
)
def test_an_operation_that_cannot_be_done_changes_nothing(
    scim: ScimClient, babs: dict[str, Any], operation: Any, scim_type: str
) -> None:
    first = {"op": "replace", "path": "title", "value": "changed"}

    detail = error_of(patch(scim, babs, first, operation), 400, scim_type)

    assert detail.startswith("Operations[1]") or "is required" in detail
    assert scim("GET", babs["meta"]["location"]).json == babs


@pytest.mark.parametrize("body", [{}, {"Operations": None}, {"schemas": [PATCH_OP], "Operations": {}}])
def test_a_body_that_is_no_patch_is_refused(scim: ScimClient, body: dict[str, Any]) -> None:
    error_of(scim("PATCH", scim.user("a")["meta"]["location"], body), 400, "invalidSyntax")


def test_immutable_parts_of_members_stay(scim: ScimClient) -> None:
    user, other = scim.user("a")["id"], scim.user("b")["id"]
    group = scim.group("g", user)

    for name, value in (("value", other), ("display", "x"), ("type", "Group")):
        operation = {"op": "replace", "path": f'members[value eq "{user}"].{name}', "value": value}
        error_of(patch(scim, group, operation), 400, "mutability")
    assert scim("GET", group["meta"]["location"]).json == group


def test_unknown_members_are_refused(scim: ScimClient) -> None:
    group = scim.group("g")
    operation = {"op": "add", "path": "members", "value": [{"value": "no"}]}

    error_of(patch(scim, group, operation), 400, "invalidValue")

    assert scim("GET", group["meta"]["location"]).json == group


def test_uniqueness_holds(scim: ScimClient) -> None:
    scim.user("a")
    other = scim.user("b")

    error_of(patch(scim, other, {"op": "replace", "path": "userName", "value": "A"}), 409, "uniqueness")

    assert scim("GET", other["meta"]["location"]).json == other


def test_conditions(scim: ScimClient, babs: dict[str, Any]) -> None:
    operation = {"op": "replace", "path": "title", "value": "x"}

    error_of(patch(scim, babs, operation, **{"If-Match": 'W/"0"'}), 412)
    assert patch(scim, babs, operation, **{"If-Match": babs["meta"]["version"]}).status_code == 200
    error_of(patch(scim, babs, operation, **{"If-Match": babs["meta"]["version"]}), 412)


def test_a_password_is_set_and_removed(polled: ScimClient) -> None:
    operations = [{"op": "replace", "path": "password", "value": "t1meMa$heen"}] * 2
    operations += [{"op": "remove", "path": "password"}] * 2
    users = [polled.user("bjensen")]

    for operation in operations:
        users.append(patched(polled, users[-1], operation))

    assert not any("password" in user for user in users)
    none, first, again, gone, still = (user["meta"]["version"] for user in users)
    assert first == again and gone == still and len({none, first, gone}) == 3
    assert [payload(one)["attributes"] for one in sets(polled)[1:]] == [["password"]] * 2


def test_the_answer_follows_the_projection(scim: ScimClient, babs: dict[str, Any]) -> None:
    body = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "title", "value": "x"}]}

    answer = scim("PATCH", f"{babs['meta']['location']}?attributes=title", body)

    assert set(answer.json) == {"schemas", "id", "title"}


def test_a_large_group_is_not_repeated_in_the_answer(scim: ScimClient) -> None:
    group = scim.group("g", *[scim.user(f"u{number}")["id"] for number in range(101)])
    newcomer = scim.user("new")["id"]
    operation = {"op": "add", "path": "members", "value": [{"value": newcomer}]}

    answer = patch(scim, group, operation)

    assert (answer.status_code, answer.data) == (204, b"")
    read = scim("GET", group["meta"]["location"])
    assert read.headers["ETag"] == answer.headers["ETag"]
    assert member_ids(read.json)[-1] == newcomer


def test_concurrent_patches_all_take_effect(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim()
    group = scim.group("g")
    ids = [scim.user(f"u{number}")["id"] for number in range(16)]
    statuses: list[int] = []

    def add(member_id: str) -> None:
        operation = {"op": "add", "path": "members", "value": [{"value": member_id}]}
        statuses.append(patch(scim, group, operation).status_code)

    threads = [threading.Thread(target=add, args=(member_id,)) for member_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 16
    assert set(member_ids(scim("GET", group["meta"]["location"]).json)) == set(ids)


def test_of_concurrent_conditional_changes_one_wins(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim()
    user = scim.user("a")
    statuses: list[int] = []

    def change(title: str) -> None:
        operation = {"op": "replace", "path": "title", "value": title}
        statuses.append(patch(scim, user, operation, **{"If-Match": user["meta"]["version"]}).status_code)

    threads = [threading.Thread(target=change, args=(str(number),)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] + [412] * 11


@pytest.mark.parametrize(
    "operation,left",
    [
        ({"op": "remove", "path": "emails[primary eq false]"}, ["a@x"]),
        ({"op": "remove", "path": 'emails[primary eq "False" and type eq "home"]'}, ["a@x", "c@x"]),
        ({"op": "remove", "path": "emails[primary ne false]"}, ["b@x", "c@x"]),
        ({"op": "remove", "path": "emails[not (primary eq false)]"}, ["b@x", "c@x"]),
        ({"op": "replace", "path": "emails[primary eq false].value", "value": "d@x"}, ["a@x", "d@x", "d@x"]),
        ({"op": "add", "path": 'emails[primary eq false and type eq "new"].value', "value": "n@x"}, None),
    ],
)
def test_a_value_without_primary_is_not_primary(
    scim: ScimClient, operation: dict[str, Any], left: list[str] | None
) -> None:
    emails = [{"value": "a@x", "primary": True}, {"value": "b@x", "type": "home"}]
    user = scim.user("anna", emails=[*emails, {"value": "c@x", "primary": False}])

    changed = patched(scim, user, operation)["emails"]

    assert left is None or [email["value"] for email in changed] == left
    if left is None:
        assert changed[-1] == {"value": "n@x", "type": "new", "primary": False}
