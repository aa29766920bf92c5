"""Metadata rows that two writers insert at once: no change is lost, and no member or value stays behind."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from irods.meta import iRODSMeta
from irods.models import User

from app import create_app
from app.configuration.settings import Settings
from schema.resource_type import ResourceType
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import StorageError, UniquenessConflict, VersionMismatch
from storage.irods.wire import Avu, Zone
from storage.testing import GROUP, USER, change_members, members_of, memberships_of
from tests.conftest import KEY, ScimClient
from tests.fake_irods import FakeZone
from tests.storage.irods.store import Store, changed, create, found, values
from tests.storage.irods.test_interruptions import age_notes

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ROUNDS = range(5)


@pytest.fixture(autouse=True)
def slow_look(store: Store) -> Iterator[None]:
    """Let writers that begin at the same time all look for a row before one of them inserts it."""
    if isinstance(store.zone, FakeZone):
        store.zone.catalog.window_s = 0.03
    yield
    if isinstance(store.zone, FakeZone):
        store.zone.catalog.window_s = 0.001


def at_once(*calls: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def foreign(store: Store, name: str) -> str:
    with store.session() as session:
        return str(session.users.create(name, "rodsuser").id)


@pytest.fixture
def scim(store: Store) -> Iterator[ScimClient]:
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", "FOREIGN_ENTRIES": "managed", **store.environ}
    app = create_app(Settings.from_env(environ))
    yield ScimClient(app.test_client())
    app.extensions["scim.storage"].close()


def patched(scim: ScimClient, user_id: str, path: str, headers: dict[str, str]) -> int:
    operation = {"op": "add", "path": path, "value": path}
    body = {"schemas": [PATCH], "Operations": [operation]}
    client = ScimClient(scim.app.test_client())
    return int(client("PATCH", f"/Users/{user_id}", body, headers=headers).status_code)


@pytest.mark.parametrize("attempt", ROUNDS)
def test_of_parallel_first_changes_of_one_version_one_wins(
    store: Store, scim: ScimClient, attempt: int
) -> None:
    number = foreign(store, "carol")

    def patch(path: str) -> Callable[[], int]:
        return lambda: patched(scim, number, path, {"If-Match": 'W/"0"'})

    statuses = at_once(*map(patch, ("title", "nickName", "displayName", "locale")))

    assert sorted(statuses, key=str) == [200, 412, 412, 412]


def test_of_parallel_first_changes_one_wins_where_the_token_was_removed(
    store: Store, scim: ScimClient
) -> None:
    number = foreign(store, "carol")
    store.fake.catalog.remove("scim.lock")
    store.fake.catalog.purge()

    def patch(path: str) -> Callable[[], int]:
        return lambda: patched(scim, number, path, {"If-Match": 'W/"0"'})

    statuses = at_once(*map(patch, ("title", "nickName", "displayName", "locale")))

    assert sorted(statuses, key=str) == [200, 412, 412, 412]


@pytest.mark.parametrize("attempt", ROUNDS)
def test_parallel_first_changes_are_all_there(store: Store, scim: ScimClient, attempt: int) -> None:
    number = foreign(store, "carol")
    paths = ("title", "nickName", "displayName", "locale")

    def patch(path: str) -> Callable[[], int]:
        return lambda: patched(scim, number, path, {})

    assert at_once(*map(patch, paths)) == [200] * 4
    document = store.adapter.get(USER, number).document
    assert {path: document.get(path) for path in paths} == {path: path for path in paths}


@pytest.mark.parametrize("is_foreign", [False, True])
@pytest.mark.parametrize("attempt", ROUNDS)
def test_of_several_writers_one_inherits_a_lost_token(
    store: Store, attempt: int, is_foreign: bool
) -> None:
    adapter, mischief = store.open(remote_timeout=2.0), store.fake.mischief
    if is_foreign:
        user = adapter.get(USER, foreign(store, "carol"))
    else:
        user = create(adapter, USER, userName="carol")
    for _ in range(2):
        with mischief.once_done(706, mischief.hang_up), suppress(StorageError):
            adapter.replace(USER, changed(user, userName="carol", title="lost"), user.version)
        age_notes(store)

    def write(title: str) -> Callable[[], str]:
        def call() -> str:
            try:
                adapter.replace(USER, changed(user, userName="carol", title=title), user.version)
            except VersionMismatch:
                return "no longer"
            return title

        return call

    outcomes = at_once(*map(write, "abcd"))

    assert sorted(map(str, outcomes))[1:] == ["no longer"] * 3
    assert adapter.get(USER, user.id).document["title"] in outcomes
    adapter.close()


@pytest.mark.parametrize("attempt", ROUNDS)
def test_a_group_that_joins_four_groups_at_once_can_leave_them(store: Store, attempt: int) -> None:
    inner = create(store.adapter, GROUP, displayName="inner")
    groups = [create(store.adapter, GROUP, displayName=f"g{number}") for number in range(4)]

    def join(group_id: str) -> Callable[[], bool]:
        return lambda: change_members(store.adapter, group_id, [Member(inner.id, "Group", "In")], ())

    assert at_once(*(join(group.id) for group in groups)) == [True] * 4
    assert [len(list(members_of(store.adapter, group.id))) for group in groups] == [1] * 4
    for group in groups:
        assert change_members(store.adapter, group.id, (), (inner.id,))

    assert [list(members_of(store.adapter, group.id)) for group in groups] == [[]] * 4
    assert memberships_of(store.adapter, [inner.id]) == {}
    avus = [avu for group in groups for avu in store.metadata(group.id)]
    assert not [avu for avu in avus if avu[0].startswith("scim-member")]


@pytest.mark.parametrize("attempt", ROUNDS)
def test_a_group_that_joins_one_group_four_times_at_once_can_leave_it(store: Store, attempt: int) -> None:
    inner, group = (create(store.adapter, GROUP, displayName=name) for name in ("inner", "outer"))
    joining = [Member(inner.id, "Group", "In")]

    at_once(*[lambda: change_members(store.adapter, group.id, joining, ())] * 4)

    assert list(members_of(store.adapter, group.id)) == [Member(inner.id, "Group", "In")]
    assert change_members(store.adapter, group.id, (), (inner.id,))
    assert list(members_of(store.adapter, group.id)) == []
    assert not [avu for avu in store.metadata(group.id) if avu[0].startswith("scim-member")]


@pytest.mark.parametrize("attempt", ROUNDS)
def test_a_value_that_several_wanted_at_once_becomes_free(store: Store, attempt: int) -> None:
    adapter = store.adapter

    def claim(number: int) -> StoredResource | None:
        with suppress(UniquenessConflict):
            return create(adapter, USER, userName=f"u{number}", externalId="x")
        return None

    (winner,) = filter(None, at_once(*(partial(claim, number) for number in range(4))))
    assert isinstance(winner, StoredResource)
    adapter.replace(USER, changed(winner, userName=winner.document["userName"]))

    other = create(adapter, USER, userName="other", externalId="x")
    assert found(adapter, USER, 'externalId eq "x"') == [other.id]


@pytest.mark.parametrize("attempt", ROUNDS)
def test_values_of_a_type_that_may_be_equal_become_free_too(store: Store, attempt: int) -> None:
    adapter = store.adapter
    users = [create(adapter, USER, userName=f"u{number}") for number in range(4)]

    def share(number: int, **more: str) -> Callable[[], object]:
        return lambda: adapter.replace(USER, changed(users[number], userName=f"u{number}", **more))

    at_once(*(share(number, displayName="Same") for number in range(4)))
    at_once(*(share(number) for number in range(4)))

    assert not [user for user in users if values(store.metadata(user.id), "scim.key.displayName")]


def test_two_additions_of_one_piece_at_once_are_no_error(store: Store) -> None:
    user, other = (create(store.adapter, USER, userName=name) for name in "ab")
    zone: Zone = vars(store.adapter)["_zone"]
    piece = Avu("project", "x")
    zone.change_metadata("b", add=[piece])

    def add(more: str) -> Callable[[], bool]:
        return lambda: zone.change_metadata("a", add=[piece, Avu("project", more)])

    assert at_once(add("1"), add("2"), add("3")) == [True] * 3
    assert sorted(values(store.metadata(user.id), "project")) == ["1", "2", "3", "x"]


def test_servers_that_start_at_once_share_one_token(store: Store) -> None:
    store.fake.catalog.remove("scim.lock")
    store.fake.catalog.purge()

    adapters = at_once(*[store.open] * 4)

    for adapter in adapters:
        assert isinstance(adapter, StorageAdapter)
        adapter.close()
    rows = store.fake.catalog.metadata.rows.values()
    assert [avu[0] for avu in rows].count("scim.adopted") == 1


def test_what_a_release_before_stored_is_rewritten_by_the_next_change(store: Store) -> None:
    """Its keys and members have no number, and some have twins on other accounts."""
    adapter, catalog = store.adapter, store.fake.catalog
    user = create(adapter, USER, userName="a", externalId="x")
    inner, group = (create(adapter, GROUP, displayName=name) for name in ("inner", "outer"))
    catalog.metadata.insert(("scim.key.externalId", "x", ""))
    for account in (catalog.account("a"), catalog.account("outer")):
        account.avus = [
            (name, value, "" if name.startswith("scim.key.") else unit) for name, value, unit in account.avus
        ]
    twin = catalog.metadata.insert(("scim.key.externalId", "x", ""))
    catalog.metadata.attach(int(user.id), twin)
    with store.session() as session:
        session.metadata.add(User, "outer", iRODSMeta("scim-member", inner.id))
        session.metadata.add(User, "outer", iRODSMeta("scim-member-display", '"In"', inner.id))
    assert found(adapter, USER, 'externalId eq "x"') == [user.id]
    assert list(members_of(adapter, group.id)) == [Member(inner.id, "Group", "In")]
    assert not change_members(adapter, group.id, [Member(inner.id, "Group")], ())

    adapter.replace(USER, changed(user, userName="a"))
    assert change_members(adapter, group.id, (), (inner.id,))

    assert [avu for avu in store.metadata(user.id) if avu[0].startswith("scim.key.")] == [
        ("scim.key.userName", "a", user.id)
    ]
    assert create(adapter, USER, userName="b", externalId="x")
    assert not [avu for avu in store.metadata(group.id) if avu[0].startswith("scim-member")]


@pytest.mark.parametrize(
    ("resource_type", "name"),
    [(USER, "rodsadmin"), (USER, "anonymous"), (GROUP, "rodsadmin"), (GROUP, "scim.lock")],
)
def test_names_that_a_zone_may_need_are_those_of_no_account(
    store: Store, resource_type: ResourceType, name: str
) -> None:
    naming = "userName" if resource_type is USER else "displayName"

    made = create(store.adapter, resource_type, **{naming: name})

    assert store.adapter.get(resource_type, made.id).document[naming] == name
    assert store.account_of(made.id).startswith(f"{name}.")
