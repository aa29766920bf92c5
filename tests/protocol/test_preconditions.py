"""Conditional requests (RFC 7644 section 3.14, RFC 9110 section 13)."""

import pytest

from app.protocol.errors import PreconditionFailed
from app.protocol.preconditions import (
    check_tags,
    entity_tag,
    names,
    require_match,
    require_none_match,
    versions_in,
)
from app.protocol.profiles import Profile
from schema.errors import InvalidSyntax
from tests.protocol.samples import DEFAULT, STRICT


def test_an_entity_tag_is_weak() -> None:
    assert entity_tag("a1") == 'W/"a1"'


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ('W/"a"', ["a"]),
        ('"a"', ["a"]),
        ('W/"a", "b"', ["a", "b"]),
        ('"a","b"', ["a", "b"]),
        ('"a,b"', ["a,b"]),
        ('""', [""]),
        ("a", ["a"]),
        ("W/a", ["a"]),
        ("w/a, b", ["a", "b"]),
        ("*", ["*"]),
        ("", []),
    ],
)
def test_versions_are_read_from_tags(text: str, versions: list[str]) -> None:
    assert versions_in(text) == versions


@pytest.mark.parametrize(
    ("versions", "named"),
    [(["a"], True), (["b", "a"], True), (["*"], True), (["b"], False), (["A"], False), ([], False)],
)
def test_conditions_ask_whether_the_version_is_named(versions: list[str], named: bool) -> None:
    assert names(versions, "a") is named

    if named:
        require_match(versions, "a")
        with pytest.raises(PreconditionFailed) as caught:
            require_none_match(versions, "a")
    else:
        require_none_match(versions, "a")
        with pytest.raises(PreconditionFailed) as caught:
            require_match(versions, "a")
    assert caught.value.status == 412
    assert 'W/"a"' in caught.value.detail


def test_without_condition_every_version_will_do() -> None:
    require_match(None, "a")
    require_none_match(None, "a")


@pytest.mark.parametrize("text", ['W/"a"', '"a"', '"a", W/"b"', "*", " * ", '""', ""])
@pytest.mark.parametrize("profile", [DEFAULT, STRICT], ids=["default", "strict"])
def test_quoted_tags_are_accepted(profile: Profile, text: str) -> None:
    check_tags("If-Match", text, profile)


@pytest.mark.parametrize("text", ["a", "W/a", '"a', '"a", b', '"a", *', 'w/"a"'])
def test_other_tags_are_refused_by_the_letter_only(text: str) -> None:
    check_tags("If-Match", text, DEFAULT)

    with pytest.raises(InvalidSyntax, match="^If-Match: must be an entity-tag"):
        check_tags("If-Match", text, STRICT)
