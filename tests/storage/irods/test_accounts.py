"""Users and groups as accounts of a zone: names, metadata, passwords, what others made, what stays behind."""

import re
from dataclasses import replace

import pytest
from irods.exception import CAT_INVALID_AUTHENTICATION

from schema.registry import load_registry
from schema.resource_type import ResourceType, Schema
from storage.adapter import Member, Selection, StorageAdapter
from storage.errors import (
    ResourceNotFound,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)
from storage.search import search
from storage.testing import (
    GROUP,
    USER,
    among,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    represent,
    stored,
)
from tests.backends import open_backend
from tests.storage.irods.store import Store, changed, create, found, values


@pytest.mark.parametrize(
    ("user_name", "account"),
    [
        ("alice", "alice"),
        ("Bob.Smith@example.org", "bob.smith@example.org"),
        ("zo\u00eb", r"zo\.[0-9a-f]{16}"),
        ("o'brien && x || y", r"o_brien_x_y\.[0-9a-f]{16}"),
        ("x" * 64, r"x{46}\.[0-9a-f]{16}"),
        ("..", r"x\.[0-9a-f]{16}"),
        ("a#tempZone", r"a_tempzone\.[0-9a-f]{16}"),
        ("x.0123456789abcdef", r"x\.0123456789abcdef\.[0-9a-f]{16}"),
        ("\U0001f600", r"x\.[0-9a-f]{16}"),
    ],
)
def test_accounts_have_the_user_name_or_what_irods_can_hold_of_it(
    store: Store, adapter: StorageAdapter, user_name: str, account: str
) -> None:
    user = create(adapter, USER, userName=user_name)

    assert re.fullmatch(account, store.account_of(user.id))
    assert adapter.get(USER, user.id).document["userName"] == user_name
    quoted = user_name.replace("\\", "\\\\").replace('"', '\\"')
    assert found(adapter, USER, f'userName eq "{quoted.upper()}"') == [user.id]
    with pytest.raises(UniquenessConflict):
        create(adapter, USER, userName=user_name.upper())


def test_users_and_groups_may_have_the_same_names(store: Store, adapter: StorageAdapter) -> None:
    group = create(adapter, GROUP, displayName="alice")
    user = create(adapter, USER, userName="alice")
    again = create(adapter, GROUP, displayName="alice")
    odd = create(adapter, GROUP, displayName="Staff & Gu\u00ebsts")

    assert store.account_of(group.id) == "alice"
    assert store.account_of(user.id).startswith("alice.")
    assert store.account_of(odd.id).startswith("Staff_Gu_sts.")
    assert found(adapter, USER, 'userName eq "alice"') == [user.id]
    assert found(adapter, GROUP, 'displayName eq "ALICE"') == [group.id, again.id]


def test_a_renamed_user_keeps_the_account_and_gives_up_the_name(
    store: Store, adapter: StorageAdapter
) -> None:
    first = create(adapter, USER, userName="old")

    adapter.replace(USER, changed(first, userName="new"))
    second = create(adapter, USER, userName="old")

    assert store.account_of(first.id) == "old" and store.account_of(second.id).startswith("old.")
    assert found(adapter, USER, 'userName eq "new"') == [first.id]
    assert found(adapter, USER, 'userName eq "old"') == [second.id]
    with pytest.raises(UniquenessConflict):
        create(adapter, USER, userName="NEW")
    with pytest.raises(UniquenessConflict):
        adapter.replace(USER, changed(second, userName="new"))
    adapter.delete(USER, first.id)
    adapter.replace(USER, changed(second, userName="new"))


def test_ids_are_those_of_irods(store: Store, adapter: StorageAdapter) -> None:
    user = create(adapter, USER, userName="alice")

    with store.session() as session:
        assert str(session.users.get("alice").id) == user.id == user.document["id"]
        assert session.users.get("alice").type == "rodsuser"


def test_values_are_kept_in_pieces_that_can_be_read_back(store: Store, adapter: StorageAdapter) -> None:
    title = "\u00e9" * 4000 + "\U0001f600\x01\r\n\ufffe 'quoted' && || % _ \\ <&>" + " " * 3000

    user = create(adapter, USER, userName="a", title=title, nickName="", active=False)

    assert adapter.get(USER, user.id).document["title"] == title
    assert adapter.get(USER, user.id).document["nickName"] == ""
    avus = store.metadata(user.id)
    assert max(len(part.encode()) for avu in avus for part in avu) <= 2700
    assert len(values(avus, "scim.document")) > 10
    assert all(part.isascii() and part.isprintable() for avu in avus for part in avu)


