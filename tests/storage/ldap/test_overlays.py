"""Overlays of OpenLDAP that look at other entries, and change them, during a write of ours."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ldap
import pytest

from storage.adapter import Member
from storage.errors import UniquenessConflict, ValueRefused, VersionMismatch
from storage.testing import GROUP, USER, change_members, members_of, stored
from tests.openldap import SUFFIX, Overlays
from tests.storage.ldap.conftest import Place, Start, make_place

_UNITS = f"{SUFFIX}?ou?sub?(objectClass=organizationalUnit)"
UNIQUE = Overlays(
    ["overlay unique", *(f'unique_uri "serialize ldap:///{SUFFIX}?{name}?sub"' for name in ("uid", "mail"))],
    ["unique"],
)
CONSTRAINT = Overlays(
    ["overlay constraint", f"constraint_attribute title uri ldap:///{_UNITS}"], ["constraint"]
)
REFERENCES = Overlays(
    [
        *("overlay memberof", "memberof-group-oc groupOfMembers", "memberof-member-ad member"),
        *("overlay refint", "refint_attributes member owner"),
    ],
    ["memberof", "refint"],
)


@pytest.fixture
def overlaid(start_server: Start) -> Callable[[Overlays], Place]:
    """Return a base of a server with overlays."""
    return lambda overlays: make_place(
        start_server(directives=overlays.directives, modules=overlays.modules)
    )


def user(resource_id: str = "1", **attributes: Any) -> Any:
    return stored(resource_id, **{"userName": resource_id, **attributes})


def member_of(place: Place, name: str) -> list[bytes]:
    return place.entry(f"(uid={name})", "memberOf").get("memberOf", [])


# -- overlays that look


def test_unique_guards_values_and_leaves_free_ones_alone(overlaid: Callable[[Overlays], Place]) -> None:
    adapter = overlaid(UNIQUE).adapter
    adapter.create(USER, user("1", emails=[{"value": "a@x"}]))
    adapter.create(USER, user("2", emails=[{"value": "b@x"}]))

    conflicts: list[Callable[[], object]] = [
        lambda: adapter.create(USER, user("3", emails=[{"value": "A@x"}])),
        lambda: adapter.replace(USER, user("2", emails=[{"value": "A@x"}])),
    ]
    for conflict in conflicts:
        with pytest.raises(UniquenessConflict) as caught:
            conflict()
        assert caught.value.attribute == "emails.value"
    adapter.create(USER, user("3"))
    before = adapter.get(USER, "1")
    after = adapter.replace(USER, user("1", userName="one", emails=[{"value": "c@x"}]), before.version)
    secret = replace(user("1", userName="uno"), secrets={"password": "t1meMa$heen"})
    adapter.replace(USER, secret, after.version)

    assert adapter.get(USER, "1").document["userName"] == "uno"
    with pytest.raises(VersionMismatch):
        adapter.replace(USER, user("1", userName="late"), before.version)
    with pytest.raises(VersionMismatch):
        adapter.delete(USER, "1", before.version)
    adapter.delete(USER, "1", adapter.get(USER, "1").version)
    adapter.create(USER, user("4", userName="uno", emails=[{"value": "c@x"}]))


def test_a_constraint_by_search_refuses_what_it_does_not_find_alone(
    overlaid: Callable[[Overlays], Place],
) -> None:
    adapter = overlaid(CONSTRAINT).adapter
    adapter.create(USER, user(title="Users"))

    adapter.replace(USER, user(title="Groups"), adapter.get(USER, "1").version)

    changes: list[Callable[[], object]] = [
        lambda: adapter.replace(USER, user(title="x")),
        lambda: adapter.create(USER, user("2", title="x")),
    ]
    for change in changes:
        with pytest.raises(ValueRefused, match="constraint on title"):
            change()
    assert adapter.get(USER, "1").document["title"] == "Groups"


# -- overlays that change


def test_references_follow_what_is_changed_and_deleted(overlaid: Callable[[Overlays], Place]) -> None:
    place = overlaid(REFERENCES)
    adapter = place.adapter
    for name in "ab":
        adapter.create(USER, user(name))
    for name in ("g", "outer"):
        adapter.create(GROUP, stored(name, displayName=name))
    change_members(adapter, "g", [Member("a", "User"), Member("b", "User")], ())
    change_members(adapter, "outer", [Member("a", "User"), Member("g", "Group")], ())
    assert len(member_of(place, "a")) == 2

    adapter.replace(GROUP, stored("g", displayName="G"), adapter.get(GROUP, "g").version)
    change_members(adapter, "g", (), ["b"])
    assert member_of(place, "b") == []
    adapter.delete(GROUP, "g", adapter.get(GROUP, "g").version)
    assert [name.split(b",")[0] for name in member_of(place, "a")] == [b"scimId=outer"]
    assert [m.resource_id for m in members_of(adapter, "outer")] == ["a"]
    adapter.delete(USER, "a", adapter.get(USER, "a").version)

    assert list(members_of(adapter, "outer")) == []
    adapter.create(USER, user("a"))
    assert list(members_of(adapter, "outer")) == [] and member_of(place, "a") == []


# -- versions by value


def test_a_change_by_an_administrator_between_reading_and_writing_is_not_overwritten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.adapter.create(USER, user(title="Guide", emails=[{"value": "a@x"}]))
    version, replace_entry = place.adapter.get(USER, "1").version, place.adapter._writer.replace

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.undo()
        place.change(place.entry("(uid=1)", "1.1")["dn"][0], (ldap.MOD_REPLACE, "title", [b"Chief"]))
        return replace_entry(*arguments)

    monkeypatch.setattr(place.adapter._writer, "replace", overtaken)

    with pytest.raises(VersionMismatch):
        place.adapter.replace(USER, user(title="Boss", emails=[{"value": "a@x"}]), version)
    assert place.adapter.get(USER, "1").document["title"] == "Chief"


def test_a_change_of_members_between_reading_and_writing_is_noticed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.adapter.create(USER, user())
    place.adapter.create(GROUP, stored("g", displayName="G"))
    for joining, leaving in (([Member("1", "User")], ()), ((), ["1"])):
        version, replace_entry = place.adapter.get(GROUP, "g").version, place.adapter._writer.replace

        def overtaken(*arguments: Any, change: Any = (joining, leaving), write: Any = replace_entry) -> Any:
            monkeypatch.undo()
            change_members(place.adapter, "g", *change)
            return write(*arguments)

        monkeypatch.setattr(place.adapter._writer, "replace", overtaken)

        with pytest.raises(VersionMismatch):
            place.adapter.replace(GROUP, stored("g", displayName="H"), version)
    assert place.adapter.get(GROUP, "g").document["displayName"] == "G"
