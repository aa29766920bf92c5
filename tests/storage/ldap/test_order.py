"""Lists in every order, found by outlines and by servers that sort: the same as by evaluation."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import ldap
import pytest
from ldap.controls.sss import SSSRequestControl
from ldap.controls.vlv import VLVRequestControl

from schema.resource_type import ResourceType
from storage.adapter import Member, Selection, Sort
from storage.search import cut, position_of, search
from storage.testing import (
    GROUP,
    LATER,
    NOW,
    USER,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    represent,
    stored,
)
from tests.openldap import LdapServer
from tests.storage.ldap.conftest import SORTING, Place, Start, make_place

_FUTURE = "2999-01-01T00:00:00.000Z"


@pytest.fixture(scope="module", params=["schema", "plain", "sorting"])
def mixed(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Resources of every kind: plain ones, odd ones, some that others have changed or written."""
    options = SORTING if request.param == "sorting" else {"with_schema": request.param == "schema"}
    server = LdapServer(**options)
    place = make_place(server)
    for resource in (
        stored("a", _FUTURE, userName="zoe", displayName="B", title="x"),
        stored("B", LATER, userName="Yves", displayName="a"),
        stored("c", NOW, userName="xaver"),
        stored("d", LATER, userName="stra\u00dfe", displayName="Stra\u00dfe"),
        stored("e", "2027-01-01T00:00:00.120Z", userName="e", displayName="two  spaces"),
        stored("f,+", "2027-01-01T00:00:00.100Z", userName="f", displayName="b", title="\u00c9"),
        stored("g", "2027-01-01T00:00:00.000Z", userName="g", name={"givenName": "G"}),
        stored("h", NOW, userName="h", displayName="changed", title="gone"),
        stored("i", NOW, userName="i", displayName=" "),
        stored("j", NOW, userName="j", displayName=""),
        stored("l", NOW, userName="l", displayName="no\0text"),
    ):
        place.adapter.create(USER, resource)
    for name, attributes in (("1", {"displayName": "G"}), ("2", {"displayName": "-"}), ("3", {})):
        place.adapter.create(GROUP, stored(name, **attributes))
    place.adapter.create(GROUP, stored("4", displayName="4"))
    place.change(
        place.entry("(uid=h)", "1.1")["dn"][0],
        (ldap.MOD_REPLACE, "displayName", [b"A new name"]),
        (ldap.MOD_DELETE, "title", None),
    )
    # One that somebody has begun to delete.
    place.adapter.create(USER, stored("k", userName="k"))
    version = place.adapter._tree.units["User"].layout.version
    place.change(place.entry("(uid=k)", "1.1")["dn"][0], (ldap.MOD_REPLACE, version, b"0"))
    yield place
    place.adapter.close()
    server.remove()


@pytest.fixture(scope="module")
def with_others(mixed: Place) -> Place:
    """The same, and a person of another program, and two that have become resources of ours."""
    for name in (b"others", b"adopted"):
        mixed.add(f"uid={name.decode()},ou=Users", objectClass=b"inetOrgPerson", cn=name, sn=b"S")
    mixed.add("displayName=Named,ou=Users", objectClass=b"inetOrgPerson", cn=b"N", sn=b"N", uid=b"named")
    ids = {r.document["userName"]: r.id for r in mixed.adapter.scan(USER)}
    mixed.adapter.replace(USER, stored(ids["adopted"], userName="adopted", displayName="M"))
    # What an entry is called by stays, though it is no value of the resource any more.
    mixed.adapter.replace(USER, stored(ids["named"], userName="named"))
    return mixed


_ORDERS = [
    *("", "id", "userName", "displayName", "title", "name.givenName"),
    *("meta.created", "meta.lastModified"),
]


def same_as_evaluated(place: Place, resource_type: ResourceType, order: str, descending: bool) -> None:
    path = resource_type.path(order) if order else None
    sort = Sort(path, descending) if path else None
    every = list(place.adapter.scan(resource_type))
    positions = [position_of(one, sort, represent(one, False)) for one in every[1:4:2]]
    selections = [Selection(sort=sort, offset=o, limit=n) for o in (0, 1, 3, 99) for n in (0, 1, 4, None)]
    selections += [Selection(sort=sort, after=position, limit=3) for position in positions]
    selections += [Selection(sort=sort, before=position, limit=3) for position in positions]
    for selection in selections:
        expected = cut(every, None, selection, lambda one: represent(one, False))

        page = search(place.adapter, resource_type, selection, represent)

        assert page.total == expected.total == len(every)
        assert list(page.resources) == list(expected.resources), selection


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", _ORDERS)
def test_every_order_is_that_of_evaluation(mixed: Place, order: str, descending: bool) -> None:
    same_as_evaluated(mixed, USER, order, descending)
    if order in ("", "id", "displayName", "meta.created"):
        same_as_evaluated(mixed, GROUP, order, descending)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", _ORDERS)
