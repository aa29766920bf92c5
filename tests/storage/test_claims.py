"""A model of the store explores interleavings of writers over the kernel of `storage/claims.py`.

A writer is a function over the store. Each step of the model calls it anew with the answers of its earlier
calls, lets one further call through, and stops it at the one after that: the kernel under test is the real
one, and every order of calls is reached. Equal states are visited once.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import pytest

import storage.claims
from storage.claims import Claim, Claims, Token, UniqueValue
from storage.errors import UniquenessConflict, VersionMismatch

A, B, C = (UniqueValue("User", "userName", key) for key in "abc")
YOUNG, OLD = 0.0, -1000.0

Pair = tuple[str, UniqueValue]
# A version, and the unique values with the tokens of their claims.
Resource = tuple[str, tuple[tuple[UniqueValue, Token], ...]]
# The resource and the version that a writer acknowledges, or None for a conflict.
Outcome = tuple[str, str] | None


@dataclass(frozen=True)
class World:
    """What is stored: claims, resources by owner, and which versions were acknowledged."""

    claims: frozenset[Claim] = frozenset()
    resources: frozenset[tuple[str, Resource]] = frozenset()
    acknowledged: frozenset[tuple[str, str]] = frozenset()

    @property
    def holders(self) -> frozenset[Pair]:
        return frozenset((owner, value) for owner, (_, held) in self.resources for value, _ in held)

    def resource(self, owner: str) -> Resource | None:
        return dict(self.resources).get(owner)

    def aged(self, is_old: Callable[[Claim], bool] = lambda claim: True) -> "World":
        """Let time pass for the claims of writers that do nothing more."""
        return replace(self, claims=frozenset(replace(c, at=OLD) if is_old(c) else c for c in self.claims))

    def with_resource(self, owner: str, resource: Resource | None) -> "World":
        others = {one for one in self.resources if one[0] != owner}
        return replace(self, resources=frozenset(others | ({(owner, resource)} if resource else set())))


def world(*, several: bool = False, **held: UniqueValue) -> World:
    """Return a world with acknowledged resources, each with a value."""
    resources = {owner: ("first", ((value, f"of-{owner}"),)) for owner, value in held.items()}
    claims = {Claim(value, owner, f"of-{owner}", OLD) for owner, value in held.items()}
    return World(
        frozenset() if several else frozenset(claims),
        frozenset(resources.items()),
        frozenset((owner, "first") for owner in held),
    )


class Stop(BaseException):
    """The writer would make a further call."""


class Calls:
    """The store as one writer sees it; every call is a step of its own."""

    def __init__(self, world: World, answers: Sequence[Any], rules: "Rules", name: str) -> None:
        self.world, self.answers, self.rules = world, list(answers), rules
        self._next, self._is_allowed = 0, True
        self.lease_s, self.admits_several = rules.lease_s, rules.admits_several
        numbers = count()
        # A version, or a token, is new each time.
        self.new = lambda: f"{name}-{next(numbers)}"
        self.claims = rules.kernel(self, self.new, lambda: YOUNG)

    def _step(self, call: Callable[[], tuple[World, Any]]) -> Any:
        if self._next == len(self.answers):
            if not self._is_allowed:
                raise Stop
            self._is_allowed = False
            self.world, answer = call()
            self.answers.append(answer)
        self._next += 1
        return self.answers[self._next - 1]

    # -- the five calls

    def put_if_absent(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        def call(claim: Claim) -> tuple[World, bool]:
            is_there = any(other.value == claim.value for other in self.world.claims)
            if is_there and not self.admits_several:
                return self.world, False
            return replace(self.world, claims=self.world.claims | {claim}), True

        for position, claim in enumerate(claims):
            if not self._step(partial(call, claim)):
                return claims[position:]
        return ()

    def read(self, values: Sequence[UniqueValue]) -> Sequence[Claim]:
        def call() -> tuple[World, Any]:
            found = [claim for claim in self.world.claims if claim.value in values]
            if self.admits_several:
                found += [Claim(value, owner) for owner, value in self.world.holders if value in values]
            return self.world, tuple(sorted(found, key=str))

        return self._step(call) if values else ()

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        def call() -> tuple[World, Any]:
            if seen not in self.world.claims:
                return self.world, False
            put = set() if self.admits_several else {new}
            return replace(self.world, claims=frozenset(self.world.claims - {seen} | put)), True

        return self._step(call)

    def remove_if(self, claims: Sequence[Claim]) -> None:
        def call() -> tuple[World, Any]:
            gone = {(claim.value, claim.token) for claim in claims}
            kept = {claim for claim in self.world.claims if (claim.value, claim.token) not in gone}
            return replace(self.world, claims=frozenset(kept)), None

        if claims:
            self._step(call)

    def holds(self, values: Sequence[UniqueValue], owners: Collection[str] = ()) -> Collection[Pair]:
        def call() -> tuple[World, Any]:
            found = sorted(pair for pair in self.world.holders if pair[1] in values)
            return self.world, tuple(pair for pair in found if self.rules.searches or pair[0] in owners)

        return self._step(call) if values else ()

    # -- the resources

    def get(self, owner: str) -> Resource | None:
        return self._step(lambda: (self.world, self.world.resource(owner)))

    def write(self, owner: str, version: str | None, resource: Resource | None, *gone: Claim) -> bool:
        """Write a resource that is at a version (None: is not there); `gone` are claims that it replaces."""

        def call() -> tuple[World, Any]:
            before = self.world.resource(owner)
            if (before[0] if before else None) != version:
                return self.world, False
            after = self.world.with_resource(owner, resource)
            return replace(after, claims=after.claims - set(gone)), True

        return self._step(call)

    def undo(self, owner: str, version: str, before: Resource) -> None:
        """Write back under a new version what was there before a version."""

        def call() -> tuple[World, Any]:
            now = self.world.resource(owner)
            if now is None or now[0] != version:
                return self.world, None
            after = self.world.with_resource(owner, (after_version, before[1]))
            known = {(owner, after_version)} if (owner, before[0]) in after.acknowledged else set()
            return replace(after, acknowledged=after.acknowledged | known), None

        after_version = self.new()
        self._step(call)


@dataclass(frozen=True)
class Rules:
    """The kernel and the kind of store; with a lease of 0 every claim may be replaced at any time."""

    lease_s: float = 1.0
    admits_several: bool = False
    searches: bool = True
    kernel: type[Claims] = Claims


Writer = Callable[[Calls], Outcome]


def listed(claims: Iterable[Claim]) -> tuple[tuple[UniqueValue, Token], ...]:
    return tuple((claim.value, claim.token) for claim in claims)


def create(owner: str, *values: UniqueValue) -> Writer:
    def writer(calls: Calls) -> Outcome:
        if calls.admits_several:
            return create_at_once(calls, owner, values)
        made, version = calls.claims.claim(owner, values), calls.new()
        if not calls.write(owner, None, (version, listed(made))):
            calls.claims.release(made)
            return None
        if calls.claims.lost(made):
            calls.write(owner, version, None)
            calls.claims.release(made)
            return None
        return owner, version

    return writer


def create_at_once(calls: Calls, owner: str, values: Sequence[UniqueValue]) -> Outcome:
    """Create a resource whose values are its claims."""
    calls.claims.refuse(values)
    made, version = [Claim(value, owner) for value in values], calls.new()
    if not calls.write(owner, None, (version, listed(made))):
        return None
    if calls.claims.lost(made):
        calls.write(owner, version, None)
        return None
    return owner, version


def change(owner: str, *values: UniqueValue) -> Writer:
    def writer(calls: Calls) -> Outcome:
        before = calls.get(owner)
        if before is None:
            return None
        held = before[1]
        made, version = calls.claims.claim(owner, set(values) - dict(held).keys()), calls.new()
        after = (version, (*(one for one in held if one[0] in values), *listed(made)))
        if not calls.write(owner, before[0], after, *(made if calls.admits_several else ())):
            calls.claims.release(made)
            return None
        if calls.admits_several:
            return owner, version
        if calls.claims.lost(made):
            calls.undo(owner, version, before)
            calls.claims.release(made)
            return None
        calls.claims.release(Claim(value, owner, token) for value, token in held if value not in values)
        return owner, version

    return writer


def delete(owner: str) -> Writer:
    def writer(calls: Calls) -> Outcome:
        before = calls.get(owner)
        if before is None or not calls.write(owner, before[0], None):
            return None
        if not calls.admits_several:
            calls.claims.release(Claim(value, owner, token) for value, token in before[1])
        return owner, calls.new()

    return writer


@dataclass(frozen=True)
class State:
    """A world, the answers that each writer has got, and the writers that have ended."""

    world: World
    answers: tuple[tuple[Any, ...], ...]
    ended: Mapping[int, Outcome]
    crashes: int

    @property
    def key(self) -> object:
        return self.world, self.answers, tuple(sorted(self.ended)), self.crashes


def stepped(state: State, number: int, writer: Writer, rules: Rules) -> State:
    """Return the state after one further call of a writer."""
    calls = Calls(state.world, state.answers[number], rules, f"w{number}")
    ended, now = dict(state.ended), calls.world
    try:
        outcome = writer(calls)
    except Stop:
        now = calls.world
    except (UniquenessConflict, VersionMismatch):
        now, ended[number] = calls.world, None
    else:
        now, ended[number] = calls.world, outcome
        if outcome is not None:
            now = replace(now, acknowledged=now.acknowledged | {outcome})
    answers = (*state.answers[:number], tuple(calls.answers), *state.answers[number + 1 :])
    return State(now, answers, ended, state.crashes)


def crashed(state: State, number: int) -> State:
    """Return the state after a writer ended in the middle, and everybody else waited for the lease."""
    aged = state.world.aged(lambda claim: str(claim.token).startswith(f"w{number}-"))
    return State(aged, state.answers, {**state.ended, number: None}, state.crashes + 1)


def require_unique(world: World) -> None:
    """Require that no two acknowledged resources have one value."""
    held: dict[UniqueValue, str] = {}
    for owner, (version, values) in sorted(world.resources):
        for value, _ in values if (owner, version) in world.acknowledged else ():
            assert value not in held, f"{value.key} is of {held[value]} and of {owner}"
            held[value] = owner


def require_end(state: State, rules: Rules) -> None:
    """Require that every acknowledged value is claimed, and every other one can be had after the lease."""
    if not state.crashes and not rules.admits_several:
        claims = {(claim.owner, claim.value, claim.token) for claim in state.world.claims}
        for owner, (version, held) in state.world.resources:
            for value, token in held if (owner, version) in state.world.acknowledged else ():
                assert (owner, value, token) in claims, f"the claim of {owner} on {value.key} is lost"
    for value in (A, B, C):
        is_held = value in {held for _, held in state.world.holders}
        probe = State(state.world.aged(), ((),), {}, 0)
        while not probe.ended:
            probe = stepped(probe, 0, create("probe", value), replace(rules, kernel=Claims))
        require_unique(probe.world)
        # Without a search, a write that a crash left unacknowledged does not protect its value.
        if rules.searches or not is_held:
            assert (probe.ended[0] is None) == is_held, f"{value.key} is free: {not is_held}"


def explore(start: World, writers: Sequence[Writer], rules: Rules, crashes: int = 0) -> list[State]:
    """Visit every state that writers can reach, require what must hold in it, and return those at the end."""
    pending = [State(start, ((),) * len(writers), {}, 0)]
    visited, ends = set(), []
    while pending:
        state = pending.pop()
        if state.key in visited:
            continue
        visited.add(state.key)
        require_unique(state.world)
        running = [number for number in range(len(writers)) if number not in state.ended]
        if not running:
            require_end(state, rules)
            ends.append(state)
        for number in running:
            pending.append(stepped(state, number, writers[number], rules))
            if state.crashes < crashes:
                pending.append(crashed(state, number))
    return ends


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a writer that waits for others look three times, without a pause."""
    monkeypatch.setattr(storage.claims, "_LOOKS", 3)
    monkeypatch.setattr(storage.claims, "_PAUSE_S", 0)


