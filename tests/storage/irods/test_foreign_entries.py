"""Accounts of other programs, and the resources of this server beside them."""

import socket

import pytest

from storage.errors import UniquenessConflict
from storage.testing import GROUP, USER, change_members
from tests.storage.irods.store import Store, changed, create


def foreign(store: Store, name: str) -> str:
    with store.session() as session:
        return str(session.users.create(name, "rodsuser").id)


def test_an_adoption_takes_no_name_from_a_resource(store: Store) -> None:
    """Another program can give an account the name of a resource whose account has an old name."""
    adapter = store.adapter
    adapter.replace(USER, changed(create(adapter, USER, userName="alice"), userName="carol"))
    account = adapter.get(USER, foreign(store, "carol"))

    with pytest.raises(UniquenessConflict):
        adapter.replace(USER, account, account.version)

    assert not [avu for avu in store.metadata(account.id) if avu[0].startswith("scim")]


def test_of_two_names_that_differ_in_case_one_is_adopted(store: Store) -> None:
    adapter = store.adapter
    first, second = (adapter.get(USER, foreign(store, name)) for name in ("Bob", "bob"))

    adapter.replace(USER, first, first.version)
    with pytest.raises(UniquenessConflict):
        adapter.replace(USER, second, second.version)

    assert adapter.get(USER, first.id).version != adapter.get(USER, second.id).version == "0"


def test_an_account_that_is_completed_meanwhile_is_not_foreign(store: Store) -> None:
    """Its document comes after the first look for it, and its note goes before the look for notes."""
    accounts = vars(store.adapter)["_accounts"]
    with store.session() as session:
        session.groups.create("staff")
    (account,) = accounts.named("staff")
    looks, mischief = list[int](), store.fake.mischief

    def complete(connection: socket.socket) -> None:
        looks.append(702)
        if len(looks) == 2:
            store.fake.catalog.account("staff").avus = [("scim.document", "{}", "1.a/0/1")]

    with mischief.in_place_of(702, complete):
        assert not accounts.is_foreign(account)
    assert len(looks) > 1


@pytest.mark.parametrize("treatment", ["hidden", "read", "managed"])
def test_an_account_of_the_other_type_leaves_a_resource_its_name(store: Store, treatment: str) -> None:
    adapter = store.open(foreign_entries=treatment)
    foreign(store, "person")
    with store.session() as session:
        session.groups.create("crowd")

    group, user = create(adapter, GROUP, displayName="person"), create(adapter, USER, userName="crowd")

    assert adapter.get(GROUP, group.id).document["displayName"] == "person"
    assert adapter.get(USER, user.id).document["userName"] == "crowd"
    assert [store.account_of(one.id)[:-16] for one in (group, user)] == ["person.", "crowd."]
    adapter.close()


def test_an_account_that_a_zone_needs_leaves_no_group(store: Store) -> None:
    group, number = create(store.adapter, GROUP, displayName="staff"), foreign(store, "anonymous")
    with store.session() as session:
        session.groups.addmember("staff", "anonymous")

    assert not change_members(store.adapter, group.id, (), (number,))

    with store.session() as session:
        assert [one.name for one in session.groups.getmembers("staff")] == ["anonymous"]
