"""How much is read of a directory of ten thousand users, by what it logs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import ldap
import pytest
from ldap.controls.sss import SSSRequestControl

from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection, Sort, StoredResource
from storage.index_keys import place_of
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.changes import attributes_of
from storage.search import cut, search
from storage.testing import (
    GROUP,
    USER,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    represent,
    stored,
)
from tests.openldap import LdapServer
from tests.storage.ldap.conftest import SORTING, Place, make_place, open_restricted


def found(adapter: Any, text: str) -> list[str]:
    def shown(resource: StoredResource, links: bool) -> Mapping[str, Any]:
        groups = [{"value": m.resource_id} for m in resource.memberships or ()]
        return {**represent(resource, links), "groups": groups}

    selection = Selection(resolve(parse_filter(text), USER))
    return [r.id for r in search(adapter, USER, selection, shown).resources]


COUNT = 10_000


def filled(**options: Any) -> Place:
    """Return a base with ten thousand users, added as fast as a connection takes them."""
    place = make_place(LdapServer(**options))
    unit = place.adapter._tree.units["User"]
    connection = place.server.connect()
    pending = []
    for number in range(COUNT):
        document: dict[str, Any] = {"userName": f"user{number:05}", "displayName": f"Name {number}"}
        document["externalId"] = f"e{number}"
        document["emails"] = [{"value": f"m{number}@x"}]
        resource = stored(f"id{number:05}", f"20{number % 90 + 10}-01-01T00:00:00.000Z", **document)
        resource = replace(resource, place=place_of(number + 1))
        values, classes = attributes_of(unit, resource, 1, {}, ())
        values["objectClass"] = [b"inetOrgPerson", *(name.encode() for name in classes)]
        entry = [(name, value) for name, value in values.items() if value]
        pending.append(connection.add(unit.name_of(resource.id), entry))
        if len(pending) == 200:
            for message in pending:
                connection.result(message)
            pending.clear()
    for message in pending:
        connection.result(message)
    return place


@pytest.fixture(scope="module")
def with_schema() -> Iterator[Place]:
    place = filled(**SORTING)
    yield place
    place.adapter.close()
    place.server.remove()


@pytest.fixture(scope="module")
def without_schema() -> Iterator[Place]:
    place = filled(with_schema=False)
    yield place
    place.adapter.close()
    place.server.remove()


def unsorting(server: ServerCapabilities) -> ServerCapabilities:
    """Return what a server offers that does not sort."""
    return replace(server, controls=server.controls - {SSSRequestControl.controlType})


@pytest.fixture(scope="module", params=["schema", "plain", "sorting"])
def large(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The base on each server; that with the schema also as on a server that does not sort."""
    place = request.getfixturevalue("without_schema" if request.param == "plain" else "with_schema")
    if request.param != "schema":
        yield place
        return
    adapter = open_restricted(place.server, place.base, unsorting)
    yield replace(place, adapter=adapter)
    adapter.close()


@pytest.fixture(scope="module")
def every(large: Place) -> list[StoredResource]:
    return list(large.adapter.scan(USER))


def searches(server: LdapServer, since: int) -> list[int]:
    """Return the number of entries that each search found which was logged after position `since`."""
    return [int(n) for n in re.findall(r"SEARCH RESULT tag=101 .*?nentries=(\d+)", server.log(since))]


def read_whole(server: LdapServer, since: int) -> int:
    """Return how many entries were read with the JSON of their resources."""
    log = server.log(since)
    counts = dict(re.findall(r"(conn=\d+ op=\d+) SEARCH RESULT tag=101 .*?nentries=(\d+)", log))
    asked = re.findall(r"(conn=\d+ op=\d+) SRCH attr=.*\b(?:scimData|info)\b", log)
    return sum(int(counts.get(operation, 0)) for operation in asked)


@pytest.mark.parametrize(
    "text",
    [
        'id eq "id07777"',
        'userName eq "USER07777"',
        'externalId eq "e7777"',
        'emails.value eq "m7777@x"',
        'emails[value eq "m7777@x"]',
        'displayName eq "name 7777"',
        'displayName sw "Name 7777"',
        'displayName co "me 7777"',
        'userName sw "user07777" and not (title pr)',
        'userName eq "nobody" or displayName eq "Name 7777"',
    ],
)
def test_a_look_up_reads_one_entry_of_ten_thousand(large: Place, text: str) -> None:
    before = large.server.logged()

    assert found(large.adapter, text) == ["id07777"]

    assert sum(searches(large.server, before)) == 1


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ["", "meta.created", "userName", "displayName", "id"])
def test_a_page_of_a_long_list_reads_no_other_resources_whole(
    large: Place, every: list[StoredResource], order: str, descending: bool
) -> None:
    path = USER.path(order) if order else None
    selection = Selection(sort=Sort(path, descending) if path else None, offset=9_490, limit=5)
    expected = cut(every, None, selection, lambda one: represent(one, False))
    before = large.server.logged()

    page = search(large.adapter, USER, selection, represent)

    assert page.total == COUNT
    assert [r.id for r in page.resources] == [r.id for r in expected.resources]
    if order != "meta.created" or large.adapter._tree.units["User"].layout.created:
        assert read_whole(large.server, before) == 5


