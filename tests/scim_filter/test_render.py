"""Tree to text and back (RFC 7644 section 3.4.2.2)."""

import random

import pytest

from schema.resource_type import ResourceType
from scim_filter.nodes import (
    Comparison,
    Literal,
    Node,
    Not,
    PatchPath,
    Path,
    Presence,
    ValuePath,
    all_of,
    any_of,
)
from scim_filter.parser import parse_filter, parse_path
from scim_filter.render import render
from scim_filter.resolve import resolve, resolve_path
from tests.scim_filter.conftest import SRAM, USER
from tests.scim_filter.corpus import GROUP_FILTERS, USER_FILTERS
from tests.scim_filter.test_parser import TREES

PATHS = ("a", "name.familyName", "$ref", "members.$ref", f"{USER}:name.familyName", f"{SRAM}.urn")
LITERALS: tuple[Literal, ...] = (
    *("", "x", 'a"b\\c', "100%", "\n\t\x7f", "日本\U0001f600\u2028", "not (a pr)"),
    *(True, False, None, 0, -7, 10**20, 1.5, -0.25, 1e22, 5e-324),
)
OPERATORS = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")


def random_tree(source: random.Random, depth: int, bracketed: bool = False) -> Node:
    kind = source.randrange(7) if depth else source.randrange(2)
    path = Path(source.choice(PATHS))
    if kind == 0:
        return Presence(path)
    if kind == 1 or (kind == 6 and bracketed):
        return Comparison(path, source.choice(OPERATORS), source.choice(LITERALS))
    if kind == 6:
        return ValuePath(path, random_tree(source, depth - 1, bracketed=True))
    if kind == 5:
        return Not(random_tree(source, depth - 1, bracketed))
    operands = [random_tree(source, depth - 1, bracketed) for _ in range(source.randrange(2, 5))]
    return all_of(operands) if kind in (2, 3) else any_of(operands)


@pytest.mark.parametrize("seed", range(20))
def test_random_trees_survive_the_way_to_text_and_back(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(50):
        tree = random_tree(source, source.randrange(6))

        assert parse_filter(render(tree)) == tree


@pytest.mark.parametrize("tree", [tree for _, tree in TREES])
def test_every_tree_survives_the_way_to_text_and_back(tree: Node) -> None:
    assert parse_filter(render(tree)) == tree


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('userName EQ"x"', 'userName eq "x"'),
        ("((a pr) AND (b pr or c pr))", "a pr and (b pr or c pr)"),
        ("(a pr and b pr) or c pr", "a pr and b pr or c pr"),
        ("NOT(a pr)", "not (a pr)"),
        ('e[t eq "w"].v eq 1', 'e[t eq "w" and v eq 1]'),
        ('e[a pr or b pr].v eq "\\u00e9"', 'e[(a pr or b pr) and v eq "é"]'),
    ],
)
def test_the_text_has_the_fewest_parentheses(text: str, canonical: str) -> None:
    assert render(parse_filter(text)) == canonical


@pytest.mark.parametrize(
    "text", ["a", "a.b", "e[a pr]", 'e[a pr or b eq "x"].c', f"{SRAM}:links[a pr].value"]
)
def test_patch_paths_survive_the_way_to_text_and_back(text: str) -> None:
    tree = parse_path(text)

    assert render(tree) == text
    assert parse_path(render(tree)) == tree


def test_a_patch_path_made_by_hand_is_rendered() -> None:
    assert render(PatchPath(Path("e"), None, "c")) == "e.c"


@pytest.mark.parametrize("text", [text for text, _ in USER_FILTERS])
def test_a_bound_filter_rendered_and_bound_again_is_the_same(text: str, user_type: ResourceType) -> None:
    bound = resolve(parse_filter(text), user_type)

    assert resolve(parse_filter(render(bound)), user_type) == bound


@pytest.mark.parametrize("text", [text for text, _ in GROUP_FILTERS])
def test_a_bound_filter_of_groups_survives_too(text: str, group_type: ResourceType) -> None:
    bound = resolve(parse_filter(text), group_type)

    assert resolve(parse_filter(render(bound)), group_type) == bound


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("USERNAME", "userName"),
        ('EMAILS[TYPE eq "work"].VALUE', 'emails[type eq "work"].value'),
        ("emails[primary pr]", "emails[primary pr]"),
        ("name.FAMILYNAME", "name.familyName"),
    ],
)
def test_a_bound_patch_path_has_canonical_names(text: str, canonical: str, user_type: ResourceType) -> None:
    assert render(resolve_path(parse_path(text), user_type)) == canonical
