"""Ids and names that a directory, or only this server, takes as equal."""

from typing import Any

import ldap as ldap_client
import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection
from storage.errors import ResourceNotFound, UniquenessConflict
from storage.ldap.layout import folded
from storage.testing import (
    GROUP,
    REGISTRY,
    USER,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    stored,
)
from tests.backends import open_backend
from tests.openldap import LdapServer
from tests.storage.ldap.conftest import Place

# Python puts both of a pair in one lower case; OpenLDAP takes them as different.
PAIRS = {"dot": ("\u0130", "i\u0307"), "sharp s": ("\u1e9e", "\u00df"), "late capital": ("\u023a", "\u2c65")}


def found(adapter: Any, text: str) -> list[str]:
    selection = Selection(resolve(parse_filter(text), USER))
    return sorted(resource.id for resource in adapter.candidates(USER, selection).resources)


def ids(members: Any) -> list[str]:
    return sorted(member.resource_id for member in members)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
def test_two_ids_that_differ_are_two_members_and_two_groups(place: Place, pair: tuple[str, str]) -> None:
    adapter, (first, second) = place.adapter, pair
    groups = [f"g{name}" for name in pair]
    for name in pair:
        adapter.create(USER, stored(name, userName=f"user {name.encode().hex()}"))
    for name in pair:
        adapter.create(GROUP, stored(f"g{name}", displayName=name))
        change_members(adapter, f"g{name}", [Member(first, "User"), Member(second, "User")], ())
    adapter.create(GROUP, stored("outer", displayName="Outer"))
    change_members(adapter, "outer", [Member(name, "Group") for name in groups], ())

    assert ids(members_of(adapter, groups[0])) == sorted(pair)
    assert ids(members_of(adapter, "outer")) == sorted(groups)
    assert set(found_by_id(adapter, pair)) == set(pair)
    memberships = memberships_of(adapter, pair)
    assert [ids(memberships[name]) for name in pair] == [sorted([*groups, "outer"])] * 2
    assert found(adapter, 'groups.value eq "outer"') == sorted(pair)
    change_members(adapter, groups[0], (), [first])
    assert ids(members_of(adapter, groups[0])) == [second]
    adapter.delete(USER, first)
    assert ids(members_of(adapter, groups[1])) == [second]
    assert ids(memberships_of(adapter, [second])[second]) == sorted([*groups, "outer"])


def test_a_member_in_another_case_stays_when_somebody_else_is_removed(place: Place) -> None:
    adapter, attribute = place.adapter, place.adapter._tree.units["User"].layout.id
    adapter.create(USER, stored("a\u00e9", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("a\u00e9", "User")], ())

    assert not change_members(adapter, "g", (), ["A\u00c9"])
    assert ids(members_of(adapter, "g")) == ["a\u00e9"]
    if attribute == "scimId":
        return
    dn = place.entry("(cn=G)", "1.1")["dn"][0]
    spelled = f"{attribute}=A\u00c9,ou=users,{place.base}".encode()
    place.change(dn, (ldap_client.MOD_REPLACE, "member", [spelled]))
    assert ids(members_of(adapter, "g")) == ["a\u00e9"]
    assert change_members(adapter, "g", (), ["a\u00e9"])
    assert list(members_of(adapter, "g")) == []


def test_ids_that_the_directory_takes_as_equal_conflict_and_are_not_mixed_up(place: Place) -> None:
    adapter = place.adapter
    adapter.create(USER, stored("a", userName="a"))

    with pytest.raises(ResourceNotFound):
        adapter.get(USER, "A")
    if place.adapter._tree.units["User"].layout.id == "scimId":
        adapter.create(USER, stored("A", userName="b"))
        return
    with pytest.raises(UniquenessConflict, match="id"):
        adapter.create(USER, stored("A", userName="b"))
    with pytest.raises(ResourceNotFound):
        adapter.delete(USER, "A")
    assert adapter.get(USER, "a").document["userName"] == "a"


def test_no_two_texts_have_one_fold_that_the_directory_tells_apart(place: Place) -> None:
    place.adapter.create(GROUP, stored("g", displayName="G"))
    dn = place.entry("(cn=G)", "1.1")["dn"][0].decode()
    capitals = [c for c in map(chr, range(0x80, 0x3000)) if folded(c) != c]
    assert len(capitals) > 200
    connection = place.server.connect()

    for capital in capitals:
        connection.modify_s(dn, [(ldap_client.MOD_REPLACE, "description", [folded(capital).encode()])])
        assert connection.compare_s(dn, "description", capital.encode()), ascii(capital)
    connection.unbind_s()


def test_units_with_odd_names_are_told_apart(ldap: LdapServer) -> None:
    base = ldap.new_database()
    options = ldap.options(base) | {"user_model_name": "\u0130, a+b=c", "group_model_name": "i\u0307, a+b=c"}
    adapter = open_backend("ldap", **options)
    adapter.prepare(REGISTRY.resource_types)
    adapter.create(USER, stored("1", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    adapter.create(GROUP, stored("h", displayName="H"))

    change_members(adapter, "g", [Member("1", "User"), Member("h", "Group")], ())

    assert {m.key for m in members_of(adapter, "g")} == {("User", "1"), ("Group", "h")}
    assert ids(memberships_of(adapter, ["1"])["1"]) == ["g"]
    assert found(adapter, 'groups.value eq "g"') == ["1"]
    adapter.close()
