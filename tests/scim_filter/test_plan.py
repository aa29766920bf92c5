"""What becomes of each part of a filter, and why (RFC 7644 section 3.4.2.2)."""

from collections.abc import Sequence

import pytest

from schema.resource_type import ResourceType
from scim_filter import FilterCompiler, parse_filter, resolve
from scim_filter.compiler import NotIndexed, NotPushable
from scim_filter.nodes import BoundComparison, Node
from scim_filter.plan import BOTH, SERVER, STORAGE, Part, Plan, chosen, listed, parts_of
from scim_filter.render import render, render_without_values


class NamesCompiler(FilterCompiler[str]):
    """A backend that has an index over userName alone, and joins nothing with a nickName."""

    most_levels = 3

    def access(self, native: str) -> str:
        return "looks it up"

    def shown(self, native: str) -> str:
        return native

    def comparison(self, node: BoundComparison) -> str:
        match node.path.text:
            case "userName" | "nickName":
                return render(node)
            case "title":
                raise NotIndexed(node, "title")
        raise NotPushable(node)

    def conjunction(self, natives: Sequence[str]) -> str:
        if any(native.startswith("nickName") for native in natives):
            raise NotPushable
        return " & ".join(natives)

    def disjunction(self, natives: Sequence[str]) -> str:
        return " | ".join(natives)

    def negation(self, native: str) -> str:
        return f"!{native}"


class LooseCompiler(NamesCompiler):
    """A backend that may find more."""

    is_exact = False


def bound(user_type: ResourceType, text: str) -> Node:
    return resolve(parse_filter(text), user_type)


def parts(user_type: ResourceType, text: str) -> tuple[Part, ...]:
    return parts_of(NamesCompiler(), bound(user_type, text))


def test_an_answered_part_says_how_it_is_found(user_type: ResourceType) -> None:
    (part,) = parts(user_type, 'userName eq "ann"')

    assert (part.by, part.access, part.query) == (STORAGE, "looks it up", 'userName eq "ann"')
    assert (part.reason, part.unindexed, part.parts) == ("", None, ())


def test_a_part_that_the_backend_finds_too_much_for_is_of_both(user_type: ResourceType) -> None:
    (part,) = parts_of(LooseCompiler(), bound(user_type, 'userName eq "ann"'))

    assert part.by == BOTH


def test_a_part_without_an_index_names_the_attribute(user_type: ResourceType) -> None:
    first, second = parts(user_type, 'title eq "x" and userName eq "ann"')

    assert (first.by, first.reason, first.unindexed) == (SERVER, "title has no index", "title")
    assert second.by == STORAGE
    assert Plan((first, second), "title").missing == ["title"]
    assert Plan((first, second), "active").missing == ["title", "active"]


def test_a_part_that_no_index_helps_names_none(user_type: ResourceType) -> None:
    (part,) = parts(user_type, "displayName pr")

    assert (part.by, part.reason) == (SERVER, "the storage has no query for displayName pr")
    assert Plan((part,)).missing == []


def test_an_or_shows_the_branch_that_keeps_it_from_the_backend(user_type: ResourceType) -> None:
    (part,) = parts(user_type, 'userName eq "ann" or not (title eq "x")')

    assert (part.by, part.reason) == (SERVER, "the storage answers all of it or nothing")
    name, negated = part.parts
    assert (name.by, negated.by) == (STORAGE, SERVER)
    assert list(part.missing()) == ["title"]


def test_a_part_that_is_too_large_says_so(user_type: ResourceType) -> None:
    (part,) = parts(user_type, 'not (not (not (userName eq "ann")))')

    assert part.reason == "the storage takes at most 3 levels and 400 comparisons"


def test_a_part_that_is_not_joined_says_so(user_type: ResourceType) -> None:
    name, nick = parts(user_type, 'userName eq "ann" and nickName eq "a"')

    assert (name.by, nick.by) == (STORAGE, SERVER)
    assert nick.reason == "the storage does not join it with the other parts"


def test_no_filter_has_no_parts() -> None:
    assert parts_of(NamesCompiler(), None) == listed(None, "because") == ()


def test_one_operand_alone_may_be_looked_up(user_type: ResourceType) -> None:
    node = bound(user_type, 'userName eq "ann" and title pr')
    operand = node.operands[1]  # type: ignore[union-attr]

    first, second = chosen(node, operand, BOTH, "reads one")

    assert (first.by, second.by, second.access) == (SERVER, BOTH, "reads one")
    assert [part.by for part in listed(node, "because")] == [SERVER, SERVER]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('userName eq "ann" and active eq true', "userName eq ? and active eq ?"),
        ('emails[type eq "work" and value sw "a"]', "emails[type eq ? and value sw ?]"),
        ('not (title eq "x" or title co "\\"")', "not (title eq ? or title co ?)"),
        ("title pr", "title pr"),
    ],
)
def test_a_filter_is_shown_without_its_values(user_type: ResourceType, text: str, shown: str) -> None:
    assert render_without_values(parse_filter(text)) == shown
    assert render_without_values(bound(user_type, text)) == shown
