"""What of a resource is in which field of JumpCloud, what is kept beside them, and who wins."""

import json
from dataclasses import replace
from typing import Any

import pytest

from schema.urns import ENTERPRISE_USER as ENTERPRISE
from storage.adapter import StoredResource
from storage.errors import UniquenessConflict, UnsupportedByBackend, ValueRefused
from storage.testing import GROUP, REGISTRY, USER, stored
from tests.backends import open_backend
from tests.storage.jumpcloud.conftest import Store

SRAM_GROUP = "urn:mace:surf.nl:sram:scim:extension:Group"
LONG = "Gr\u00fc\u00dfe \U0001f600 " * 600

WHOLE: dict[str, Any] = {
    "userName": "BJensen",
    "externalId": "701984",
    "name": {"formatted": "Ms. Barbara J Jensen", "givenName": "Barbara", "familyName": "Jensen"},
    "displayName": "Babs",
    "title": "Guide",
    "userType": "Employee",
    "active": True,
    "nickName": LONG,
    "emails": [
        {"value": "home@example.org", "type": "home"},
        {"value": "B@Example.org", "type": "work", "primary": True},
    ],
    "phoneNumbers": [{"value": "555-1", "type": "work", "primary": True}, {"value": "555-2"}],
    "addresses": [{"locality": "Amsterdam", "country": "NL", "formatted": "Amsterdam"}],
    ENTERPRISE: {
        "employeeNumber": "1",
        "department": "Tours",
        "organization": "Universal",
        "costCenter": "4130",
        "division": "Parks",
        "manager": {"value": "26118915", "displayName": "John"},
    },
}


def user(store: Store, **document: Any) -> tuple[StoredResource, dict[str, Any]]:
    """Create a user; return it, and what JumpCloud has."""
    created = store.adapter.create(USER, stored("x", **document))
    return created, store.organisation.users[created.id]


def changed(store: Store, resource: StoredResource, **document: Any) -> StoredResource:
    return store.adapter.replace(USER, stored(resource.id, **document))


def test_a_user_is_made_by_one_call_with_its_real_attributes(store: Store) -> None:
    created, live = user(store, **WHOLE)

    assert store.calls() == ["POST /api/search/systemusers", "POST /api/systemusers"]
    expected = {
        "username": "BJensen",
        "external_dn": "701984",
        "firstname": "Barbara",
        "lastname": "Jensen",
        "displayname": "Babs",
        "jobTitle": "Guide",
        "employeeType": "Employee",
        "state": "ACTIVATED",
        "email": "B@Example.org",
        "alternateEmail": "home@example.org",
        "employeeIdentifier": "1",
        "department": "Tours",
        "company": "Universal",
        "costCenter": "4130",
        "manager": "",
    }
    assert {name: live[name] for name in expected} == expected
    assert live["phoneNumbers"] == [{"number": "555-1", "type": "work"}, {"number": "555-2", "type": "other"}]
    assert live["addresses"][0]["locality"] == "Amsterdam"
    read = store.adapter.get(USER, created.id)
    assert read.document == stored(created.id, **WHOLE).document
    assert read == replace(created, joined=None)


def test_what_has_no_field_is_in_attributes_that_are_short_enough(store: Store) -> None:
    _, live = user(store, userName="a", nickName=LONG)

    assert len(live["attributes"]) > 5
    assert {entry["name"][:11] for entry in live["attributes"]} == {"scimGateway"}
    assert max(len(entry["value"]) for entry in live["attributes"]) == 1024


def test_attributes_of_others_stay(store: Store) -> None:
    created, live = user(store, userName="a", nickName=LONG)
    others = [{"name": "badge", "value": "7"}, {"name": "scimGatewayX", "value": "theirs"}]
    live["attributes"] = [others[0], *live["attributes"], others[1]]

    changed(store, created, userName="a", nickName="n")

    assert [entry for entry in live["attributes"] if entry in others] == others
    assert len(live["attributes"]) == 3
    assert store.adapter.get(USER, created.id).document["nickName"] == "n"


