"""Commits: what is stored and what is said of it agree, whatever fails in between."""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from app.protocol.commit import Found
from app.protocol.context import system
from app.protocol.write import Write
from schema.resource_type import ResourceType
from storage import attempts
from storage.adapter import Member, StoredResource
from storage.errors import (
    BackendTimeout,
    Contention,
    OutcomeUnknown,
    ResourceNotFound,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)
from tests.protocol.committing import (
    NOW,
    SETTLING_MS,
    STORAGES,
    WITHOUT_TRANSACTIONS,
    Store,
    ahead_of,
    failing,
    group_of,
    make_store,
    patch_of,
)
from tests.protocol.samples import GROUP, USER, add, replace

__all__ = ["make_store"]
Make = Callable[..., Store]
KEPT_APART = (*WITHOUT_TRANSACTIONS, "files")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_LONGEST_PAUSE_S", 0)


@pytest.fixture(params=STORAGES)
def store(request: pytest.FixtureRequest, make_store: Make) -> Store:
    return make_store(request.param)


@pytest.fixture(params=WITHOUT_TRANSACTIONS)
def alone(request: pytest.FixtureRequest, make_store: Make) -> Store:
    """A store where each call of the adapter stands alone."""
    return make_store(request.param)


@pytest.fixture(params=KEPT_APART)
def apart(request: pytest.FixtureRequest, make_store: Make) -> Store:
    """A store whose changes are kept in another database."""
    return make_store(request.param)


def retitle(store: Store, user: StoredResource, title: str, **options: Any) -> StoredResource:
    return store.resources.patch(system(), USER, user.id, patch_of(replace("title", title)), **options)


# -- attempts


@pytest.mark.parametrize("problem", [VersionMismatch("late"), Contention("undone")])
def test_a_write_that_lost_a_race_is_tried_again(store: Store, problem: StorageError) -> None:
    user = store.user("ann")
    ahead_of(store.adapter, "replace", failing(problem))

    changed = retitle(store, user, "Boss")

    assert store.adapter.get(USER, user.id).document["title"] == "Boss"
    assert store.changes()[1:] == [("patch", user.id, ["title"])]
    assert store.rows()[-1].version == f'W/"{changed.version}"'


@pytest.mark.parametrize("problem", [VersionMismatch("late"), Contention("undone")])
def test_a_write_that_loses_every_race_can_be_sent_again(store: Store, problem: StorageError) -> None:
    user, tries = store.user("ann"), []

    def decide() -> Write:
        tries.append(store.adapter.in_transaction)
        raise problem

    with pytest.raises(Contention):
        store.commit.run(system(), decide)

    assert tries == [store.adapter.capabilities.transactions] * 20
    assert store.adapter.get(USER, user.id).version == user.version


def test_what_takes_long_is_done_before_each_attempt_and_outside_of_it(store: Store) -> None:
    user, prepared = store.user("ann"), []
    ahead_of(store.adapter, "delete", failing(VersionMismatch("late")))

    store.commit.run(
        system(),
        lambda: Write("delete", USER, store.adapter.get(USER, user.id), None),
        lambda: prepared.append(store.adapter.in_transaction),
    )

    assert prepared == [False, False]


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_only_the_whole_of_a_transaction_is_tried_again(make_store: Make, kind: str) -> None:
    store, tries = make_store(kind), []
    user = store.user("ann")
    ahead_of(store.adapter, "replace", failing(Contention("undone")))

    def work() -> None:
        tries.append("whole")
        store.user(f"bob {len(tries)}")
        retitle(store, user, "Boss")

    store.commit.together(work)

    assert tries == ["whole"] * 2
    told = [(kind, paths) for kind, _, paths in store.changes()]
    assert told == [("create", ["userName"])] * 2 + [("patch", ["title"])]


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_what_is_undone_is_told_nowhere(make_store: Make, kind: str) -> None:
    store, noted = make_store(kind), []

    def work() -> None:
        store.user("ann")
        store.commit.note(lambda: noted.append(store.adapter.in_transaction))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.commit.together(work)

    assert store.changes() == [] and store.events() == []
    # Where the state database is undone as well, it does not matter when it is told.
    assert noted == ([True] if kind == "sqlite" else [])


