"""The meaning of filters over a corpus of resources (RFC 7644 section 3.4.2.2)."""

from typing import Any

import pytest

from schema.resource_type import ResourceType
from scim_filter import compile_predicate, matches, parse_filter, parse_path, resolve, resolve_path, select
from tests.scim_filter.corpus import GROUP_FILTERS, GROUPS, USER_FILTERS, USERS


@pytest.mark.parametrize(("text", "expected"), USER_FILTERS)
def test_a_filter_finds_these_users(text: str, expected: set[str], user_type: ResourceType) -> None:
    holds = compile_predicate(resolve(parse_filter(text), user_type))

    assert {name for name, user in USERS.items() if holds(user)} == expected


@pytest.mark.parametrize(("text", "expected"), GROUP_FILTERS)
def test_a_filter_finds_these_groups(text: str, expected: set[str], group_type: ResourceType) -> None:
    holds = compile_predicate(resolve(parse_filter(text), group_type))

    assert {name for name, group in GROUPS.items() if holds(group)} == expected


@pytest.mark.parametrize(
    ("text", "resource"),
    [
        ("height lt 0", {"height": 10**400}),
        ("height gt 0", {"height": 10**400}),
        ("height gt 0", {"height": float("nan")}),
        ("age lt 5", {"age": 10**30}),
        ("age eq 1", {"age": 1.0}),
        ("age eq 1", {"age": [[1]]}),
        ('born lt "2011-05-13T04:42:34Z"', {"born": "0001-01-01T00:00:00+23:00"}),
        ('born gt "2011-05-13T04:42:34Z"', {"born": ""}),
        ('userName co "1"', {"userName": 1}),
        ('name.familyName eq "x"', {"name": [None, 1, "x", ["x"]]}),
        ("emails pr", {"emails": [None, {}, {"value": None}, {"value": ""}, {"value": []}]}),
        ("emails pr", {"emails": [{"unheard": "of"}]}),
        ("title pr", {"title": [None, "", [], {}]}),
    ],
)
def test_values_of_the_wrong_type_match_nothing_and_raise_nothing(
    text: str, resource: dict[str, Any], user_type: ResourceType
) -> None:
    assert not matches(resolve(parse_filter(text), user_type), resource)


def test_a_filter_that_is_not_bound_is_not_evaluated() -> None:
    with pytest.raises(TypeError, match="Presence"):
        matches(parse_filter("title pr"), {"title": "x"})


def test_deep_and_wide_filters_are_evaluated(user_type: ResourceType) -> None:
    deep = "not (" * 48 + 'userName eq "john"' + ")" * 48
    wide = " or ".join(f'userName eq "{number}"' for number in range(3000))

    assert matches(resolve(parse_filter(deep), user_type), USERS["john"])
    assert matches(resolve(parse_filter(wide, max_length=10**6), user_type), {"userName": "2999"})


ELEMENTS: list[Any] = [
    {"value": "a@example.com", "type": "work", "primary": True},
    {"value": "b@example.com", "type": "WORK"},
    "foreign",
    {"value": "c@example.com"},
]


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ('emails[type eq "work"]', [0, 1]),
        ('emails[type eq "work" and value sw "b"].display', [1]),
        ('emails[type ne "work"]', [3]),
        ("emails[not (primary eq true)]", [1, 3]),
        ("emails[value pr]", [0, 1, 3]),
        ('emails[value eq "a@example.com" or not (type pr)]', [0, 3]),
        ('emails[type eq "other"]', []),
    ],
)
def test_select_gives_the_positions_of_the_elements(
    text: str, positions: list[int], user_type: ResourceType
) -> None:
    path = resolve_path(parse_path(text), user_type)

    assert path.filter is not None
    assert select(path.filter, ELEMENTS) == positions


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ('tags[value eq "RED"]', [0]),
        ('tags[value sw "r" and value ew "y"]', [4]),
        ('tags[value ne "red"]', [1, 4]),
        ("tags[not (value pr)]", [1]),
        ('tags[value eq "red" or value eq ""].value', [0, 1]),
    ],
)
def test_a_simple_element_is_its_value_and_one_of_another_type_is_none(
    text: str, positions: list[int], user_type: ResourceType
) -> None:
    path = resolve_path(parse_path(text), user_type)

    assert path.filter is not None
    assert select(path.filter, ["red", "", None, 5, "ruby", {"value": "red"}, ["red"]]) == positions
