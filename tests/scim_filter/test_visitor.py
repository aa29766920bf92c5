"""Dispatch by the class of a node (RFC 7644 section 3.4.2.2)."""

import pytest

from schema.resource_type import ResourceType
from scim_filter.nodes import And, BoundPresence, Not, Or, Presence, filter_paths
from scim_filter.parser import parse_filter
from scim_filter.resolve import resolve
from scim_filter.visitor import Visitor


class Counter(Visitor[int]):
    """Counts the conditions of a parsed filter."""

    def presence(self, node: Presence) -> int:
        return 1

    def conjunction(self, node: And) -> int:
        return sum(map(self.visit, node.operands))

    def disjunction(self, node: Or) -> int:
        return sum(map(self.visit, node.operands))

    def negation(self, node: Not) -> int:
        return self.visit(node.operand)


def test_each_kind_of_node_has_its_method() -> None:
    assert Counter().visit(parse_filter("title pr and (a pr or not (b pr))")) == 3


@pytest.mark.parametrize("text", ['title eq "x"', "emails[type pr]"])
def test_a_kind_of_node_that_a_visitor_does_not_know_is_refused(text: str, user_type: ResourceType) -> None:
    with pytest.raises(TypeError, match="Counter does not take"):
        Counter().visit(parse_filter(text))
    with pytest.raises(TypeError, match="Counter does not take Bound"):
        Counter().visit(resolve(parse_filter(text), user_type))


def test_bound_and_parsed_nodes_are_different_kinds(user_type: ResourceType) -> None:
    bound = resolve(parse_filter("title pr"), user_type)

    assert isinstance(bound, BoundPresence)
    with pytest.raises(TypeError, match="Counter does not take BoundPresence"):
        Counter().visit(bound)


def test_filter_paths_are_found_everywhere(user_type: ResourceType) -> None:
    bound = resolve(parse_filter('title pr and not (emails[type eq "x" or value pr])'), user_type)

    assert [path.text for path in filter_paths(bound)] == ["title", "emails.type", "emails.value"]