RULES = {
    "lease": Rules(),
    "no lease": Rules(lease_s=0.0),
    "no search": Rules(searches=False),
    "several": Rules(admits_several=True),
}
STARTS: dict[str, tuple[dict[str, UniqueValue], list[Writer]]] = {
    "two create": ({}, [create("1", A), create("2", A)]),
    "two create with two values": ({}, [create("1", A, B), create("2", B, A)]),
    "two create one id": ({}, [create("1", A), create("1", A)]),
    "create and change": ({"2": B}, [create("1", A), change("2", A)]),
    "two change": ({"1": B, "2": C}, [change("1", A), change("2", A)]),
    "two change one resource to one value": ({"1": B}, [change("1", A), change("1", A)]),
    "two change one resource": ({"1": A}, [change("1", B), change("1", C)]),
    "two swap": ({"1": A, "2": B}, [change("1", B), change("2", A)]),
    "one changes, one wants the value": ({"1": A}, [change("1", B), create("2", A)]),
    "one deletes, one wants the value": ({"1": A, "2": B}, [delete("1"), change("2", A)]),
    "one deletes, one creates it again": ({"1": A}, [delete("1"), create("1", A)]),
    "one deletes, one changes it": ({"1": A}, [delete("1"), change("1", B)]),
}


@pytest.mark.parametrize("crashes", [0, 1, 2])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_two_writers_in_every_order_keep_values_unique(
    start: tuple[dict[str, UniqueValue], list[Writer]], rules: Rules, crashes: int
) -> None:
    held, writers = start

    assert explore(world(several=rules.admits_several, **held), writers, rules, crashes)


