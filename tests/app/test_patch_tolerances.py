"""PATCH as clients send it: what the default profile makes of it, and that strict refuses it."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.app.test_patch import ENTERPRISE, PATCH_OP, member_ids, patch, patched
from tests.conftest import USER, ScimClient, error_of
from tests.events import BULK, sets

# These backends keep values in different ways.
pytestmark = pytest.mark.on("sqlite", "mongodb", "ldap")

EMAILS = [
    {"value": "a@x", "type": "work", "primary": True},
    {"value": "b@x", "type": "home", "display": "B"},
]
TITLE = {"op": "replace", "path": "title", "value": "changed"}
ASYNC = {"ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
HOLLOW = ["", {}, 0, False, [], [None], [{}], [""], [[]]]
HOLLOW += [[{"value": None}], [{"$ref": None}], [{"value": ""}]]


@pytest.fixture
def strict(make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim(PROFILE="strict")


def carried_out(scim: ScimClient, way: str, where: str, *operations: dict[str, Any]) -> int:
    """Send a PATCH by itself, in a Bulk request or to be carried out later; return its status."""
    body = {"schemas": [PATCH_OP], "Operations": list(operations)}
    if way == "bulk":
        one = {"method": "PATCH", "path": where, "data": body}
        answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": [one]})
        return int(answer.json["Operations"][0]["status"])
    answer = scim("PATCH", where, body, {"Prefer": "respond-async"} if way == "later" else {})
    if answer.status_code != 202:
        return int(answer.status_code)
    scim.work()
    return int(scim("GET", answer.headers["Location"]).json["status"])


# -- remove with a value


@pytest.mark.parametrize("path", ["members", "members.value"])
@pytest.mark.parametrize("value", HOLLOW, ids=repr)
def test_an_empty_value_removes_no_member(scim: ScimClient, path: str, value: Any) -> None:
    group = scim.group("g", scim.user("a")["id"], scim.user("b")["id"])

    assert patched(scim, group, {"op": "remove", "path": path, "value": value}) == group


@pytest.mark.parametrize(
    "path", ["emails", "emails.type", 'emails[type eq "work"]', 'emails[type eq "work"].primary']
)
@pytest.mark.parametrize("value", HOLLOW, ids=repr)
def test_an_empty_value_removes_no_element(scim: ScimClient, path: str, value: Any) -> None:
    user = scim.user("a", emails=EMAILS)

    assert patched(scim, user, {"op": "remove", "path": path, "value": value}) == user


@pytest.mark.parametrize("way", ["bulk", "later"])
def test_an_empty_value_removes_nobody_in_bulk_and_later(
    make_scim: Callable[..., ScimClient], way: str
) -> None:
    scim = make_scim(**ASYNC)
    group = scim.group("g", scim.user("a")["id"])
    where = group["meta"]["location"]

    assert carried_out(scim, way, where, {"op": "remove", "path": "members", "value": []}) == 200

    assert scim("GET", where).json == group


def test_null_is_as_good_as_no_value(scim: ScimClient) -> None:
    group = scim.group("g", scim.user("a")["id"])

    assert "members" not in patched(scim, group, {"op": "remove", "path": "members", "value": None})


@pytest.mark.parametrize("value", ["", [], [{}], [{"value": "a@x"}], "a@x"], ids=repr)
@pytest.mark.parametrize("path", ["emails", 'emails[type eq "work"]', "title"])
def test_a_strict_remove_has_no_value(strict: ScimClient, path: str, value: Any) -> None:
    user = strict.user("a", emails=EMAILS, title="T")

    error_of(patch(strict, user, {"op": "remove", "path": path, "value": value}), 400, "invalidValue")

    assert strict("GET", user["meta"]["location"]).json == user


@pytest.mark.parametrize(
    "value",
    [
        [{"Value": "a@x"}],
        [{"VALUE": "A@X", "TYPE": "WORK"}],
        {"value": "A@x", "$ref": None, "display": None},
        [{"primary": True}],
        [{"primary": "True"}],
        ["A@X"],
        "a@x",
        [{"type": "work", "nosuch": "z"}],
    ],
    ids=repr,
)
def test_remove_by_value_compares_as_a_filter_does(scim: ScimClient, value: Any) -> None:
    user = scim.user("a", emails=EMAILS)

    changed = patched(scim, user, {"op": "remove", "path": "emails", "value": value})

    assert changed["emails"] == EMAILS[1:]


def test_remove_by_value_spares_what_it_does_not_describe(scim: ScimClient) -> None:
    user = scim.user("a", emails=EMAILS)
    value = [{"value": "a@x", "type": "home"}, {"value": "c@x"}]

    assert patched(scim, user, {"op": "remove", "path": "emails", "value": value}) == user


def test_members_are_removed_by_ids_as_they_are(scim: ScimClient) -> None:
    first, second = scim.user("a")["id"], scim.user("b")["id"]
    group = scim.group("g", first, second)

    changed = patched(scim, group, {"op": "remove", "path": "members", "value": [{"Value": first}]})

    assert member_ids(changed) == [second]


@pytest.mark.parametrize("path", ["members", "emails"])
def test_to_remove_what_has_unknown_keys_only_is_refused(scim: ScimClient, path: str) -> None:
    target = scim.user("a", emails=EMAILS) if path == "emails" else scim.group("g", scim.user("a")["id"])
    operation = {"op": "remove", "path": path, "value": [{"number": "3"}]}

    detail = error_of(patch(scim, target, operation), 400, "invalidValue")

    assert "number" in detail
    assert scim("GET", target["meta"]["location"]).json == target


def test_a_removed_sub_attribute_leaves_the_rest(scim: ScimClient) -> None:
    user = scim.user("a", emails=EMAILS)

    changed = patched(scim, user, {"op": "remove", "path": 'emails[type eq "home"].value'})

    assert changed["emails"] == [EMAILS[0], {"type": "home", "display": "B"}]


def test_a_sub_attribute_goes_where_it_has_the_value(scim: ScimClient) -> None:
    user = scim.user("a", emails=EMAILS)

    changed = patched(scim, user, {"op": "remove", "path": "emails.type", "value": ["WORK"]})

    assert changed["emails"] == [{"value": "a@x", "primary": True}, EMAILS[1]]


def test_a_single_value_is_removed_whatever_comes_along(scim: ScimClient) -> None:
    user = scim.user("a", title="T", **{ENTERPRISE: {"manager": {"value": "1"}}})

    changed = patched(
        scim,
        user,
        {"op": "remove", "path": "title", "value": ""},
        {"op": "remove", "path": f"{ENTERPRISE}:manager", "value": ""},
    )

    assert "title" not in changed and ENTERPRISE not in changed


# -- replace through a filter that selects nothing

IM = {"type": "xmpp", "primary": True, "value": "i"}
MADE = [
    ('phoneNumbers[type eq "work"].value', "1", "phoneNumbers", {"type": "work", "value": "1"}),
    ('emails[type eq "work"].value', "a@x", "emails", {"type": "work", "value": "a@x"}),
    ('roles[primary eq "True"].value', "Admin", "roles", {"primary": True, "value": "Admin"}),
    ('addresses[type eq "work"].locality', "L", "addresses", {"type": "work", "locality": "L"}),
    ('ims[type eq "xmpp" and primary eq true].value', "i", "ims", IM),
]


@pytest.mark.parametrize(("path", "value", "name", "element"), MADE)
@pytest.mark.parametrize("with_path", [True, False])
def test_replace_makes_the_element_that_its_filter_describes(
    scim: ScimClient, path: str, value: str, name: str, element: dict[str, Any], with_path: bool
) -> None:
    operation = {"op": "Replace", "path": path, "value": value}
    if not with_path:
        operation = {"op": "Replace", "value": {path: value, "active": "False"}}

    changed = patched(scim, scim.user("a"), {"op": "Replace", "path": "active", "value": "False"}, operation)

    assert changed[name] == [element] and changed["active"] is False


@pytest.mark.parametrize("way", ["bulk", "later"])
def test_replace_makes_the_element_in_bulk_and_later(make_scim: Callable[..., ScimClient], way: str) -> None:
    scim = make_scim(**ASYNC)
    where = scim.user("a", emails=EMAILS[1:])["meta"]["location"]
    operation = {"op": "replace", "path": 'emails[type eq "work"].value', "value": "n@x"}

    assert carried_out(scim, way, where, operation) == 200

    assert scim("GET", where).json["emails"] == [EMAILS[1], {"type": "work", "value": "n@x"}]


@pytest.mark.parametrize("with_path", [True, False])
@pytest.mark.parametrize(
    "path",
    [
        'emails[value eq "n@x"].type',
        'emails[type eq "fax" and value eq "n@x"].display',
        'emails[type eq "fax" or type eq "other"].value',
        'emails[type ne "home" and type ne "work"].value',
        'emails[type co "fax"].value',
        'name[familyName eq "fax"].givenName',
    ],
)
def test_replace_makes_nothing_of_another_filter(scim: ScimClient, path: str, with_path: bool) -> None:
    user = scim.user("a", emails=EMAILS, name={"familyName": "F"})
    operation: dict[str, Any] = {"op": "replace", "value": "home", "path": path}
    if not with_path:
        operation = {"op": "replace", "value": {path: "home"}}

    error_of(patch(scim, user, TITLE, operation), 400, "noTarget")

    assert scim("GET", user["meta"]["location"]).json == user


@pytest.mark.parametrize("op", ["add", "replace"])
def test_a_filter_that_no_element_satisfies_makes_none(scim: ScimClient, op: str) -> None:
    user = scim.user("a", active=True)
    impossible = {"op": op, "path": 'emails[type eq "work" and type eq "home"].value', "value": "a@x"}

    error_of(patch(scim, user, impossible), 400, "noTarget")

    assert scim("GET", user["meta"]["location"]).json == user


def test_replace_of_a_whole_element_makes_none(scim: ScimClient) -> None:
    user = scim.user("a")
    operation = {"op": "replace", "path": 'emails[type eq "work"]', "value": {"value": "a@x"}}

    error_of(patch(scim, user, operation), 400, "noTarget")


@pytest.mark.parametrize(("path", "value", "name", "element"), MADE[:2])
def test_a_strict_replace_makes_no_element(
    strict: ScimClient, path: str, value: str, name: str, element: dict[str, Any]
) -> None:
    operation = {"op": "replace", "path": path, "value": value}

    error_of(patch(strict, strict.user("a"), operation), 400, "noTarget")


def test_what_a_filter_in_a_key_selects_is_judged_later(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**ASYNC)
    where = scim.user("a", emails=EMAILS)["meta"]["location"]
    operation = {"op": "replace", "value": {'emails[value eq "a@x"].display': "A"}}

    assert carried_out(scim, "later", where, operation) == 200

    assert scim("GET", where).json["emails"][0]["display"] == "A"


# -- attributes that no schema has

UNKNOWN = [
    "urn:ietf:params:scim:schemas:extension:CustomExt:2.0:User:tag",
    "urn:ietf:params:scim:schemas:extension:CustomExt:2.0:User",
    "shoeSize",
    "name.shoe",
    'emails[type eq "work"].nosuch',
    'nosuch[type eq "work"].value',
    f"{ENTERPRISE}:nosuch",
]


@pytest.mark.parametrize("way", ["alone", "bulk", "later"])
@pytest.mark.parametrize("op", ["add", "replace", "remove"])
def test_an_unknown_attribute_is_passed_over_beside_others(
    make_scim: Callable[..., ScimClient], op: str, way: str
) -> None:
    scim = make_scim(**ASYNC)
    where = scim.user("a", emails=EMAILS)["meta"]["location"]
    unknown = [{"op": op, "path": path, "value": "x"} for path in UNKNOWN]

    assert carried_out(scim, way, where, *unknown, TITLE) == 200

    changed = scim("GET", where).json
    assert changed["title"] == "changed" and changed["emails"] == EMAILS


def test_an_unknown_attribute_of_a_group_is_passed_over(scim: ScimClient) -> None:
    user, group = scim.user("a")["id"], scim.group("g")

    changed = patched(
        scim,
        group,
        {"op": "replace", "path": "description", "value": "d"},
        {"op": "add", "path": "members", "value": [{"value": user}]},
    )

    assert member_ids(changed) == [user]


@pytest.mark.parametrize("way", ["alone", "bulk", "later"])
def test_nothing_but_unknown_attributes_is_refused(make_scim: Callable[..., ScimClient], way: str) -> None:
    scim = make_scim(**ASYNC)
    user = scim.user("a", emails=EMAILS)
    where = user["meta"]["location"]

    operations = [{"op": "replace", "path": path, "value": "x"} for path in UNKNOWN]
    assert carried_out(scim, way, where, *operations) == 400

    assert scim("GET", where).json == user
    error_of(patch(scim, user, {"op": "remove", "path": "shoeSize"}), 400, "invalidPath")


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_attribute_fails_a_strict_patch(strict: ScimClient, path: str) -> None:
    user = strict.user("a", emails=EMAILS)

    operation = {"op": "replace", "path": path, "value": "x"}

    detail = error_of(patch(strict, user, TITLE, operation), 400, "invalidPath")

    assert detail.startswith("Operations[1]")
    assert strict("GET", user["meta"]["location"]).json == user


@pytest.mark.parametrize(
    ("path", "scim_type"),
    [
        ("emails[", "invalidPath"),
        ("a b", "invalidPath"),
        ('emails[shoe eq "x"].value', "invalidFilter"),
        ('title[value eq "x"].y', "invalidPath"),
        (USER, "invalidPath"),
        ("emails[type eq 5].value", "invalidFilter"),
    ],
)
def test_another_fault_of_a_path_fails_the_whole_patch(
    scim: ScimClient, path: str, scim_type: str
) -> None:
    user = scim.user("a", emails=EMAILS)

    error_of(patch(scim, user, TITLE, {"op": "replace", "path": path, "value": "x"}), 400, scim_type)

    assert scim("GET", user["meta"]["location"]).json == user


@pytest.mark.parametrize(
    ("key", "scim_type"),
    [
        ("emails[", "invalidPath"),
        ('emails[type eq "work"]x', "invalidPath"),
        ('emails[shoe eq "x"].value', "invalidFilter"),
        ('emails[type eq "work" and].value', "invalidFilter"),
        ('title[value eq "x"]', "invalidPath"),
    ],
)
@pytest.mark.parametrize("op", ["add", "replace"])
def test_another_fault_of_a_filter_in_a_key_fails_the_whole_patch(
    scim: ScimClient, op: str, key: str, scim_type: str
) -> None:
    user = scim.user("a", emails=EMAILS)

    error_of(patch(scim, user, {"op": op, "value": {"title": "t", key: "x"}}), 400, scim_type)

    assert scim("GET", user["meta"]["location"]).json == user


def test_another_failure_fails_a_patch_with_unknown_attributes(scim: ScimClient) -> None:
    user = scim.user("a")
    unknown = {"op": "replace", "path": "shoeSize", "value": 43}
    read_only = {"op": "replace", "path": "id", "value": "x"}

    detail = error_of(patch(scim, user, unknown, TITLE, read_only), 400, "mutability")

    assert detail.startswith("Operations[2]")
    assert scim("GET", user["meta"]["location"]).json == user


def ignored(scim: ScimClient) -> float:
    figures = scim.figures().items()
    return sum(value for name, value in figures if name.startswith("scim_patch_ignored_operations_total"))


def test_unknown_attributes_are_logged_once_and_counted(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    scim = make_scim(LOGLEVEL="WARNING", **ASYNC)
    where = scim.user("a")["meta"]["location"]
    unknown = {"op": "replace", "path": 'shoes[type eq "secret"].size', "value": "secret"}
    before = ignored(scim)

    with caplog.at_level(logging.WARNING):
        for way in ("alone", "alone", "bulk", "later"):
            carried_out(scim, way, where, unknown, TITLE)

    (line,) = [record.getMessage() for record in caplog.records if "shoes.size" in record.getMessage()]
    assert "api-key" in line and "secret" not in line
    assert ignored(scim) == before + 4


# -- messages


def test_a_patch_without_operations_changes_nothing(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(SET_POLL_ENABLED="true", **ASYNC)
    user = scim.user("a")
    scim.work()
    before = sets(scim)

    assert patched(scim, user) == user
    for way in ("bulk", "later"):
        assert carried_out(scim, way, user["meta"]["location"]) == 200

    assert scim("GET", user["meta"]["location"]).json == user
    scim.work()
    assert [one for one in sets(scim) if "asyncresp" not in str(one["events"])] == before


def test_a_patch_without_operations_of_a_large_group_is_answered_with_204(scim: ScimClient) -> None:
    group = scim.group("g", *[scim.user(f"u{number}")["id"] for number in range(101)])

    answer = patch(scim, group)

    assert (answer.status_code, answer.headers["ETag"]) == (204, group["meta"]["version"])


def test_a_strict_patch_has_operations(strict: ScimClient) -> None:
    error_of(patch(strict, strict.user("a")), 400, "invalidSyntax")


@pytest.mark.parametrize("op", ["add", "replace"])
@pytest.mark.parametrize("way", ["alone", "bulk", "later"])
def test_one_object_in_a_list_is_that_object(make_scim: Callable[..., ScimClient], op: str, way: str) -> None:
    scim = make_scim(**ASYNC)
    where = scim.user("a")["meta"]["location"]

    assert carried_out(scim, way, where, {"op": op, "value": [{"title": "t"}]}) == 200

    assert scim("GET", where).json["title"] == "t"


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("active", [{"$ref": None, "value": "False"}], False),
        ("active", ["False"], False),
        ("active", [{"value": ""}], None),
        (f"{ENTERPRISE}:manager", ["26118915"], {"value": "26118915"}),
    ],
)
def test_what_a_list_of_one_holds_may_deviate_too(
    scim: ScimClient, path: str, value: Any, shown: Any
) -> None:
    user = scim.user("a", active=True)
    for operation in ({"op": "Replace", "path": path, "value": value}, {"op": "Add", "value": {path: value}}):
        changed = patched(scim, user, operation)
        found = changed.get(ENTERPRISE, {}).get("manager") if "manager" in path else changed.get("active")
        assert found == shown or found.items() >= shown.items()


@pytest.mark.parametrize(
    "value", [["maybe"], [{"value": "maybe"}], [["False"]], ["False", "False"]], ids=repr
)
def test_a_list_of_one_holds_a_value_of_the_attribute(scim: ScimClient, value: Any) -> None:
    operation = {"op": "replace", "path": "active", "value": value}
    error_of(patch(scim, scim.user("a"), operation), 400, "invalidValue")


@pytest.mark.parametrize("value", [[], [{"title": "t"}, {"title": "u"}], ["t"]], ids=repr)
def test_another_list_is_no_object(scim: ScimClient, value: Any) -> None:
    error_of(patch(scim, scim.user("a"), {"op": "replace", "value": value}), 400, "invalidValue")


def test_a_strict_value_without_path_is_an_object(strict: ScimClient) -> None:
    error_of(patch(strict, strict.user("a"), {"op": "add", "value": [{"title": "t"}]}), 400, "invalidValue")


# -- limits


def test_members_are_read_once_for_all_operations(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [scim.user(f"u{number}")["id"] for number in range(3)]
    group = scim.group("g", *ids)
    storage = scim.app.extensions["scim.storage"]
    reads, members = [], storage.members

    def counted(*args: Any) -> Any:
        reads.append(args)
        return members(*args)

    monkeypatch.setattr(storage, "members", counted)
    costs = []
    for count in (1, 20):
        reads.clear()
        paths = [f'members[display co "none{number}"]' for number in range(count)]
        assert patch(scim, group, *[{"op": "remove", "path": path} for path in paths]).status_code == 200
        costs.append(len(reads))

    assert costs[0] == costs[1] > 0


@pytest.mark.sqlite
@pytest.mark.parametrize("way", ["alone", "bulk", "later"])
def test_a_patch_that_would_compare_too_much_is_refused(
    make_scim: Callable[..., ScimClient], way: str
) -> None:
    scim = make_scim(**ASYNC)
    user = scim.user("a", emails=[{"value": f"e{number}@x"} for number in range(1000)])
    where = user["meta"]["location"]
    operations = [TITLE, *[{"op": "remove", "path": 'emails[value co "n"]'}] * 300]

    assert carried_out(scim, way, where, *operations) == 413

    assert scim("GET", where).json == user
    if way == "alone":
        assert "250000" in error_of(patch(scim, user, *operations), 413, "tooMany")


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize(
    "path", ["title", "emails", "name", "name.givenName", ENTERPRISE, f"{ENTERPRISE}:department"]
)
def test_null_adds_nothing_and_takes_nothing_away(
    make_scim: Callable[..., ScimClient], path: str, profile: str
) -> None:
    scim = make_scim(PROFILE=profile)
    user = scim.user(
        "ann",
        schemas=[USER, ENTERPRISE],
        title="t",
        name={"givenName": "Ann"},
        emails=[{"value": "a@x"}],
        **{ENTERPRISE: {"department": "d"}},
    )
    operations = [{"op": "add", "path": path, "value": None}]
    if path in ("title", "emails", "name", ENTERPRISE):
        operations.append({"op": "add", "value": {path: None}})

    for operation in operations:
        body = {"schemas": [PATCH_OP], "Operations": [operation]}
        answer = scim("PATCH", user["meta"]["location"], body)
        assert (answer.status_code, answer.json) == (200, user)
