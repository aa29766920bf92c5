"""A start with SECRET_KEYS on what releases before, other keys and interrupted writers have left."""

import socket
import threading
from collections.abc import Iterator

import pytest
from irods.meta import iRODSMeta
from irods.models import User

from storage.adapter import Member
from storage.errors import StorageError
from storage.testing import GROUP, USER, change_members, members_of
from tests.storage.irods.store import Store, changed, create, found, values
from tests.storage.irods.test_interruptions import age_notes
from tests.storage.irods.test_privacy import readable
from tests.storage.irods.test_sealing import forget_keys

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture(autouse=True)
def no_sealed_zone(store: Store) -> Iterator[None]:
    forget_keys(store)
    yield
    forget_keys(store)


def test_displays_of_releases_before_are_sealed_in_each_group(store: Store) -> None:
    """Their unit names no group, so that two groups share a row or have twins."""
    user = create(store.adapter, USER, userName="alice")
    groups = [create(store.adapter, GROUP, displayName=name) for name in ("one", "two")]
    catalog, avu = store.fake.catalog, ("scim-member-display", '"secret"', user.id)
    for group in groups:
        change_members(store.adapter, group.id, [Member(user.id, "User")], ())
        catalog.metadata.attach(int(group.id), catalog.metadata.insert(avu))

    adapter = store.open(sealing_keys=(OLD,))
    adapter.close()

    assert "secret" not in readable(store)
    shown = [[member.display for member in members_of(adapter, group.id)] for group in groups]
    assert shown == [["secret"], ["secret"]]


def test_a_display_under_a_key_that_is_missing_stays(store: Store) -> None:
    sealed = store.open(sealing_keys=(OLD,))
    user, group = create(sealed, USER, userName="alice"), create(sealed, GROUP, displayName="staff")
    change_members(sealed, group.id, [Member(user.id, "User", "secret")], ())
    before = values(store.metadata(group.id), "scim-member-display")
    forget_keys(store)

    store.open(sealing_keys=(NEW,)).close()

    assert values(store.metadata(group.id), "scim-member-display") == before
    assert [member.display for member in members_of(sealed, group.id)] == ["secret"]
    sealed.close()


def test_a_display_that_is_too_long_to_be_sealed_is_removed_with_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    user = create(store.adapter, USER, userName="alice")
    group = create(store.adapter, GROUP, displayName="staff")
    change_members(store.adapter, group.id, [Member(user.id, "User", "secret" * 400)], ())

    adapter = store.open(sealing_keys=(OLD,))
    adapter.close()

    assert f"iRODS group {group.id}: the display of a member is too long to seal" in caplog.text
    assert "secret" not in readable(store) + caplog.text
    assert [member.display for member in members_of(adapter, group.id)] == ["alice"]


def test_a_key_of_a_release_before_stays_readable_in_no_case(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice", externalId="secret")
    with store.session() as session:
        session.metadata.remove(User, "alice", iRODSMeta("scim.key.externalId", "secret", user.id))
        session.metadata.add(User, "alice", iRODSMeta("scim.key.externalId", "secret"))
    changes, mischief = list[int](), store.fake.mischief

    def fail(connection: socket.socket) -> None:
        changes.append(706)
        if len(changes) > 1:
            mischief.hang_up(connection)

    with mischief.in_place_of(706, fail):
        adapter = store.open(sealing_keys=(OLD,))
    adapter.close()

    assert len(changes) > 1
    assert "secret" not in readable(store)
    assert found(adapter, USER, 'externalId eq "secret"') == [user.id]


def test_a_start_waits_for_a_writer_that_died(store: Store) -> None:
    user = create(store.adapter, USER, userName="alice", nickName="secret")
    mischief = store.fake.mischief
    with mischief.once_done(706, mischief.hang_up), pytest.raises(StorageError):
        store.adapter.replace(USER, changed(user, userName="alice", nickName="secret"), user.version)
    later = threading.Timer(3.0, age_notes, [store])
    later.start()

    adapter = store.open(sealing_keys=(OLD,))
    adapter.close()

    later.join()
    assert "secret" not in readable(store)
    assert adapter.get(USER, user.id).document["nickName"] == "secret"
