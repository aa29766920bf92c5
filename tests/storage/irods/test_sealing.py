"""With SECRET_KEYS, other users of a zone read no resource; look-ups and unique values work as without."""

from collections.abc import Callable, Iterator

import pytest
from irods.meta import iRODSMeta
from irods.models import User

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member, StorageAdapter
from storage.errors import StorageUnavailable, UniquenessConflict
from storage.progress import followed
from storage.testing import GROUP, USER, StorageContract, change_members, members_of
from storage.testing.own_ids import OwnIds
from tests.conftest import KEY, ScimClient
from tests.storage.irods.store import Store, changed, create, found, values
from tests.storage.irods.test_privacy import readable

OLD, NEW = b"o" * 32, b"n" * 32
PERSON = {
    "userName": "alice",
    "externalId": "secret-id",
    "displayName": "secret name",
    "emails": [{"value": "alice@secret.example"}],
}

Open = Callable[..., StorageAdapter]


@pytest.fixture
def opened(store: Store) -> Iterator[Open]:
    """Open an adapter with some keys; the zone has no sealed resources at first, and none afterwards."""
    adapters: list[StorageAdapter] = []

    def open_with(*keys: bytes) -> StorageAdapter:
        adapters.append(store.open(sealing_keys=keys))
        return adapters[-1]

    forget_keys(store)
    yield open_with
    for adapter in adapters:
        adapter.close()
    forget_keys(store)


def forget_keys(store: Store) -> None:
    with store.session() as session:
        holder = session.query(User.id).filter(User.name == "scim.lock").one()[User.id]
        for name, value, unit in store.metadata(str(holder)):
            if name == "scim.sealed":
                session.metadata.remove(User, "scim.lock", iRODSMeta(name, value, unit or None))


class TestSealedContract(StorageContract):
    @pytest.fixture
    def adapter(self, opened: Open) -> StorageAdapter:
        return OwnIds(opened(OLD))


def test_other_users_read_nothing_of_a_resource(store: Store, opened: Open) -> None:
    adapter = opened(OLD)
    user = create(adapter, USER, **PERSON)
    group = create(adapter, GROUP, displayName="staff")
    inner = create(adapter, GROUP, displayName="inner")
    joining = [Member(user.id, "User", "secret display"), Member(inner.id, "Group")]
    change_members(adapter, group.id, joining, ())

    assert "secret" not in readable(store)
    assert adapter.get(USER, user.id).document["externalId"] == "secret-id"
    assert [member.display for member in members_of(adapter, group.id)] == ["secret display", "inner"]
    for text in (
        'userName eq "ALICE"',
        'userName sw "ali"',
        'externalId eq "secret-id"',
        "externalId pr",
        'emails.value eq "alice@secret.example"',
        'emails.value co "secret"',
    ):
        assert found(adapter, USER, text) == [user.id]
    with pytest.raises(UniquenessConflict):
        create(adapter, USER, userName="other", externalId="secret-id")
    other = create(adapter, USER, userName="other")
    with pytest.raises(UniquenessConflict):
        adapter.replace(USER, changed(other, userName="Alice"))


def test_a_start_with_keys_seals_what_is_there(store: Store, opened: Open) -> None:
    plain = opened()
    user = create(plain, USER, **PERSON)
    group = create(plain, GROUP, displayName="secret group")
    change_members(plain, group.id, [Member(user.id, "User", "secret display")], ())
    assert "secret" in readable(store)

    adapter = opened(OLD)
    for one in (plain, adapter):
        one.close()

    assert "secret" not in readable(store)
    assert adapter.get(USER, user.id).document == user.document
    assert adapter.get(USER, user.id).last_modified == user.last_modified
    assert [member.display for member in members_of(adapter, group.id)] == ["secret display"]
    assert found(adapter, USER, 'externalId eq "secret-id"') == [user.id]
    version = adapter.get(USER, user.id).version
    assert opened(OLD).get(USER, user.id).version == version


@pytest.mark.parametrize("keys", [(OLD,), (NEW, OLD)])
def test_a_start_that_seals_tells_how_far_it_is(
    store: Store, opened: Open, keys: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.progress._TOLD_S", 0.0)
    plain = opened(*keys[1:])
    for name in ("alice", "bob"):
        create(plain, USER, userName=name)
    told: list[str] = []

    with followed(told.append):
        opened(*keys)

    assert told[:2] == ["sealing Users: 1 of 2", "sealing Users: 2 of 2"]


def test_values_are_unique_among_sealed_and_unsealed_resources(store: Store, opened: Open) -> None:
    sealed, plain = opened(OLD), store.adapter
    user = create(plain, USER, **PERSON)

    assert found(sealed, USER, 'externalId eq "secret-id"') == [user.id]
    with pytest.raises(UniquenessConflict):
        create(sealed, USER, userName="other", externalId="secret-id")


def test_keys_are_replaced_step_by_step(store: Store, opened: Open) -> None:
    user = create(opened(OLD), USER, **PERSON)
    (before,) = values(store.metadata(user.id), "scim.key.externalId")

    for keys in ((OLD, NEW), (NEW, OLD), (NEW,)):
        adapter = opened(*keys)
        assert found(adapter, USER, 'externalId eq "secret-id"') == [user.id]
        with pytest.raises(UniquenessConflict):
            create(adapter, USER, userName="other", externalId="secret-id")

    (after,) = values(store.metadata(user.id), "scim.key.externalId")
    assert after != before
    with pytest.raises(StorageUnavailable, match="SECRET_KEYS lacks a secret"):
        opened(OLD)


def test_a_start_without_the_key_ends_and_changes_nothing(
    store: Store, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    user = create(opened(OLD), USER, **PERSON)
    before = store.metadata(user.id)

    for keys in ((), (NEW,)):
        with pytest.raises(StorageUnavailable, match="SECRET_KEYS lacks a secret"):
            opened(*keys)
    for call in (lambda: store.adapter.get(USER, user.id), lambda: list(store.adapter.scan(USER))):
        with pytest.raises(StorageUnavailable, match="is sealed, and SECRET_KEYS lacks the secret"):
            call()

    assert store.metadata(user.id) == before


def test_a_start_without_keys_says_what_others_can_read(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    opened()
    assert "every user of the iRODS zone can read users and groups" in caplog.text
    caplog.clear()

    opened(OLD)
    assert "can read" not in caplog.text


def test_the_server_seals_by_its_secret_keys(store: Store, opened: Open) -> None:
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", "SECRET_KEYS": "s" * 32, **store.environ}
    app = create_app(Settings.from_env(environ))
    scim = ScimClient(app.test_client())

    user = scim("POST", "/Users", PERSON).json

    assert "secret" not in readable(store)
    assert scim("GET", f"/Users/{user['id']}").json["emails"] == PERSON["emails"]
    app.extensions["scim.storage"].close()
