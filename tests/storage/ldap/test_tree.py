"""What other LDAP clients see of the tree, and what becomes of what they write."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ldap
import orjson
import pytest
from ldap.filter import filter_format

from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection, StoredResource
from storage.errors import ResourceNotFound, UniquenessConflict, ValueRefused
from storage.search import search
from storage.testing import (
    GROUP,
    LATER,
    USER,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    represent,
    stored,
)
from tests.storage.ldap.conftest import Place

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def found(place: Place, text: str, resource_type: Any = USER) -> list[str]:
    def shown(resource: StoredResource, links: bool) -> Mapping[str, Any]:
        members = members_of(place.adapter, resource.id) if resource_type is GROUP else ()
        return {**represent(resource, links), "members": [{"value": m.resource_id} for m in members]}

    selection = Selection(resolve(parse_filter(text), resource_type))
    return [r.id for r in search(place.adapter, resource_type, selection, shown).resources]


def person(place: Place, resource_id: str = "1", **attributes: Any) -> bytes:
    place.adapter.create(USER, stored(resource_id, **{"userName": "bjensen", **attributes}))
    return place.entry("(uid=bjensen)", "1.1")["dn"][0]


def test_a_user_is_an_inet_org_person_with_standard_attributes(place: Place) -> None:
    person(
        place,
        name={"formatted": "Barbara Jensen", "familyName": "Jensen", "givenName": "Barbara"},
        displayName="Babs",
        title="Guide",
        preferredLanguage="en",
        emails=[{"value": "b@work.example"}, {"value": "b@home.example"}],
        phoneNumbers=[{"value": "+31 20 1", "type": "work"}, {"value": "+31 6 1", "type": "mobile"}],
        **{ENTERPRISE: {"employeeNumber": "7", "department": "Tours"}},
    )

    entry = place.entry("(&(objectClass=inetOrgPerson)(uid=bjensen))")

    shown = {name: [v.decode() for v in values] for name, values in entry.items() if name != "dn"}
    assert shown["cn"] == ["Barbara Jensen"] and shown["sn"] == ["Jensen"]
    assert shown["givenName"] == ["Barbara"] and shown["displayName"] == ["Babs"]
    assert shown["mail"] == ["b@work.example", "b@home.example"]
    assert shown["telephoneNumber"] == ["+31 20 1"] and shown["mobile"] == ["+31 6 1"]
    assert shown["title"] == ["Guide"] and shown["preferredLanguage"] == ["en"]
    assert shown["employeeNumber"] == ["7"] and shown["departmentNumber"] == ["Tours"]


def test_a_group_has_the_dns_of_its_members(place: Place) -> None:
    dn = person(place)
    place.adapter.create(GROUP, stored("g", displayName="Tour Guides"))

    change_members(place.adapter, "g", [Member("1", "User")], ())

    group = place.entry(filter_format("(&(cn=Tour Guides)(member=%s))", [dn.decode()]))
    assert b"groupOfNames" in group["objectClass"] or b"groupOfMembers" in group["objectClass"]


def test_what_0_2_0_shows_of_a_member_is_shown_until_it_leaves(place: Place) -> None:
    adapter, attribute = place.adapter, place.adapter._tree.units["Group"].layout.display
    adapter.create(USER, stored("a/b", userName="ann"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("a/b", "User", "Babs")])
    group = place.entry("(cn=G)", attribute)
    assert group[attribute] == [b"urn:scim:member:User/a%2Fb Babs"]

    place.change(group["dn"][0], (ldap.MOD_REPLACE, attribute, [b"urn:scim:member:a%2Fb Babs"]))

    assert list(members_of(adapter, "g")) == [Member("a/b", "User", "Babs")]
    change_members(adapter, "g", [Member("a/b", "User", "Ann")], ["a/b"])
    assert list(members_of(adapter, "g")) == [Member("a/b", "User", "Ann")]
    assert place.entry("(cn=G)", attribute)[attribute] == [b"urn:scim:member:User/a%2Fb Ann"]
    change_members(adapter, "g", (), ["a/b"])
    assert attribute not in place.entry("(cn=G)", attribute)


def test_ldap_clients_bind_with_the_password(place: Place) -> None:
    resource = replace(stored("1", userName="a"), secrets={"password": "t1meMa$heen"})
    created = place.adapter.create(USER, resource)
    dn = place.entry("(uid=a)", "1.1")["dn"][0].decode()

    place.server.connect(dn, "t1meMa$heen").unbind_s()
    read = place.adapter.get(USER, "1")
    place.adapter.replace(USER, replace(resource, secrets={"password": "another"}), read.version)

    assert created.version == read.version and read.secrets == {}
    place.server.connect(dn, "another").unbind_s()
    with pytest.raises(ldap.INVALID_CREDENTIALS):
        place.server.connect(dn, "t1meMa$heen")
    assert b"another" not in place.entry("(uid=a)")["userPassword"][0]


def test_a_password_that_is_removed_is_gone_from_the_entry(place: Place) -> None:
    resource = stored("1", userName="a")
    place.adapter.create(USER, replace(resource, secrets={"password": "t1meMa$heen"}))
    without = replace(resource, removed_secrets=frozenset({"password"}))

    removed = place.adapter.replace(USER, without)
    again = place.adapter.replace(USER, without, removed.version)

    assert "userPassword" not in place.entry("(uid=a)")
    assert place.adapter.get(USER, "1").version == removed.version == again.version


def test_what_an_administrator_changes_is_seen_and_found(place: Place) -> None:
    emails = [{"value": "old@x", "type": "work"}, {"value": "kept@x", "type": "home", "primary": True}]
    dn = person(place, emails=emails, title="Guide", displayName="Babs")
    before = place.adapter.get(USER, "1")

    place.change(
        dn,
        (ldap.MOD_REPLACE, "mail", [b"kept@x", b"new@x"]),
        (ldap.MOD_REPLACE, "displayName", [b"Barbara"]),
        (ldap.MOD_DELETE, "title", None),
    )

    after = place.adapter.get(USER, "1")
    assert after.document["emails"] == [emails[1], {"value": "new@x"}]
    assert after.document["displayName"] == "Barbara" and "title" not in after.document
    assert after.version != before.version and after.last_modified > before.last_modified
    assert found(place, 'emails.value eq "new@x" and displayName sw "bar"') == ["1"]
    assert found(place, 'emails.value eq "old@x"') == []


def test_a_member_that_an_administrator_adds_is_one(place: Place) -> None:
    dn = person(place)
    place.adapter.create(GROUP, stored("g", displayName="G"))
    group = place.entry("(cn=G)", "1.1")["dn"][0]

    place.change(group, (ldap.MOD_ADD, "member", [dn]))

    assert [m.resource_id for m in members_of(place.adapter, "g")] == ["1"]
    assert [m.resource_id for m in memberships_of(place.adapter, ["1"])["1"]] == ["g"]


@pytest.mark.parametrize(
    "values",
    [
        {"emails": [{"value": "j\u00fcrgen@x"}]},
        {"phoneNumbers": [{"value": "\u0661\u0662 #*"}]},
        {"displayName": "a\u0000b"},
        {"displayName": " "},
        {"title": "  two  spaces\t"},
        # Capitals that directories fold in another way, or not at all.
        {"title": "\u0130"},
        {"title": "\u023a\u04c0"},
        {"emails": [{"value": "a@x"}, {"value": "A@X", "type": "work"}]},
        {"phoneNumbers": [{"value": "+31 6"}, {"value": "+316", "type": "home"}]},
        {"preferredLanguage": "x" * 3000},
        {"userName": "*)(uid=*"},
        {"externalId": "\u00e9 \\2a*"},
        {"nickName": "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")},
    ],
)
def test_what_the_syntax_of_ldap_refuses_is_kept_all_the_same(place: Place, values: dict[str, Any]) -> None:
    resource = stored("1", **{"userName": "a", **values})

    place.adapter.create(USER, resource)

    assert place.adapter.get(USER, "1").document == resource.document
    [(name, value)] = values.items()
    path = f"{name}.value" if isinstance(value, list) else name
    text = value[0]["value"] if isinstance(value, list) else value
    if "\0" not in text:
        assert found(place, f"{path} eq {orjson.dumps(text).decode()}") == ["1"]
        assert found(place, f"{path} co {orjson.dumps(text[:3]).decode()}") == ["1"]


@pytest.mark.parametrize(
    "resource_id", ["*)(uid=*", "../x", "a,b+c=d\\ ", "#x", '"<>;', "\u00e9\U0001f600", " lead", "x" * 200]
)
def test_any_id_names_one_entry_and_nothing_else(place: Place, resource_id: str) -> None:
    place.adapter.create(USER, stored("1", userName="other"))

    with pytest.raises(ResourceNotFound):
        place.adapter.get(USER, resource_id)
    place.adapter.create(USER, stored(resource_id, userName="a"))

    assert place.adapter.get(USER, resource_id).document["userName"] == "a"
    assert set(found_by_id(place.adapter, [resource_id])) == {resource_id}
    place.adapter.delete(USER, resource_id)
    assert [r.id for r in place.adapter.scan(USER)] == ["1"]


def test_of_many_new_resources_all_are_kept_or_none(place: Place) -> None:
    place.adapter.create(USER, stored("1", userName="taken"))
    names = ("a", "b", "TAKEN")

    with pytest.raises(UniquenessConflict):
        place.adapter.create_many(USER, [stored(f"new-{name}", userName=name) for name in names])
    assert [r.id for r in place.adapter.scan(USER)] == ["1"]

    place.adapter.create_many(USER, [stored(f"new-{name}", userName=name) for name in names[:2]])
    assert [r.id for r in place.adapter.scan(USER)] == ["1", "new-a", "new-b"]


@pytest.mark.parametrize("resource_id", ["\0", "a\0b", "\ud800", "x" * 3000, ""])
def test_what_cannot_be_a_name_is_not_found_and_not_created(place: Place, resource_id: str) -> None:
    with pytest.raises(ResourceNotFound):
        place.adapter.get(USER, resource_id)
    assert found_by_id(place.adapter, [resource_id]) == {}
    assert memberships_of(place.adapter, [resource_id]) == {}
    with pytest.raises(ValueRefused):
        place.adapter.create(USER, replace(stored("1", userName="a"), id=resource_id))
    place.adapter.create(USER, stored("1", userName="a"))


# -- entries by others


def old_user(place: Place) -> None:
    place.add(
        "documentIdentifier=u1,ou=Users",
        objectClass=[b"document", b"extensibleObject"],
        uid=b"alice",
        displayName=b"Alice",
        email=[b"alice@x", b"second@x"],
        info=b'{"externalId": "E1", "active": true, "name": {"familyName": "Smith"}, "bogus": 1}',
    )


def old_group(place: Place) -> None:
    place.add(
        "documentIdentifier=g1,ou=Groups",
        objectClass=[b"document", b"extensibleObject"],
        displayName=b"Old",
        member=[f"documentIdentifier=u1,ou=Users,{place.base}".encode()],
        info=b'{"externalId": "G1"}',
    )


def test_entries_of_the_product_we_replace_are_read_as_they_are(place: Place) -> None:
    old_user(place)
    old_group(place)
    adapter = place.another()

    user = adapter.get(USER, "u1").document

    assert (user["userName"], user["displayName"], user["externalId"]) == ("alice", "Alice", "E1")
    assert [email["value"] for email in user["emails"]] == ["alice@x", "second@x"]
    assert user["name"] == {"familyName": "Smith"} and user["bogus"] == 1
    assert [m.resource_id for m in members_of(adapter, "g1")] == ["u1"]
    assert [m.display for m in memberships_of(adapter, ["u1"])["u1"]] == ["Old"]
    place.adapter = adapter
    for text in ('userName eq "ALICE"', 'externalId eq "E1"', 'emails.value eq "second@x"', 'id eq "u1"'):
        assert found(place, text) == ["u1"]
    assert found(place, 'members.value eq "u1"', GROUP) == ["g1"]


def test_entries_of_the_product_we_replace_are_changed_in_place(place: Place) -> None:
    old_user(place)
    old_group(place)
    adapter = place.another()
    adapter.create(USER, stored("new", userName="new"))
    user = adapter.get(USER, "u1")

    adapter.replace(USER, stored("u1", LATER, userName="alice", title="t"), user.version)
    change_members(adapter, "g1", [Member("new", "User")], ())
    change_members(adapter, "g1", (), ["u1"])

    assert adapter.get(USER, "u1").document == stored("u1", userName="alice", title="t").document
    assert [m.resource_id for m in members_of(adapter, "g1")] == ["new"]
    assert adapter.get(GROUP, "g1").document["externalId"] == "G1"
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("2", userName="Alice"))
    adapter.delete(USER, "u1")
    adapter.delete(GROUP, "g1")
    assert [r.id for r in adapter.scan(USER)] == ["new"]


def test_entries_of_its_other_version_are_read_too(place: Place) -> None:
    place.add(
        "cn=u2,ou=Users",
        objectClass=[b"device", b"extensibleObject"],
        uid=b"dora",
        info=b'{"id": "u2", "userName": "dora", "active": true, "emails": [{"value": "d@x"}]}',
    )
    place.adapter = place.another()

    assert place.adapter.get(USER, "u2").document["emails"] == [{"value": "d@x"}]
    assert found(place, 'emails.value eq "d@x" and active eq true') == ["u2"]
    place.adapter.replace(USER, stored("u2", userName="dora2"))
    assert place.adapter.get(USER, "u2").document == stored("u2", userName="dora2").document
    assert found(place, 'userName eq "dora2"') == ["u2"]


def test_what_is_no_resource_is_left_alone(place: Place) -> None:
    classes = [b"document", b"extensibleObject"]
    place.add("documentIdentifier=x,ou=Users", objectClass=classes, info=b"{broken")
    place.add("cn=y,ou=Users", objectClass=b"inetOrgPerson", sn=b"y")
    place.adapter.create(USER, stored("1", userName="a"))
    adapter = place.another()

    assert [r.id for r in adapter.scan(USER)] == ["1"]
    assert found_by_id(adapter, ["x", "y"]) == {}
    adapter.check()


def test_persons_of_others_are_users_by_their_uuid(place: Place) -> None:
    place.add("uid=carol,ou=Users", objectClass=b"inetOrgPerson", cn=b"Carol C", sn=b"C", mail=b"c@x")
    place.add("ou=printers,ou=Users", objectClass=b"organizationalUnit")
    place.add("cn=lp,ou=Users", objectClass=b"device")
    uuid = place.entry("(uid=carol)")["entryUUID"][0].decode()

    assert found(place, 'userName eq "carol"') == found(place, 'emails.value co "c@"') == [uuid]
    user = place.adapter.get(USER, uuid)
    assert user.document["name"] == {"formatted": "Carol C", "familyName": "C"}
    with pytest.raises(UniquenessConflict):
        place.adapter.create(USER, stored("2", userName="CAROL"))
    place.adapter.replace(USER, stored(uuid, userName="carol", title="t"), user.version)
    assert place.entry("(title=t)", "1.1")["dn"] == [f"uid=carol,ou=Users,{place.base}".encode()]
    assert [r.id for r in place.adapter.scan(USER)] == [uuid]
    assert search(place.adapter, USER, Selection(limit=1), represent).total == 1


def test_a_user_that_others_delete_leaves_nothing_that_blocks(place: Place) -> None:
    dn = person(place)
    place.adapter.create(GROUP, stored("g", displayName="G"))
    change_members(place.adapter, "g", [Member("1", "User")], ())
    connection = place.server.connect()
    connection.delete_s(dn.decode())
    [(claim, _)] = connection.search_s(
        place.base, ldap.SCOPE_SUBTREE, filter_format("(description=%s)", [dn.decode()])
    )
    connection.modify_s(claim, [(ldap.MOD_REPLACE, "serialNumber", b"1")])
    connection.unbind_s()

    assert list(members_of(place.adapter, "g")) == []
    place.adapter.create(USER, stored("2", userName="bjensen"))
    assert found(place, 'userName eq "bjensen"') == ["2"]


def test_deleting_a_user_removes_its_memberships(place: Place) -> None:
    dn = person(place)
    place.adapter.create(GROUP, stored("g", displayName="G"))
    change_members(place.adapter, "g", [Member("1", "User")], ())

    place.adapter.delete(USER, "1")

    assert dn not in place.entry("(cn=G)").get("member", [])