def test_a_server_that_sorts_is_asked_for_no_more_than_the_page(
    request: pytest.FixtureRequest, large: Place
) -> None:
    sorts = large.adapter._listing._sorts
    created = USER.path("meta.created")
    assert created is not None
    for sort in (None, Sort(created, descending=True)):
        before = large.server.logged()

        page = search(large.adapter, USER, Selection(sort=sort, offset=5_000, limit=100), represent)

        assert (page.total, len(page.resources)) == (COUNT, 100)
        if sorts:
            assert sum(searches(large.server, before)) == 100
    assert sorts == (request.node.callspec.params["large"] == "sorting")


def test_members_are_read_in_outline(large: Place) -> None:
    adapter = large.adapter
    names = [f"id{number:05}" for number in range(0, 4_000, 2)]
    adapter.create(GROUP, stored("g", displayName="Every other"))
    before = large.server.logged()

    change_members(adapter, "g", [Member(name, "User") for name in names], ())
    members = list(members_of(adapter, "g"))
    known = found_by_id(adapter, [*names, "nobody"])

    assert [m.resource_id for m in members] == names
    assert members[7] == known["id00014"] == Member("id00014", "User", "Name 14")
    assert len(known) == len(names)
    assert read_whole(large.server, before) < 10
    if adapter._tree.units["User"].layout.created:
        assert len(searches(large.server, before)) < 100
    adapter.delete(GROUP, "g")


def test_the_users_of_a_group_are_found_by_its_members(large: Place) -> None:
    adapter = large.adapter
    for name, member in (("inner", Member("id00002", "User")), ("outer", Member("inner", "Group"))):
        adapter.create(GROUP, stored(name, displayName=name))
        change_members(adapter, name, [member, Member("id00001", "User")], ())
    before = large.server.logged()

    assert found(adapter, 'groups.value eq "inner"') == ["id00001", "id00002"]
    assert found(adapter, 'groups.value eq "outer" and userName sw "user"') == ["id00001", "id00002"]
    assert found(adapter, 'groups.value eq "nobody"') == found(adapter, 'groups.value eq "id00001"') == []

    assert sum(searches(large.server, before)) < 60
    for name in ("inner", "outer"):
        adapter.delete(GROUP, name)


def test_every_resource_of_a_long_list_can_be_evaluated(large: Place) -> None:
    assert found(large.adapter, 'nickName pr or userName ew "99999"') == []


def test_a_large_group_changes_by_the_one_member(large: Place) -> None:
    adapter = large.adapter
    adapter.create(GROUP, stored("g", displayName="Everybody"))
    change_members(adapter, "g", [Member(f"id{n:05}", "User") for n in range(5_000)], ())
    before = large.server.logged()

    assert change_members(adapter, "g", [Member("id07777", "User")], ["id00001"])
    assert not change_members(adapter, "g", [Member("id07777", "User")], ["id00001"])

    log = large.server.log(before)
    changed = re.findall(r"MOD attr=(.*)", log)
    assert len(changed) == 1 and changed[0].split()[:2] == ["member", "member"]
    assert sum(searches(large.server, before)) < 20
    assert sum(1 for _ in members_of(adapter, "g")) == 5_000
    connection = large.server.connect()
    [(_, values)] = connection.search_s(large.base, ldap.SCOPE_SUBTREE, "(cn=Everybody)", ["member"])
    assert 5_000 <= len(values["member"]) <= 5_001
    adapter.delete(GROUP, "g")


def test_memberships_of_a_page_of_users_are_found_together(large: Place) -> None:
    adapter = large.adapter
    for number in range(3):
        adapter.create(GROUP, stored(f"g{number}", displayName=f"G{number}"))
        members = [Member(f"id{n:05}", "User") for n in range(number, 100, 3)]
        change_members(adapter, f"g{number}", members, ())
    adapter.create(GROUP, stored("outer", displayName="Outer"))
    change_members(adapter, "outer", [Member("g1", "Group")], ())
    before = large.server.logged()

    above = memberships_of(adapter, [f"id{n:05}" for n in range(100)])

    assert [m.resource_id for m in above["id00001"]] == ["g1", "outer"]
    assert [m.direct for m in above["id00001"]] == [True, False]
    assert len(above) == 100
    assert len(searches(large.server, before)) <= 4
    for group in ("g0", "g1", "g2", "outer"):
        adapter.delete(GROUP, group)


def test_connections_are_used_again(large: Place) -> None:
    large.adapter.get(USER, "id00001")
    before = large.server.logged()

    for _ in range(20):
        large.adapter.get(USER, "id00001")

    assert "BIND" not in large.server.log(before)