def test_previous_metadata_is_removed_on_update_and_that_of_others_stays(
    store: Store, adapter: StorageAdapter
) -> None:
    emails = [{"value": "a@x"}, {"value": "b@x"}]
    user = create(adapter, USER, userName="a", externalId="e", title="t" * 9000, emails=emails)
    with store.session() as session:
        session.users.get("a").metadata.add("project", "x", "of others")

    after = adapter.replace(USER, changed(user, userName="b", emails=[{"value": "c@x"}]))

    avus = store.metadata(user.id)
    assert len(values(avus, "scim.document")) == 1
    assert values(avus, "scim.key.userName") == ["b"]
    assert values(avus, "scim.key.emails.value") == ["c@x"]
    assert values(avus, "scim.version") == [after.version]
    assert not values(avus, "scim.key.externalId") and not values(avus, "scim.writing")
    assert ("project", "x", "of others") in avus


def test_members_are_members_in_irods(store: Store, adapter: StorageAdapter) -> None:
    group = create(adapter, GROUP, displayName="staff")
    alice, bob = (create(adapter, USER, userName=name) for name in ("alice", "bob"))
    change_members(adapter, group.id, [Member(alice.id, "User"), Member(bob.id, "User", "Bobby")], ())

    with store.session() as session:
        assert {member.name for member in session.groups.getmembers("staff")} == {"alice", "bob"}
        session.groups.removemember("staff", "alice", group_admin=False)

    assert list(members_of(adapter, group.id)) == [Member(bob.id, "User", "Bobby")]
    assert memberships_of(adapter, [alice.id]) == {}
    assert among(adapter, group.id, [alice.id, bob.id, "x"]) == {bob.id}
    assert not change_members(adapter, group.id, (), (alice.id,))
    assert change_members(adapter, group.id, (), (bob.id,))
    change_members(adapter, group.id, [Member(bob.id, "User")], ())
    assert list(members_of(adapter, group.id)) == [Member(bob.id, "User", "bob")]


def test_who_is_asked_for_is_a_member_exactly_if_the_members_show_it(
    store: Store, adapter: StorageAdapter
) -> None:
    group, inner, gone = (create(adapter, GROUP, displayName=name) for name in ("staff", "inner", "gone"))
    alice, bob = (create(adapter, USER, userName=name) for name in ("alice", "bob"))
    nested = [Member(inner.id, "Group"), Member(gone.id, "Group"), Member(alice.id, "User")]
    change_members(adapter, group.id, nested, ())
    with store.session() as session:
        session.groups.addmember("staff", store.environ["IRODS_ADMIN_USERNAME"], group_admin=False)
        session.groups.remove("gone")
        own = session.users.get(store.environ["IRODS_ADMIN_USERNAME"]).id

    asked = [group.id, inner.id, gone.id, alice.id, bob.id, str(own)]
    assert among(adapter, group.id, asked) == {inner.id, alice.id}
    assert {member.resource_id for member in members_of(adapter, group.id)} == {inner.id, alice.id}


def test_who_has_a_long_name_joins(adapter: StorageAdapter) -> None:
    user = create(adapter, USER, userName="a", displayName="x" * 3000)
    group = create(adapter, GROUP, displayName="staff")

    change_members(adapter, group.id, adapter.find([user.id]), ())

    assert [member.display for member in members_of(adapter, group.id)] == ["x" * 3000]


def test_a_display_that_cannot_be_held_changes_nothing(adapter: StorageAdapter) -> None:
    group = create(adapter, GROUP, displayName="staff")
    alice, bob = (create(adapter, USER, userName=name) for name in ("alice", "bob"))

    with pytest.raises(ValueRefused, match="^members.display: "):
        joining = [Member(alice.id, "User"), Member(bob.id, "User", "x" * 3000)]
        change_members(adapter, group.id, joining, ())
    assert list(members_of(adapter, group.id)) == []


def test_passwords_are_those_of_the_accounts_and_are_kept_nowhere_else(
    store: Store, adapter: StorageAdapter
) -> None:
    user = adapter.create(USER, replace(stored("1", userName="a"), secrets={"password": "t1meMa$heen"}))

    with store.session("a", "t1meMa$heen") as session:
        assert session.users.get("a").type == "rodsuser"
    adapter.replace(USER, changed(user, userName="a"))
    with store.session("a", "t1meMa$heen") as session:
        session.users.get("a")
    adapter.replace(USER, replace(changed(user, userName="a"), secrets={"password": "0ther"}))
    with pytest.raises(CAT_INVALID_AUTHENTICATION), store.session("a", "t1meMa$heen") as session:
        session.users.get("a")
    assert "0ther" not in str(store.metadata(user.id))
    assert adapter.get(USER, user.id).secrets == {}


def test_a_password_is_not_said_to_be_removed(adapter: StorageAdapter) -> None:
    user = adapter.create(USER, replace(stored("1", userName="a"), secrets={"password": "t1meMa$heen"}))

    with pytest.raises(ValueRefused, match="password"):
        adapter.replace(USER, replace(changed(user, userName="a"), removed_secrets=frozenset({"password"})))