def test_something_is_noted_when_it_is_true(store: Store) -> None:
    noted: list[bool] = []

    store.commit.together(lambda: store.commit.note(lambda: noted.append(store.adapter.in_transaction)))

    assert noted == [store.commit.is_shared]
    assert store.commit.has_transactions is store.adapter.capabilities.transactions


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_a_part_of_a_transaction_fails_alone(make_store: Make, kind: str) -> None:
    store = make_store(kind)

    def work() -> None:
        with suppress(ZeroDivisionError), store.commit.part():
            store.user("ann")
            raise ZeroDivisionError
        store.user("bob")

    store.commit.together(work)

    assert [one.document["userName"] for one in store.adapter.scan(USER)] == ["bob"]
    assert len(store.changes()) == 1


def test_each_write_has_a_name_of_its_own_unless_it_got_one(store: Store) -> None:
    user, named = store.user("ann"), system()
    retitle(store, user, "Boss")
    store.resources.delete(named, USER, user.id)

    names = [row.txn for row in store.rows()]

    assert all(names) and len(set(names)) == 3


# -- members, without transactions


def test_a_change_of_members_that_lost_the_race_for_the_group_is_told_once(make_store: Make) -> None:
    store = make_store("apart")
    user, group = store.user("ann"), store.group("team")
    ahead_of(store.adapter, "replace", lambda: store.adapter.replace(GROUP, group))

    body = patch_of(add("members", [{"value": user.id}]))
    changed = store.resources.patch(system(), GROUP, group.id, body)

    # One version is that of the other client.
    assert int(changed.version) == int(group.version) + 2
    assert store.adapter.get(GROUP, group.id).version == changed.version
    assert store.changes()[2:] == [("patch", group.id, ["members"])]
    assert store.rows()[-1].version == f'W/"{changed.version}"'
    assert store.events()[2:] == [("prov:patch", group.id), ("feed:add", user.id)]


def test_a_change_of_members_is_one_version(alone: Store) -> None:
    user, group = alone.user("ann"), alone.group("team")

    body = patch_of(add("members", [{"value": user.id}]))
    changed = alone.resources.patch(system(), GROUP, group.id, body)

    assert int(changed.version) == int(group.version) + 1
    assert alone.adapter.get(GROUP, group.id).version == changed.version


def test_a_group_that_was_left_meanwhile_gets_no_version(make_store: Make) -> None:
    store = make_store("apart")
    ann = store.user("ann")
    team, crew = store.group("team", ann), store.group("crew", ann)

    def other_client() -> None:
        store.adapter.change_members(GROUP, crew, (), [Member(ann.id, USER.name)])

    ahead_of(store.adapter, "change_members", other_client)
    store.resources.delete(system(), USER, ann.id)

    assert store.adapter.get(GROUP, crew.id).version == crew.version
    assert store.adapter.get(GROUP, team.id).version != team.version


def test_what_another_client_did_as_well_hides_no_change_of_members(alone: Store) -> None:
    user, group = alone.user("ann"), alone.group("team")

    def other_client() -> None:
        now = alone.adapter.get(GROUP, group.id)
        alone.adapter.replace(GROUP, dataclasses.replace(now, text=now.text.replace("team", "crew")))

    ahead_of(alone.adapter, "replace", other_client)
    changed = alone.resources.replace(system(), GROUP, group.id, group_of("crew", user))

    assert alone.names(group) == [user.id]
    assert alone.adapter.get(GROUP, group.id).version == changed.version
    assert alone.changes()[2:] == [("put", group.id, ["members"])]
    assert alone.rows()[-1].version == f'W/"{changed.version}"'
    assert alone.events()[2:] == [("prov:put", group.id), ("feed:add", user.id)]


def test_a_race_keeps_what_the_other_client_wrote(alone: Store) -> None:
    user, group = alone.user("ann"), alone.group("team")

    def other_client() -> None:
        now = alone.adapter.get(GROUP, group.id)
        text = now.text.replace('"displayName"', '"externalId":"x","displayName"')
        alone.adapter.replace(GROUP, dataclasses.replace(now, text=text))

    ahead_of(alone.adapter, "replace", other_client)
    body = patch_of(add("members", [{"value": user.id}]), replace("displayName", "crew"))
    changed = alone.resources.patch(system(), GROUP, group.id, body)

    assert (changed.document["externalId"], changed.document["displayName"]) == ("x", "crew")
    assert alone.changes()[2:] == [("patch", group.id, ["displayName", "members"])]
    assert alone.events()[2:] == [("prov:patch", group.id), ("feed:add", user.id)]