def test_attributes_of_others_in_groups_stay(store: Store) -> None:
    created = store.adapter.create(GROUP, stored("x", displayName="g", externalId="1", nick=LONG))
    live = store.organisation.groups[created.id]
    live["attributes"]["sudo"] = {"enabled": True}
    live |= {"email": "g@example.org", "memberQuery": None}

    store.adapter.replace(GROUP, stored(created.id, displayName="h", externalId="1"))

    assert live["attributes"]["sudo"] == {"enabled": True}
    assert (live["name"], live["email"]) == ("h", "g@example.org")
    assert all(len(v) <= 1024 for k, v in live["attributes"].items() if k.startswith("scimGateway"))
    expected = stored(created.id, displayName="h", externalId="1").document
    assert store.adapter.get(GROUP, created.id).document == expected


def test_changes_in_the_console_show_and_make_a_new_version(store: Store) -> None:
    created, live = user(store, **WHOLE)
    edits: list[tuple[dict[str, Any], str, Any]] = [
        ({"displayname": "Barbara"}, "displayName", "Barbara"),
        ({"jobTitle": ""}, "title", None),
        ({"lastname": "Smith"}, "name", {"givenName": "Barbara", "familyName": "Smith"}),
        (
            {"email": "new@example.org"},
            "emails",
            [WHOLE["emails"][0], {**WHOLE["emails"][1], "value": "new@example.org"}],
        ),
        (
            {"alternateEmail": ""},
            "emails",
            [{**WHOLE["emails"][1], "value": "new@example.org"}],
        ),
        (
            {"phoneNumbers": [{"type": "work", "number": "555-1"}, {"number": "9", "type": "fax"}]},
            "phoneNumbers",
            [WHOLE["phoneNumbers"][0], {"value": "9", "type": "fax"}],
        ),
    ]

    versions = [created.version]
    for edit, name, expected in edits:
        live |= edit
        read = store.adapter.get(USER, created.id)
        versions.append(read.version)
        assert read.document.get(name) == expected

    assert len(set(versions)) == len(versions)
    live["department"] = "Sales"
    extension = store.adapter.get(USER, created.id).document[ENTERPRISE]
    assert extension["department"] == "Sales" and extension["division"] == "Parks"


def test_what_was_edited_in_the_console_is_not_undone_by_a_change_elsewhere(store: Store) -> None:
    created, live = user(store, userName="a", title="t")
    live["firstname"] = "Ann"
    document = store.adapter.get(USER, created.id).document

    changed(store, created, **{**document, "title": "u"})

    assert (live["firstname"], live["jobTitle"]) == ("Ann", "u")


@pytest.mark.parametrize(
    ("edit", "active"),
    [
        ({"state": "SUSPENDED", "suspended": True}, False),
        ({"state": "STAGED"}, False),
        ({"account_locked": True}, True),
        ({"activated": False}, True),
    ],
)
def test_active_is_the_state_and_not_a_lock(store: Store, edit: dict[str, Any], active: bool) -> None:
    created, live = user(store, userName="a", active=True)

    live |= edit

    assert store.adapter.get(USER, created.id).document["active"] is active


def test_active_is_written_as_state(store: Store) -> None:
    created, live = user(store, userName="a", active=False)
    assert (live["state"], live["suspended"]) == ("SUSPENDED", True)

    changed(store, created, userName="a", active=True)
    assert (live["state"], live["suspended"]) == ("ACTIVATED", False)

    live |= {"state": "STAGED"}
    changed(store, created, userName="a", active=False, title="t")
    assert live["state"] == "STAGED"


def test_a_user_without_an_address_has_a_placeholder_that_is_not_shown(store: Store) -> None:
    created, live = user(store, userName="a")
    assert live["email"].endswith("@none.scim.invalid")
    assert "emails" not in created.document

    before = live["email"]
    changed(store, created, userName="a", title="t")
    assert live["email"] == before
    changed(store, created, userName="a", emails=[{"value": "a@example.org"}])
    assert live["email"] == "a@example.org"
    changed(store, created, userName="a")
    assert live["email"].endswith("@none.scim.invalid")
    live["email"] = "console@example.org"
    shown = store.adapter.get(USER, created.id).document["emails"]
    assert shown == [{"value": "console@example.org", "primary": True}]


