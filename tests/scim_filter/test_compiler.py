"""The native part and the residual together give the answer of evaluation (RFC 7644 section 3.4.2.2)."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from schema.resource_type import ResourceType
from scim_filter import FilterCompiler, NotPushable, compile_predicate, parse_filter, resolve
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node
from tests.scim_filter.corpus import GROUP_FILTERS, GROUPS, USER_FILTERS, USERS

Found = frozenset[str]


class ToyCompiler(FilterCompiler[Found]):
    """A backend over a dict of resources, which answers only what `knows` says it can."""

    def __init__(self, resources: Mapping[str, Any], knows: Callable[[Node], bool]) -> None:
        self._resources = resources
        self._knows = knows

    def comparison(self, node: BoundComparison) -> Found:
        return self._found(node)

    def presence(self, node: BoundPresence) -> Found:
        return self._found(node)

    def value_path(self, node: BoundValuePath) -> Found:
        return self._found(node)

    def conjunction(self, natives: Sequence[Found]) -> Found:
        return frozenset.intersection(*natives)

    def disjunction(self, natives: Sequence[Found]) -> Found:
        return frozenset.union(*natives)

    def negation(self, native: Found) -> Found:
        return frozenset(self._resources) - native

    def _found(self, node: Node) -> Found:
        if not self._knows(node):
            raise NotPushable(node)
        holds = compile_predicate(node)
        return frozenset(name for name, resource in self._resources.items() if holds(resource))


class NarrowCompiler(ToyCompiler):
    """A backend that answers one condition at a time: it cannot combine."""

    conjunction = FilterCompiler.conjunction
    disjunction = FilterCompiler.disjunction
    negation = FilterCompiler.negation


class SilentCompiler(FilterCompiler[Found]):
    """A backend that answers nothing."""


def answer(compiler: FilterCompiler[Found], node: Node, resources: Mapping[str, Any]) -> set[str]:
    native, residual = compiler.split(node)
    assert native is not None or residual is not None
    candidates = resources if native is None else native
    holds = compile_predicate(residual) if residual is not None else lambda resource: True
    return {name for name in candidates if holds(resources[name])}


@pytest.mark.parametrize("compiler_class", [ToyCompiler, NarrowCompiler])
@pytest.mark.parametrize("seed", range(8))
def test_native_and_residual_together_agree_with_evaluation(
    compiler_class: type[ToyCompiler], seed: int, user_type: ResourceType, group_type: ResourceType
) -> None:
    source = random.Random(seed)
    corpora = ((USERS, USER_FILTERS, user_type), (GROUPS, GROUP_FILTERS, group_type))
    for resources, filters, resource_type in corpora:
        compiler = compiler_class(resources, lambda node: source.random() < 0.6)
        for text, expected in filters:
            assert answer(compiler, resolve(parse_filter(text), resource_type), resources) == expected


@pytest.mark.parametrize("seed", range(8))
def test_combined_filters_agree_with_evaluation(seed: int, user_type: ResourceType) -> None:
    source = random.Random(seed)
    compiler = ToyCompiler(USERS, lambda node: source.random() < 0.6)
    for _ in range(100):
        (one, first), (two, second), (three, third) = source.sample(USER_FILTERS, 3)
        node = resolve(parse_filter(f"({one}) and (({two}) or not ({three}))"), user_type)

        assert answer(compiler, node, USERS) == first & (second | (set(USERS) - third))


def test_a_backend_that_answers_nothing_leaves_the_whole_filter(user_type: ResourceType) -> None:
    node = resolve(parse_filter('title pr and emails[type eq "work"] and userName eq "x"'), user_type)

    assert SilentCompiler().split(node) == (None, node)


def test_a_backend_that_answers_all_leaves_nothing(user_type: ResourceType) -> None:
    node = resolve(parse_filter('title pr and not (userName eq "john")'), user_type)

    split = ToyCompiler(USERS, lambda part: True).split(node)

    assert split == (frozenset({"bjensen", "foreign"}), None)


def test_a_conjunction_is_cut(user_type: ResourceType) -> None:
    node = resolve(parse_filter('title pr and userName eq "bjensen"'), user_type)
    assert isinstance(node, And)

    native, residual = ToyCompiler(USERS, lambda part: isinstance(part, BoundComparison)).split(node)

    assert native == frozenset({"bjensen"})
    assert residual == node.operands[0]


@pytest.mark.parametrize("text", ['title pr or userName eq "john"', "not (title pr)"])
def test_nothing_but_a_conjunction_is_cut(text: str, user_type: ResourceType) -> None:
    node = resolve(parse_filter(text), user_type)

    split = ToyCompiler(USERS, lambda part: isinstance(part, BoundComparison)).split(node)

    assert split == (None, node)


def test_a_backend_that_cannot_join_answers_one_part(user_type: ResourceType) -> None:
    node = resolve(parse_filter('title pr and userName eq "bjensen" and active eq true'), user_type)
    assert isinstance(node, And)

    native, residual = NarrowCompiler(USERS, lambda part: True).split(node)

    assert native == frozenset({"bjensen", "foreign"})
    assert residual == And(node.operands[1:])


def test_a_filter_that_is_not_bound_is_not_pushed() -> None:
    with pytest.raises(NotPushable):
        ToyCompiler(USERS, lambda node: True).compile(parse_filter("title pr"))