THREE: dict[str, tuple[dict[str, UniqueValue], list[Writer]]] = {
    "three create": ({}, [create("1", A), create("2", A), create("3", A)]),
    "one changes, two want the value": ({"1": A}, [change("1", B), create("2", A), create("3", A)]),
    "one deletes, two want the value": ({"1": A}, [delete("1"), create("1", A), create("3", A)]),
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("start", THREE.values(), ids=THREE)
def test_three_writers_in_every_order_keep_values_unique(
    start: tuple[dict[str, UniqueValue], list[Writer]], rules: Rules
) -> None:
    held, writers = start
    # Three that create, each at any time and with a crash, have some hundred thousand states.
    crashes = 1 if held or rules.lease_s else 0

    assert explore(world(several=rules.admits_several, **held), writers, rules, crashes)


@pytest.mark.parametrize("values", [(A,), (A, B)])
def test_within_the_lease_one_of_two_writers_wins(values: tuple[UniqueValue, ...]) -> None:
    ends = explore(World(), [create("1", *values), create("2", *reversed(values))], RULES["lease"])

    assert {len([one for one in end.ended.values() if one is not None]) for end in ends} == {1}


def test_beyond_the_lease_one_of_two_writers_wins_or_none() -> None:
    ends = explore(World(), [create("1", A), create("2", A)], RULES["no lease"])

    assert {len([one for one in end.ended.values() if one is not None]) for end in ends} == {0, 1}


class WithoutHolds(Claims):
    """Takes an old claim without a look at the resources."""

    def _refuse_held(self, *_: object) -> None:
        pass


class ReleasesOthers(Claims):
    """Removes the claims that are there, whose they may be."""

    def release(self, claims: Iterable[Claim]) -> None:
        super().release(self._store.read([claim.value for claim in claims]))


class WithoutPuttingBack(Claims):
    """Removes a claim that it replaced, although the owner of the old one has the value."""

    def _keep_or_put_back(self, claim: Claim, seen: Claim | None) -> None:
        super()._keep_or_put_back(claim, None)


class WithoutSecondLook(Claims):
    """Acknowledges a write without reading its claims again."""

    def lost(self, claims: Sequence[Claim]) -> list[Claim]:
        return []


class WithoutRank(Claims):
    """Does not look for other claims on a value."""

    def _outranked(self, claims: Sequence[Claim]) -> list[Claim]:
        return []


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (Rules(lease_s=0.0, kernel=WithoutHolds), "a is of 1 and of 2"),
        (Rules(lease_s=0.0, kernel=ReleasesOthers), "the claim of . on a is lost"),
        (Rules(lease_s=0.0, kernel=WithoutPuttingBack), "the claim of . on a is lost"),
        (Rules(lease_s=0.0, kernel=WithoutSecondLook), "a is of 1 and of 2"),
        (Rules(admits_several=True, kernel=WithoutRank), "a is of 1 and of 2"),
        (Rules(admits_several=True, lease_s=0.0), "a is of 1 and of 2"),
    ],
    ids=["holds", "releases others", "puts nothing back", "second look", "rank", "several without lease"],
)
def test_the_model_finds_a_fault_of_the_kernel(rules: Rules, message: str) -> None:
    writers = [create("1", A), change("2", A)]

    with pytest.raises(AssertionError, match=message):
        explore(world(several=rules.admits_several, **{"2": B}), writers, rules)


def test_the_model_finds_a_value_that_a_crash_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claims, "_is_young", lambda *_: True)

    with pytest.raises(AssertionError, match="a is free: True"):
        explore(World(), [create("1", A)], RULES["lease"], 1)