@pytest.mark.parametrize("password", ["x" * 43, "pass\u00e9", " x ", "a\nb", ""])
def test_passwords_that_irods_cannot_hold_are_refused(adapter: StorageAdapter, password: str) -> None:
    with pytest.raises(ValueRefused, match="^password: ") as caught:
        adapter.create(USER, replace(stored("1", userName="a"), secrets={"password": password}))

    assert not password or password not in str(caught.value)
    assert found(adapter, USER, "id pr") == []


def test_accounts_of_other_programs_are_read_and_taken_over(store: Store, adapter: StorageAdapter) -> None:
    with store.session() as session:
        number = str(session.users.create("Carol", "rodsuser").id)
        session.groups.create("lab", group_admin=False)
        session.groups.addmember("lab", "Carol", group_admin=False)
        session.users.create("helper", "groupadmin")

    assert [user.document["userName"] for user in adapter.scan(USER)] == ["Carol"]
    (group,) = adapter.scan(GROUP)
    assert group.document["displayName"] == "lab"
    assert list(members_of(adapter, group.id)) == [Member(number, "User", "Carol")]
    for text in ('userName eq "CAROL"', 'userName sw "ca"', 'userName co "aro"', "userName pr"):
        assert found(adapter, USER, text) == [number]
    with pytest.raises(UniquenessConflict):
        create(adapter, USER, userName="carol")
    for name in ("rods", "helper", "public"):
        with pytest.raises(UniquenessConflict):
            create(adapter, USER, userName=name)

    before = adapter.get(USER, number)
    after = adapter.replace(USER, changed(before, userName="Carol", title="Dr"), before.version)
    with pytest.raises(VersionMismatch):
        adapter.replace(USER, changed(before, userName="Carol", title="x"), before.version)
    assert adapter.get(USER, number).document["title"] == "Dr"
    assert adapter.get(USER, number).version == after.version != before.version
    adapter.delete(USER, number)
    assert "Carol" not in store.names()


def test_what_the_zone_needs_is_neither_shown_nor_touched(store: Store, adapter: StorageAdapter) -> None:
    with store.session() as session:
        session.users.create("anonymous", "rodsuser")
        numbers = [(GROUP, session.groups.get(name).id) for name in ("public", "scim.lock")]
        numbers += [(USER, session.users.get(name).id) for name in ("rods", "anonymous")]

    assert not list(adapter.scan(USER)) and not list(adapter.scan(GROUP))
    for resource_type, number in numbers:
        for call in (adapter.get, adapter.delete):
            with pytest.raises(ResourceNotFound):
                call(resource_type, str(number))
        assert found_by_id(adapter, [str(number)]) == {}


def test_documents_that_cannot_be_read_do_not_hide_the_account(store: Store, adapter: StorageAdapter) -> None:
    user = create(adapter, USER, userName="a", title="t")
    other = create(adapter, USER, userName="b")
    with store.session() as session:
        session.users.get("a").metadata.set("scim.document", "{broken", "9.x/0/1")

    assert [one.document["userName"] for one in adapter.scan(USER)] == ["a", "b"]
    assert adapter.get(USER, user.id).document["userName"] == "a"
    adapter.replace(USER, changed(user, userName="a", title="u"))
    assert found(adapter, USER, 'title eq "u"') == [user.id]
    assert found(adapter, USER, 'userName eq "b"') == [other.id]


def test_other_resource_types_are_refused_at_the_start(store: Store) -> None:
    device = ResourceType("Device", "/Devices", "", Schema("urn:x", "Device", "", ()))
    adapter = open_backend("irods", irods_host="127.0.0.1", irods_port=1)

    with pytest.raises(UnsupportedByBackend, match="no resources of type Device"):
        adapter.prepare([*load_registry().resource_types, device])


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="IRODS_TLS"):
        open_backend("irods", irods_host="h", irods_authentication="pam")
    with pytest.raises(ValueError, match="IRODS_ZONE"):
        open_backend("irods", irods_host="h", irods_zone="z' or 'x")


def test_long_lists_come_page_by_page(store: Store, adapter: StorageAdapter) -> None:
    group = create(adapter, GROUP, displayName="all")
    for number in range(1100):
        store.fake.catalog.add(f"u{number:04}", "rodsuser")
        store.fake.catalog.join("all", f"u{number:04}")

    assert len(list(adapter.scan(USER))) == 1100
    page = search(adapter, USER, Selection(offset=1090, limit=50), represent)
    assert [user.document["userName"] for user in page.resources] == [f"u{n}" for n in range(1090, 1100)]
    assert page.total == 1100
    ids = [member.resource_id for member in members_of(adapter, group.id)]
    assert len(ids) == 1100 and ids == sorted(ids, key=int)
    assert len(memberships_of(adapter, ids)) == 1100