def test_every_order_holds_what_others_wrote(with_others: Place, order: str, descending: bool) -> None:
    same_as_evaluated(with_others, USER, order, descending)


def test_members_are_shown_as_their_resources_show_themselves(with_others: Place) -> None:
    adapter = with_others.adapter
    types = {USER: list(adapter.scan(USER)), GROUP: list(adapter.scan(GROUP))}
    shown = {
        r.id: Member(r.id, resource_type.name, resource_type.display(r.document))
        for resource_type, resources in types.items()
        for r in resources
    }
    adapter.create(GROUP, stored("all", displayName="All"))

    change_members(adapter, "all", list(shown.values()), ())

    assert found_by_id(adapter, list(shown)) == shown
    assert {m.resource_id: m for m in members_of(adapter, "all")} == shown
    above = memberships_of(adapter, [r.id for r in types[USER]])
    assert {i: [m.display for m in found] for i, found in above.items()} == {
        r.id: ["All"] for r in types[USER]
    }
    adapter.delete(GROUP, "all")


def filled(server: LdapServer) -> Any:
    adapter = make_place(server).adapter
    for number in range(5):
        adapter.create(USER, stored(str(number), userName=f"u{number}"))
    return adapter


def first_two(adapter: Any) -> tuple[int, list[str]]:
    page = search(adapter, USER, Selection(limit=2), represent)
    return page.total, [r.id for r in page.resources]


def sort_first(connection: Any, adapter: Any) -> None:
    """Sort the entries below a base; the server keeps the list until the connection ends."""
    sort, view = SSSRequestControl(True, ["scimPlace"]), VLVRequestControl(True, 0, 0, 1, 0)
    message = connection.search_ext(
        adapter._base, ldap.SCOPE_SUBTREE, "(scimId=*)", ["1.1"], serverctrls=[sort, view]
    )
    connection.result3(message)


def test_a_server_sorts_as_often_as_it_is_asked(start_server: Start) -> None:
    adapter = filled(start_server(**SORTING))
    answers: list[Any] = []

    def ask() -> None:
        answers.extend(first_two(adapter) for _ in range(10))

    threads = [Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [(5, ["0", "1"])] * 60


def test_a_server_that_is_busy_sorting_is_not_needed(start_server: Start) -> None:
    server = start_server(modules=["sssvlv"], directives=["overlay sssvlv", "sssvlv-max 1"])
    adapter = filled(server)
    connection = server.connect()
    sort_first(connection, adapter)
    before = server.logged()

    assert first_two(adapter) == (5, ["0", "1"])

    assert "Other sort requests already in progress" in server.log(before)
    connection.unbind_s()


def test_the_first_page_of_a_sorted_list_needs_no_connection_of_its_own(start_server: Start) -> None:
    # The server keeps one list at a time.
    server = start_server(modules=["sssvlv"], directives=["overlay sssvlv", "sssvlv-max 1"])
    adapter = filled(server)
    adapter.get(USER, "0")
    before = server.logged()

    pages = [search(adapter, USER, Selection(limit=limit), represent) for limit in (0, 1, 2, 5, 9) * 3]

    assert [(page.total, len(page.resources)) for page in pages] == [(5, n) for n in (0, 1, 2, 5, 5)] * 3
    assert "BIND" not in server.log(before)
    # No list is left: the server takes another one.
    connection = server.connect()
    sort_first(connection, adapter)
    connection.unbind_s()


def test_a_base_may_be_written_in_another_way(start_server: Start) -> None:
    place = make_place(start_server())
    place.base = place.base.upper().replace(",", ", ")
    adapter = place.another()
    adapter.create(USER, stored("1", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))

    change_members(adapter, "g", [Member("1", "User")], ())

    assert list(members_of(adapter, "g")) == [Member("1", "User", "a")]
    assert [m.resource_id for m in memberships_of(adapter, ["1"])["1"]] == ["g"]