def test_each_attempt_tells_of_the_members_that_it_changed(alone: Store) -> None:
    ann, bob, group = alone.user("ann"), alone.user("bob"), alone.group("team")

    def other_client() -> None:
        alone.resources.patch(system(), GROUP, group.id, patch_of(add("members", [{"value": bob.id}])))
        alone.adapter.replace(GROUP, alone.adapter.get(GROUP, group.id))

    ahead_of(alone.adapter, "replace", other_client)
    alone.resources.replace(system(), GROUP, group.id, group_of("crew", ann))

    assert alone.names(group) == [ann.id]
    assert alone.events()[3:] == [
        ("prov:patch", group.id),
        ("feed:add", bob.id),
        ("prov:put", group.id),
        ("feed:remove", bob.id),
        ("feed:add", ann.id),
    ]


def test_a_removal_that_lost_the_race_is_told_to_the_groups_that_it_left(alone: Store) -> None:
    ann, bob = alone.user("ann"), alone.user("bob")
    team, crew = alone.group("team", ann, bob), alone.group("crew", bob)

    def other_client() -> None:
        # What this attempt left is told, and what was joined meanwhile.
        alone.resources.patch(system(), GROUP, crew.id, patch_of(add("members", [{"value": ann.id}])))
        retitle(alone, ann, "Boss")

    ahead_of(alone.adapter, "delete", other_client)
    alone.resources.delete(system(), USER, ann.id)

    assert alone.names(team) == alone.names(crew) == [bob.id]
    told = [("patch", team.id, ["members"]), ("patch", crew.id, ["members"])]
    assert alone.changes()[4:] == [
        *told,
        ("patch", ann.id, ["title"]),
        told[1],
        ("delete", ann.id, []),
    ]
    for feed in (team, crew):
        assert alone.events(feed.id)[-1] == ("prov:delete", ann.id)


def test_a_group_whose_removal_lost_the_race_is_told_of_once(alone: Store) -> None:
    team = alone.group("team")
    ahead_of(alone.adapter, "delete", lambda: alone.adapter.replace(GROUP, team))

    alone.resources.delete(system(), GROUP, team.id)

    assert alone.events(team.id) == alone.events() == [("prov:create", team.id), ("prov:delete", team.id)]


# -- members, with transactions


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_an_attempt_that_was_undone_has_changed_no_members(make_store: Make, kind: str) -> None:
    store = make_store(kind)
    ann, bob, group = store.user("ann"), store.user("bob"), store.group("team")
    wanted = group_of("team", ann)
    tries: list[int] = []

    def prepare() -> None:
        tries.append(1)
        if len(tries) == 2:
            # The other client does the same, and more.
            store.resources.replace(system(), GROUP, group.id, group_of("team", ann, bob))
            store.resources.replace(system(), GROUP, group.id, wanted)

    ahead_of(store.adapter, "replace", failing(VersionMismatch("late")))
    decide = decision(store, GROUP, group.id, wanted)
    stored = store.commit.run(system(), decide, prepare)

    assert len(tries) == 2 and stored is not None
    assert store.changes()[3:] == [("put", group.id, ["members"])] * 2
    assert store.events()[3:] == [
        ("prov:put", group.id),
        ("feed:add", ann.id),
        ("feed:add", bob.id),
        ("prov:put", group.id),
        ("feed:remove", bob.id),
    ]


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_an_attempt_that_was_undone_tells_of_no_members(make_store: Make, kind: str) -> None:
    store = make_store(kind)
    ann, bob, group = store.user("ann"), store.user("bob"), store.group("team")
    tries: list[int] = []

    def prepare() -> None:
        tries.append(1)
        if len(tries) == 2:
            store.resources.replace(system(), GROUP, group.id, group_of("team", ann))

    ahead_of(store.adapter, "replace", failing(VersionMismatch("late")))
    store.commit.run(system(), decision(store, GROUP, group.id, group_of("team", ann, bob)), prepare)

    assert store.names(group) == sorted([ann.id, bob.id])
    assert store.events()[5:] == [("prov:put", group.id), ("feed:add", bob.id)]