def test_one_address_twice_is_no_further_address(store: Store) -> None:
    emails = [{"value": "a@example.org", "type": t} for t in ("work", "home")]
    emails.append({"value": "b@example.org", "type": "home"})

    created, live = user(store, userName="a", emails=emails)

    assert (live["email"], live["alternateEmail"]) == ("a@example.org", "b@example.org")
    assert created.document["emails"] == emails


def test_an_address_that_the_console_puts_over_a_placeholder_counts(store: Store) -> None:
    emails = [{"value": f"{n}@example.org"} for n in range(3)]
    created, live = user(store, userName="a", emails=emails)
    assert live["alternateEmail"].endswith("@more.scim.invalid")
    assert created.document["emails"] == emails

    live["alternateEmail"] = "z@example.org"

    shown = store.adapter.get(USER, created.id).document["emails"]
    assert shown == [emails[0], {"value": "z@example.org"}]


def test_a_server_that_folds_case_does_not_change_what_clients_see(store: Store) -> None:
    store.organisation.lower_case = True
    document = {"userName": "Harry", "emails": [{"value": "Harry@Example.nl", "primary": True}]}
    created, live = user(store, **document)

    assert live["username"] == "harry"
    read = store.adapter.get(USER, created.id)
    assert read.document == stored(created.id, **document).document
    again = changed(store, read, **document)
    assert again.document == read.document


def test_passwords_go_to_jumpcloud_and_never_come_back(store: Store) -> None:
    secret = {"password": "t1meMa$heen"}
    created = store.adapter.create(USER, replace(stored("x", userName="a"), secrets=secret))

    assert store.organisation.passwords == {created.id: "t1meMa$heen"}
    live = store.organisation.users[created.id]
    assert "t1meMa$heen" not in json.dumps(live) + created.text and not created.secrets
    store.adapter.replace(USER, stored(created.id, userName="a"))
    assert "password" not in store.fake.requests[-1].body


def test_a_password_is_not_said_to_be_removed(store: Store) -> None:
    created = store.adapter.create(USER, replace(stored("x", userName="a"), secrets={"password": "p"}))

    with pytest.raises(ValueRefused, match="password"):
        store.adapter.replace(
            USER, replace(stored(created.id, userName="a"), removed_secrets=frozenset({"password"}))
        )


def test_secrets_that_jumpcloud_has_no_place_for_are_refused(store: Store) -> None:
    resource = replace(stored("x", userName="a"), secrets={"urn:x:pin.value": "1"})

    with pytest.raises(ValueRefused, match="urn:x:pin.value"):
        store.adapter.create(USER, resource)

    assert not store.organisation.users


@pytest.mark.parametrize("status", [400, 409])
@pytest.mark.parametrize(
    ("document", "attribute"),
    [
        ({"userName": "b", "emails": [{"value": "a@example.org"}]}, "emails.value"),
        ({"userName": "b", ENTERPRISE: {"employeeNumber": "7"}}, f"{ENTERPRISE}:employeeNumber"),
        ({"userName": "A"}, "userName"),
        ({"userName": "b", "externalId": "X"}, "externalId"),
    ],
)
def test_what_another_user_has_is_a_conflict_that_is_named(
    store: Store, status: int, document: dict[str, Any], attribute: str
) -> None:
    store.organisation.duplicate_status = status
    first = {"userName": "a", "externalId": "X", "emails": [{"value": "a@example.org"}]}
    user(store, **first, **{ENTERPRISE: {"employeeNumber": "7"}})
    other, live = user(store, userName="c")
    before = dict(live)

    with pytest.raises(UniquenessConflict) as created:
        user(store, **document)
    with pytest.raises(UniquenessConflict) as replaced:
        changed(store, other, **document)

    assert created.value.attribute == replaced.value.attribute == attribute
    assert live == before and len(store.organisation.users) == 2


