"""Entries of other programs in a directory: which ones are ours, and what one search finds."""

from dataclasses import replace
from typing import Any

import ldap
import orjson
import pytest

from schema.resource_type import ResourceType
from storage.adapter import Member, Selection
from storage.errors import UniquenessConflict
from storage.search import search
from storage.testing import GROUP, USER, change_members, found_by_id, represent, stored
from tests.storage.ldap.conftest import Place


def names(adapter: Any, resource_type: ResourceType = USER) -> list[str]:
    attribute = "userName" if resource_type is USER else "displayName"
    page = search(adapter, resource_type, Selection(), represent)
    assert page.total == len(page.resources) == len(list(adapter.scan(resource_type)))
    return [one.document[attribute] for one in page.resources]


def test_the_marks_of_both_products_make_an_entry_ours(place: Place) -> None:
    place.adapter.create(USER, stored("1", userName="ours"))
    classes = [b"document", b"extensibleObject"]
    old = {"documentIdentifier": b"2", "uid": b"old", "info": b'{"userName": "old"}'}
    place.add("cn=old,ou=Users", objectClass=classes, **old)
    person = {"objectClass": [b"inetOrgPerson", b"extensibleObject"], "cn": b"C", "sn": b"C"}
    place.add("uid=noted,ou=Users", **person, info=b'{"a": 1}')
    place.add("uid=carol,ou=Users", **person)
    place.add("cn=device,ou=Users", objectClass=[b"device", b"extensibleObject"], uid=b"d", info=b"a note")

    hidden = place.another("hidden")
    assert sorted(names(hidden)) == ["old", "ours"]
    # An entry with `info` costs a look at its value, and is not among the counted ones.
    assert hidden.count_hidden(USER) == 1
    assert {"carol", "noted"} < set(names(place.another("read")))
    for name in ("carol", "noted", "Old"):
        with pytest.raises(UniquenessConflict):
            hidden.create(USER, stored("3", userName=name))


def test_a_deleted_user_stays_in_a_group_that_must_have_a_member(place: Place) -> None:
    place.adapter.create(USER, stored("1", userName="ours"))
    dn = place.entry("(uid=ours)", "1.1")["dn"][0]
    place.add("cn=wheel,ou=Groups", objectClass=b"groupOfNames", member=dn)
    place.add("cn=staff,ou=Groups", objectClass=b"groupOfNames", member=[dn, b"cn=x"])

    place.another("hidden").delete(USER, "1")
    assert place.entry("(cn=wheel)")["member"] == [dn]
    assert place.entry("(cn=staff)")["member"] == [b"cn=x"]


def test_a_changed_entry_is_ours_under_its_own_name(place: Place) -> None:
    place.add("uid=carol,ou=Users", objectClass=b"inetOrgPerson", cn=b"C", sn=b"C")
    reading, hidden = place.another("read"), place.another("hidden")
    (carol,) = reading.scan(USER)
    assert carol.read_only and not found_by_id(hidden, [carol.id])

    taken = reading.replace(USER, carol, carol.version)
    assert hidden.get(USER, carol.id).version == taken.version != carol.version
    hidden.create(GROUP, stored("g", displayName="g"))
    change_members(hidden, "g", [Member(carol.id, "User")], ())
    assert place.entry("(uid=carol)")["dn"][0] in place.entry("(cn=g)")["member"]


@pytest.mark.parametrize("treatment", ["hidden", "read"])
def test_no_resource_gets_a_name_that_the_directory_takes_for_a_name_of_others(
    place: Place, treatment: str
) -> None:
    person = {"objectClass": b"inetOrgPerson", "cn": b"C", "sn": b"C"}
    place.add("uid=carol,ou=Users", **person, uid=[b"carol", b"caro"])
    place.add("cn=wheel,ou=Groups", objectClass=b"groupOfNames", cn=[b"wheel", b"sudo"], member=b"cn=x")
    adapter = place.another(treatment)
    adapter.create(USER, stored("1", userName="ours"))
    adapter.create(GROUP, stored("2", displayName="ours"))

    names = {USER: ("carol", "caro"), GROUP: ("wheel", "sudo")}
    for resource_type, attribute in ((USER, "userName"), (GROUP, "displayName")):
        first, second = names[resource_type]
        full_width = "".join(chr(ord(letter) + 0xFEE0) for letter in first)
        for name in (first.upper(), f" {first} ", full_width, second):
            for write, number in ((adapter.create, "3"), (adapter.replace, "12"[resource_type is GROUP])):
                with pytest.raises(UniquenessConflict) as caught:
                    write(resource_type, stored(number, **{attribute: name}))
                assert caught.value.attribute == attribute
        adapter.create(resource_type, stored(f"{attribute}-3", **{attribute: f"{first} 2"}))
        assert len(list(adapter.scan(resource_type))) == (2 if treatment == "hidden" else 3)


def test_what_an_entry_has_besides_stays_when_it_is_changed(place: Place) -> None:
    person = {"objectClass": [b"inetOrgPerson", b"extensibleObject"], "sn": b"C", "info": b"a note"}
    several = {"cn": [b"C", b"D"], "uid": [b"carol", b"caro"], "title": [b"t", b"u"], "mail": [b"a@x"]}
    place.add("uid=carol,ou=Users", **person, **several)
    place.add("cn=wheel,ou=Groups", objectClass=b"groupOfNames", cn=[b"wheel", b"sudo"], member=b"cn=x")
    reading, hidden = place.another("read"), place.another("hidden")
    for resource_type in (USER, GROUP):
        (other,) = reading.scan(resource_type)
        reading.replace(resource_type, replace(other, read_only=False), other.version)

    assert place.entry("(cn=wheel)")["cn"] == [b"wheel", b"sudo"]
    (carol,) = hidden.scan(USER)
    changed = {**carol.document, "emails": [{"value": "b@x"}], "title": "v"}
    hidden.replace(USER, replace(carol, text=orjson.dumps(changed).decode()))
    entry = place.entry("(uid=carol)")
    kept = {name: sorted(entry[name]) for name in ("cn", "uid", "title", "mail")}
    assert kept == {**several, "uid": [b"caro", b"carol"], "title": [b"v"], "mail": [b"b@x"]}
    assert b"a note" in entry["info"]
    assert hidden.get(USER, carol.id).document == changed
    place.change(entry["dn"][0], (ldap.MOD_DELETE, "cn", [carol.document["name"]["formatted"].encode()]))
    (left,) = place.entry("(uid=carol)")["cn"]
    assert hidden.get(USER, carol.id).document["name"]["formatted"] == left.decode()