def decision(
    store: Store, resource_type: ResourceType, resource_id: str, body: dict[str, Any]
) -> Callable[[], Write]:
    """Return what decides a PUT."""
    decide: list[Callable[[], Write]] = []
    with pytest.MonkeyPatch.context() as patched:
        now = store.adapter.get(resource_type, resource_id)
        patched.setattr(store.commit, "run", lambda context, decided, prepare: decide.append(decided) or now)
        store.resources.replace(system(), resource_type, resource_id, body)
    return decide[0]


# -- intents


@pytest.mark.parametrize(
    "problem",
    [
        ResourceNotFound("User", "1"),
        StorageReadOnly("replica"),
        UniquenessConflict("userName"),
        UnsupportedByBackend("title"),
        ValueRefused("title"),
        VersionMismatch("late"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_nothing_stays_of_a_write_that_was_refused(
    apart: Store, problem: StorageError, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = apart.user("ann")
    raised = Contention if isinstance(problem, VersionMismatch) else type(problem)

    with monkeypatch.context() as patched, pytest.raises(raised):
        patched.setattr(apart.adapter, "replace", failing(problem))
        retitle(apart, user, "Boss")

    assert (apart.intents(), apart.changes()[1:], apart.events()[1:]) == ([], [], [])


@pytest.mark.parametrize(
    ("problem", "is_settled"),
    [
        (StorageUnavailable("down"), True),
        (BackendTimeout("slow"), True),
        (OutcomeUnknown("cut"), False),
        (ZeroDivisionError(), False),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_write_without_an_answer_is_looked_at_soon(
    apart: Store, problem: BaseException, is_settled: bool
) -> None:
    user = apart.user("ann")
    ahead_of(apart.adapter, "replace", failing(problem))

    with pytest.raises(type(problem)):
        retitle(apart, user, "Boss")

    # What has not been done then is not done any more; before, it may be.
    looks = (NOW - SETTLING_MS, 1) if is_settled else (NOW, NOW + 1_000)
    assert (apart.intents(), apart.changes()[1:]) == ([looks], [])


def test_contention_leaves_an_intent_that_is_looked_at_at_once(apart: Store) -> None:
    user = apart.user("ann")
    ahead_of(apart.adapter, "replace", failing(Contention("undone")))

    retitle(apart, user, "Boss")

    assert apart.intents() == [(NOW - SETTLING_MS, 1)]


def test_a_state_database_that_fails_hides_no_problem_of_the_storage(
    apart: Store, caplog: pytest.LogCaptureFixture
) -> None:
    user = apart.user("ann")
    ahead_of(apart.adapter, "replace", failing(OutcomeUnknown("cut")))
    ahead_of(apart.notes.intents, "leave", failing(StorageUnavailable("full")))

    with pytest.raises(OutcomeUnknown, match="cut"):
        retitle(apart, user, "Boss")

    assert "the outcome of a change is looked at later: full" in caplog.text
    assert len(apart.intents()) == 1


@pytest.mark.parametrize("problem", [StorageUnavailable("full"), OutcomeUnknown("full")])
def test_without_an_intent_nothing_is_written(apart: Store, problem: StorageError) -> None:
    user = apart.user("ann")
    ahead_of(apart.notes.intents, "begin", failing(problem))

    with pytest.raises(StorageUnavailable, match="full"):
        retitle(apart, user, "Boss")

    assert apart.adapter.get(USER, user.id).version == user.version
    assert apart.changes()[1:] == [] and apart.intents() == []


@pytest.mark.parametrize("problem", [StorageUnavailable("full"), OutcomeUnknown("full")])
def test_a_write_that_is_stored_is_answered_so(
    apart: Store, problem: StorageError, caplog: pytest.LogCaptureFixture
) -> None:
    user = apart.user("ann")
    ahead_of(apart.notes, "confirm", failing(problem))

    retitle(apart, user, "Boss")

    assert "a change is stored, but its event is published later: full" in caplog.text
    assert len(apart.intents()) == 1 and apart.changes()[1:] == []


def test_an_intent_is_kept_only_where_it_may_be_needed(store: Store) -> None:
    group = store.group("team")
    ahead_of(store.notes.intents, "begin", failing(ZeroDivisionError()))

    # Nothing changes.
    store.resources.replace(system(), GROUP, group.id, group_of("team"))
    if store.notes.is_shared:
        store.resources.replace(system(), GROUP, group.id, group_of("crew"))

    assert len(store.changes()) == 1 + store.notes.is_shared


# -- requests that are carried out later


def test_a_request_is_completed_with_its_write(store: Store) -> None:
    context = store.job("POST", GROUP)
    group = store.resources.create(context, GROUP, group_of("team"))

    assert (store.result(context)["status"], store.intents()) == ("201", [])
    assert store.events() == [("prov:create", group.id), ("misc:asyncresp", group.id)]


def test_a_request_that_changes_nothing_is_completed(store: Store) -> None:
    group = store.group("team")
    context = store.job("PUT", GROUP, group.id)
    store.resources.replace(context, GROUP, group.id, group_of("team"))

    assert store.result(context)["status"] == "200"
    assert store.changes()[1:] == [("completion", group.id, [])]


def test_a_removal_is_one_request_however_many_groups_it_concerns(store: Store) -> None:
    user = store.user("ann")
    groups = [store.group("team", user), store.group("crew", user)]
    context = store.job("DELETE", USER, user.id)
    store.resources.delete(context, USER, user.id)

    assert store.result(context)["status"] == "204"
    told = [(kind, resource_id) for kind, resource_id, _ in store.changes()[3:]]
    assert sorted(told[:2]) == sorted(("patch", group.id) for group in groups)
    assert sorted(told[2:]) == [("completion", user.id), ("delete", user.id)]
    assert len({row.txn for row in store.rows()[3:]}) == 1
    assert [store.names(group) for group in groups] == [[], []]


@pytest.mark.parametrize("problem", [StorageUnavailable("full"), OutcomeUnknown("full")])
def test_a_request_whose_completion_fails_is_not_done(apart: Store, problem: StorageError) -> None:
    user = apart.user("ann")
    context = apart.job("PATCH", USER, user.id)
    ahead_of(apart.notes, "confirm", failing(problem))

    with pytest.raises(type(problem)):
        apart.resources.patch(context, USER, user.id, patch_of(replace("title", "Boss")))

    assert apart.result(context) is None and len(apart.intents()) == 1


def test_groups_that_are_told_later_do_not_keep_a_removal_from_being_done(apart: Store) -> None:
    user = apart.user("ann")
    apart.group("team", user)
    context = apart.job("DELETE", USER, user.id)
    ahead_of(apart.notes, "confirm", failing(StorageUnavailable("full")))

    apart.resources.delete(context, USER, user.id)

    assert apart.result(context)["status"] == "204" and len(apart.intents()) == 1


def test_an_attempt_that_nobody_answered_for_is_completed_by_the_next(apart: Store) -> None:
    user = apart.user("ann")
    context = apart.job("PATCH", USER, user.id)
    ahead_of(apart.notes, "confirm", failing(SystemExit()))
    with pytest.raises(SystemExit):
        apart.resources.patch(context, USER, user.id, patch_of(replace("title", "Boss")))

    found = apart.commit.resume(context)

    assert found == Found(apart.adapter.get(USER, user.id))
    assert (apart.result(context)["status"], apart.intents()) == ("200", [])
    assert apart.events()[1:] == [("prov:patch", user.id), ("misc:asyncresp", user.id)]


def test_an_attempt_that_has_done_nothing_is_to_be_made_again(store: Store) -> None:
    context = store.job("PATCH", USER, store.user("ann").id)

    assert store.commit.resume(context) is None
    assert store.result(context) is None


def test_what_is_written_in_one_transaction_is_looked_for_nowhere(make_store: Make) -> None:
    store = make_store("sqlite")
    context = store.job("PATCH", USER, store.user("ann").id)
    ahead_of(store.notes.intents, "of_txn", failing(ZeroDivisionError()))

    assert store.commit.resume(context) is None


def test_an_operation_of_bulk_whose_write_is_found_is_found_without_completion(apart: Store) -> None:
    user, context = apart.user("ann"), dataclasses.replace(system("bulk"), txn="t:1")
    ahead_of(apart.notes, "confirm", failing(SystemExit()))
    with pytest.raises(SystemExit):
        apart.resources.delete(context, USER, user.id)

    assert apart.commit.resume(context) == Found(None)
    assert apart.changes()[1:] == [("delete", user.id, [])]


# -- groups that cannot be completed


def test_a_group_is_created_with_its_members_and_its_version(store: Store) -> None:
    user = store.user("ann")
    group = store.group("team", user)

    assert store.names(group) == [user.id]
    assert store.adapter.get(GROUP, group.id).version == group.version
    assert store.changes()[1:] == [("create", group.id, ["displayName", "members"])]
    assert store.rows()[-1].version == f'W/"{group.version}"'


def test_a_new_group_is_not_read_again_where_members_leave_its_version_alone(make_store: Make) -> None:
    store = make_store("apart", is_on=False)
    user = store.user("ann")
    ahead_of(store.adapter, "get", failing(ZeroDivisionError()))

    assert store.group("team", user).version == "2"


def test_a_group_with_its_members_in_it_is_created_in_one_write(make_store: Make) -> None:
    store = make_store("within")
    user = store.user("ann")
    ahead_of(store.adapter, "change_members", failing(ZeroDivisionError()))

    assert store.names(store.group("team", user)) == [user.id]


@pytest.mark.parametrize("kind", ["apart", "files", "sqlite"])
@pytest.mark.parametrize("problem", [ValueRefused("no members"), OutcomeUnknown("cut")])
def test_no_group_is_half_created(make_store: Make, kind: str, problem: StorageError) -> None:
    store = make_store(kind)
    user, removed = store.user("ann"), []
    ahead_of(store.adapter, "change_members", failing(problem))
    ahead_of(store.adapter, "delete", lambda: removed.append(1))

    with pytest.raises(type(problem)):
        store.group("team", user)

    assert list(store.adapter.scan(GROUP)) == [] and store.changes()[1:] == []
    # A transaction that is undone takes the group with it.
    assert bool(removed) is not store.adapter.capabilities.transactions
    if not store.notes.is_shared:
        assert bool(store.intents()) is isinstance(problem, OutcomeUnknown)


def test_a_group_without_members_is_only_created(store: Store) -> None:
    ahead_of(store.adapter, "change_members", failing(ZeroDivisionError()))

    assert store.names(store.group("team")) == []


def test_a_group_that_cannot_be_removed_hides_no_problem(make_store: Make) -> None:
    store = make_store("apart")
    user = store.user("ann")
    ahead_of(store.adapter, "change_members", failing(ValueRefused("no members")))
    ahead_of(store.adapter, "delete", failing(StorageUnavailable("down")))

    with pytest.raises(ValueRefused, match="no members"):
        store.group("team", user)


# -- who wants to know


@pytest.mark.parametrize("kind", STORAGES)
def test_without_history_only_what_has_events_is_kept(make_store: Make, kind: str) -> None:
    store = make_store(kind, keeps_history=False)
    user = store.user("ann")

    assert store.changes() == [("create", user.id, ["userName"])]


@pytest.mark.parametrize("kind", KEPT_APART)
def test_an_intent_without_history_and_events_leaves_no_row(make_store: Make, kind: str) -> None:
    store = make_store(kind, is_on=False, keeps_history=True)
    store.notes.keeps_history = False
    store.user("ann")

    assert store.changes() == [] and store.intents() == []


@pytest.mark.parametrize("kind", STORAGES)
def test_where_nobody_wants_to_know_nothing_is_kept(make_store: Make, kind: str) -> None:
    store = make_store(kind, is_on=False, keeps_history=False)
    user = store.user("ann")
    group = store.group("team", user)
    store.resources.replace(system(), GROUP, group.id, group_of("crew"))
    store.resources.delete(system(), USER, user.id)

    ahead_of(store.notes.intents, "of_txn", failing(ZeroDivisionError()))
    assert store.commit.resume(dataclasses.replace(system(), txn="t")) is None
    assert store.commit.is_shared
    assert store.changes() == [] and store.intents() == []
    assert store.adapter.get(GROUP, group.id).document["displayName"] == "crew"