@pytest.mark.parametrize("status", [400, 409])
def test_group_names_are_unique_in_jumpcloud(store: Store, status: int) -> None:
    store.organisation.duplicate_status = status
    store.adapter.create(GROUP, stored("x", displayName="g", externalId="1"))
    other = store.adapter.create(GROUP, stored("x", displayName="h"))

    taken = (({"displayName": "g"}, "displayName"), ({"displayName": "i", "externalId": "1"}, "externalId"))
    for document, attribute in taken:
        for write in (store.adapter.create, store.adapter.replace):
            with pytest.raises(UniquenessConflict) as caught:
                write(GROUP, stored(other.id, **document))
            assert caught.value.attribute == attribute


def test_what_jumpcloud_refuses_is_refused_in_its_words(store: Store) -> None:
    manager = {"userName": "a", "phoneNumbers": [{"value": "1", "type": "work"}]}
    created, live = user(store, **manager)
    live["externally_managed"] = True

    with pytest.raises(ValueRefused, match="externalId"):
        changed(store, created, userName="a", externalId="x")
    with pytest.raises(ValueRefused, match="JumpCloud: username is required"):
        user(store, userName="")

    assert live["external_dn"] == ""


def test_users_and_groups_of_the_console_are_resources(store: Store) -> None:
    live = store.organisation.create_user({"username": "console", "email": "c@example.org", "firstname": "C"})
    group = store.organisation.create_group({"name": "Staff", "description": "All of them"})

    read = store.adapter.get(USER, live["_id"])

    assert read.document == stored(
        live["_id"],
        userName="console",
        name={"givenName": "C"},
        emails=[{"value": "c@example.org", "primary": True}],
        active=False,
    ).document
    assert read.created == read.last_modified and read.created.startswith("20")
    shown = store.adapter.get(GROUP, group["id"]).document
    assert (shown["displayName"], shown[SRAM_GROUP]) == ("Staff", {"description": "All of them"})


@pytest.mark.parametrize("text", ["{", "[]", '{"rest": 1}', '{"displays": {"x": 1}}', "[" * 100_000])
def test_damaged_attributes_are_said_and_not_used(
    store: Store, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    created, live = user(store, userName="a", nickName="n", title="t")
    damaged = {"name": "scimGateway000", "value": text[:1024]}
    live["attributes"] = [damaged, {"name": "x", "value": None}, None]

    read = store.adapter.get(USER, created.id).document

    assert (read["title"], read.get("nickName")) == ("t", None)
    assert created.id in caplog.text
    live["attributes"] = [damaged]
    changed(store, created, userName="a", nickName="m")
    assert store.adapter.get(USER, created.id).document["nickName"] == "m"


def test_what_the_product_we_replace_kept_is_read(store: Store) -> None:
    details = {"userName": "old", "displayName": "Old", "nickName": "n", "password": "p", "active": True}
    live = store.organisation.create_user(
        {
            "username": "a",
            "email": "a@example.org",
            "displayname": "New",
            "attributes": [{"name": "details", "value": json.dumps(details)}],
        }
    )

    read = store.adapter.get(USER, live["_id"]).document

    assert (read["userName"], read["displayName"], read["nickName"]) == ("a", "New", "n")
    assert read["active"] is False and "password" not in read
    changed(store, store.adapter.get(USER, live["_id"]), **{**read, "nickName": "m"})
    assert live["attributes"][0]["name"] == "details"
    assert store.adapter.get(USER, live["_id"]).document["nickName"] == "m"


def test_a_former_state_has_another_version(store: Store) -> None:
    created, _ = user(store, userName="a", title="t")

    versions = {created.version}
    versions |= {changed(store, created, userName="a", title=title).version for title in "utu"}

    assert len(versions) == 4


def test_other_resource_types_stop_the_start() -> None:
    adapter = open_backend("jumpcloud", jumpcloud_url="http://127.0.0.1:9", jumpcloud_key="k")
    device = replace(GROUP, name="Device", schema=replace(GROUP.schema, id="urn:example:Device"))

    with pytest.raises(UnsupportedByBackend, match="Device"):
        adapter.prepare([*REGISTRY.resource_types, device])


@pytest.mark.parametrize("url", ["console.jumpcloud.com", "ftp://x", ""])
def test_an_address_that_cannot_be_used_is_said(url: str) -> None:
    with pytest.raises(ValueError, match="JUMPCLOUD_URL"):
        open_backend("jumpcloud", jumpcloud_url=url, jumpcloud_key="k")
