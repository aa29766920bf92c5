"""Binding to a resource type, and everything that does not fit it (RFC 7644 section 3.4.2.2)."""

import pytest

from app.protocol.profiles import profile_of
from schema.errors import InvalidFilter, InvalidPath
from schema.resource_type import ResourceType
from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Comparison,
    Not,
    PatchPath,
    Path,
    ValuePath,
)
from scim_filter.parser import parse_filter, parse_path
from scim_filter.render import render
from scim_filter.resolve import resolve, resolve_path
from tests.scim_filter.conftest import ENTERPRISE, SRAM, USER

UNFIT = [
    ('nope eq "x"', "nope is not an attribute of User (at character 1)"),
    ('title pr and name.nope eq "x"', "name.nope is not an attribute of User (at character 14)"),
    ("urn:x:y:userName pr", "urn:x:y:userName is not an attribute of User (at character 1)"),
    (f"{ENTERPRISE}:nope pr", f"{ENTERPRISE}:nope is not an attribute"),
    (f"{USER} pr", "is a schema: name one of its attributes (at character 1)"),
    (f"{USER.upper()} pr", "is a schema: name one of its attributes (at character 1)"),
    (f'{ENTERPRISE}[department eq "x"]', "is a schema: brackets follow one of its attributes"),
    (f'{ENTERPRISE} eq "x"', "is complex: name one of its sub-attributes"),
    ("emails[nope pr]", "nope is not a sub-attribute of emails (at character 8)"),
    ("emails[emails.type pr]", "emails.type is not a sub-attribute of emails (at character 8)"),
    ("emails[type pr].nope pr", "nope is not a sub-attribute of emails (at character 17)"),
    ("title[type pr]", "title has no sub-attributes to select by (at character 1)"),
    ('title[value eq "x"]', "title has no sub-attributes to select by"),
    ("title.value pr", "title.value is not an attribute of User"),
    ("tags.nope pr", "tags.nope is not an attribute of User"),
    ("tags[nope eq 1]", "nope is not a sub-attribute of tags (at character 6)"),
    ("tags[value pr].nope pr", "nope is not a sub-attribute of tags"),
    ("tags[tags pr]", "tags is not a sub-attribute of tags"),
    ("tags[value.value pr]", "value.value is not a sub-attribute of tags"),
    ("tags.value[value pr]", "tags.value has no sub-attributes to select by"),
    ("tags.value.value pr", "tags.value.value is not an attribute of User"),
    ("tags[value eq 5]", "tags is string: the value must be a string"),
    ("emails.type[value pr]", "emails.type has no sub-attributes to select by"),
    ('addresses eq "x"', "addresses is complex: name one of its sub-attributes (at character 1)"),
    ('name co "x"', "name is complex: name one of its sub-attributes"),
    *((f'emails {o} "x"', f"emails is complex: {o} does not apply") for o in ("gt", "ge", "lt", "le")),
    *((f"active {o} true", f"active is boolean: {o} does not apply") for o in ("gt", "ge", "lt", "le")),
    *((f'photo {o} "x"', f"photo is binary: {o} does not apply") for o in ("gt", "ge", "lt", "le")),
    *((f'active {o} "t"', f"active is boolean: {o} does not apply") for o in ("co", "sw", "ew")),
    *((f"age {o} 4", f"age is integer: {o} does not apply") for o in ("co", "sw", "ew")),
    *((f"height {o} 4", f"height is decimal: {o} does not apply") for o in ("co", "sw", "ew")),
    *((f'born {o} "19"', f"born is dateTime: {o} does not apply") for o in ("co", "sw", "ew")),
    ("userName eq 5", "userName is string: the value must be a string (at character 1)"),
    ("userName eq true", "userName is string: the value must be a string"),
    ("userName co 5", "userName is string: the value must be a string"),
    ('userName eq "\\u0000"', "the value must not contain the character U+0000"),
    ('userName co "\\u0000"', "the value must not contain the character U+0000"),
    ("profileUrl eq 5", "profileUrl is reference: the value must be a string"),
    ("photo eq 5", "photo is binary: the value must be base64 text"),
    ('photo eq "*"', "photo is binary: the value must be base64 text"),
    ('active eq "yes"', "active is boolean: the value must be true or false"),
    ("active eq 1", "active is boolean: the value must be true or false"),
    ('age eq "41"', "age is integer: the value must be an integer"),
    ("age eq 41.5", "age is integer: the value must be an integer"),
    ("age eq true", "age is integer: the value must be an integer"),
    ("age eq 9223372036854775808", "age is integer: the value must fit in 64 bits"),
    ("age eq 1e300", "age is integer: the value must fit in 64 bits"),
    ('height eq "1.75"', "height is decimal: the value must be a number"),
    ("height eq true", "height is decimal: the value must be a number"),
    ('born eq "yesterday"', "born is dateTime: the value must be a dateTime"),
    ('born eq "2011-13-01T00:00:00Z"', "born is dateTime: the value must be a dateTime"),
    ("born eq 5", "born is dateTime: the value must be a dateTime"),
    *((f"title {o} null", f"title {o} null has no meaning") for o in ("co", "sw", "ew", "gt", "le")),
]


@pytest.mark.parametrize(("text", "problem"), UNFIT)
def test_what_does_not_fit_the_resource_type_is_refused(
    text: str, problem: str, user_type: ResourceType
) -> None:
    with pytest.raises(InvalidFilter) as caught:
        resolve(parse_filter(text), user_type)

    assert problem in caught.value.detail


@pytest.mark.parametrize("path", ["password", f"{USER}:PASSWORD", "vault", "vault.value", "tokens.value"])
@pytest.mark.parametrize("test", ["pr", 'eq "x"', 'co ""', "eq null", "gt 5"])
def test_what_is_never_returned_is_refused_whatever_is_asked(
    path: str, test: str, user_type: ResourceType
) -> None:
    with pytest.raises(InvalidFilter, match="cannot be used in a filter"):
        resolve(parse_filter(f"{path} {test}"), user_type)


@pytest.mark.parametrize(
    "text", ['tokens eq "x"', 'tokens[value eq "x"]', "tokens[type pr].value pr", "vault[value pr]"]
)
def test_what_is_never_returned_is_refused_within_a_complex_attribute(
    text: str, user_type: ResourceType
) -> None:
    with pytest.raises(InvalidFilter, match="cannot be used in a filter"):
        resolve(parse_filter(text), user_type)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('USERNAME EQ "X"', 'userName eq "X"'),
        (f'{USER}:userName eq "x"', 'userName eq "x"'),
        (f'{ENTERPRISE}.department eq "x"', f'{ENTERPRISE}:department eq "x"'),
        ('emails co "x"', 'emails.value co "x"'),
        (f'{ENTERPRISE}:manager eq "26"', f'{ENTERPRISE}:manager.value eq "26"'),
        ('title ne "x"', 'not (title eq "x")'),
        ("title eq null", "not (title pr)"),
        ("emails ne null", "emails pr"),
        ('title co ""', "title pr"),
        ('emails ew ""', "emails.value pr"),
        ('title eq ""', 'title eq ""'),
        ('tags.value eq "x"', 'tags eq "x"'),
        ('TAGS[VALUE eq "x"]', 'tags eq "x"'),
        ("tags[value pr]", "tags pr"),
        ('tags[value co ""]', "tags pr"),
        ('tags[value ne "x"]', 'tags[not (value eq "x")]'),
        ('tags[value sw "x"].value ew "y"', 'tags[value sw "x" and value ew "y"]'),
        (f'{USER}:tags[value eq "x" or value pr]', 'tags[value eq "x" or value pr]'),
        ("age eq 3.0", "age eq 3"),
        ('photo co "*"', 'photo co "*"'),
    ],
)
def test_a_bound_filter_says_it_in_one_way(text: str, canonical: str, user_type: ResourceType) -> None:
    assert render(resolve(parse_filter(text), user_type)) == canonical


def test_leniency_reads_literals_and_urns(user_type: ResourceType) -> None:
    leniency = profile_of("default").resources
    text = 'active eq "TRUE" and urn:scim:schemas:extension:enterprise:2.0:department pr'

    bound = resolve(parse_filter(text), user_type, leniency)

    assert render(bound) == f"active eq true and {ENTERPRISE}:department pr"
    with pytest.raises(InvalidFilter, match="the value must be true or false"):
        resolve(parse_filter('active eq "TRUE"'), user_type)


def test_a_bound_comparison_carries_the_key_of_its_literal(user_type: ResourceType) -> None:
    bound = resolve(parse_filter('userName eq "JOHN"'), user_type)

    assert isinstance(bound, BoundComparison)
    assert (bound.path.text, bound.operator, bound.value, bound.key) == ("userName", "eq", "JOHN", "john")


def test_the_paths_in_brackets_are_whole(user_type: ResourceType) -> None:
    bound = resolve(parse_filter('emails[type ne "work" and value pr]'), user_type)

    assert isinstance(bound, BoundValuePath) and bound.path.text == "emails"
    assert isinstance(bound.filter, And)
    inner, present = bound.filter.operands
    assert isinstance(inner, Not) and isinstance(inner.operand, BoundComparison)
    assert inner.operand.path == user_type.path("emails.type")
    assert present == BoundPresence(user_type.path("emails.value") or bound.path)


def test_a_tree_made_by_hand_has_no_brackets_within_brackets(user_type: ResourceType) -> None:
    inner = ValuePath(Path("emails"), Comparison(Path("type"), "eq", "work"))

    with pytest.raises(InvalidFilter, match="brackets within brackets"):
        resolve(ValuePath(Path("emails"), inner), user_type)


def test_three_thousand_terms_overflow_nothing(user_type: ResourceType) -> None:
    text = " or ".join(f'userName eq "{number}"' for number in range(3000))

    bound = resolve(parse_filter(text, max_length=10**6), user_type)

    assert hash(bound) == hash(resolve(parse_filter(render(bound), max_length=10**6), user_type))


@pytest.mark.parametrize(
    ("text", "path", "selects"),
    [
        ("active", "active", False),
        ("password", "password", False),
        ("NAME.familyname", "name.familyName", False),
        (ENTERPRISE, ENTERPRISE, False),
        (ENTERPRISE.upper(), ENTERPRISE, False),
        (f"{USER}:userName", "userName", False),
        (f"{ENTERPRISE}:manager.value", f"{ENTERPRISE}:manager.value", False),
        ('emails[type eq "work"]', "emails", True),
        ('emails[type eq "work"].value', "emails.value", True),
        ("tags.value", "tags", False),
        ('tags[value eq "x"]', "tags", True),
        ('tags[value eq "x"].value', "tags", True),
    ],
)
def test_a_patch_path_is_bound(text: str, path: str, selects: bool, user_type: ResourceType) -> None:
    bound = resolve_path(parse_path(text), user_type)

    assert bound.path.text == path
    assert (bound.filter is not None) is selects


def test_a_patch_path_into_an_extension_is_bound(group_type: ResourceType) -> None:
    bound = resolve_path(parse_path(f'{SRAM}:links[name eq "logo"].value'), group_type)

    assert bound.path == group_type.path(f"{SRAM}:links.value")
    assert isinstance(bound.filter, BoundComparison)
    assert bound.filter.path == group_type.path(f"{SRAM}:links.name")


def test_a_patch_path_made_by_hand_is_bound_alike(user_type: ResourceType) -> None:
    bound = resolve_path(PatchPath(Path("name"), None, "familyName"), user_type)

    assert bound == resolve_path(parse_path("name.familyName"), user_type)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nope", "nope is not an attribute of User (at character 1)"),
        (USER, "is a schema: name one of its attributes"),
        ("title[type pr]", "title has no sub-attributes to select by"),
        ("emails.value[type pr]", "emails.value has no sub-attributes to select by"),
        ('title[value eq "x"]', "title has no sub-attributes to select by"),
        ("tags.value[value pr]", "tags.value has no sub-attributes to select by"),
        ("tags[value pr].nope", "nope is not a sub-attribute of tags"),
        (f"{ENTERPRISE}[department pr]", "is a schema: brackets follow one of its attributes"),
        ("emails[type pr].nope", "nope is not a sub-attribute of emails"),
    ],
)
def test_a_patch_path_that_does_not_fit_is_an_invalid_path(
    text: str, problem: str, user_type: ResourceType
) -> None:
    with pytest.raises(InvalidPath) as caught:
        resolve_path(parse_path(text), user_type)

    assert problem in caught.value.detail


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tags[nope eq 1]", "nope is not a sub-attribute of tags (at character 6)"),
        ("emails[nope pr]", "nope is not a sub-attribute of emails (at character 8)"),
        ("emails[primary gt true].value", "emails.primary is boolean: gt does not apply"),
        ("emails[type eq 5].value", "emails.type is string: the value must be a string"),
        ('tokens[value eq "x"]', "tokens.value cannot be used in a filter"),
    ],
)
def test_what_does_not_fit_within_the_brackets_of_a_path_is_an_invalid_filter(
    text: str, problem: str, user_type: ResourceType
) -> None:
    with pytest.raises(InvalidFilter) as caught:
        resolve_path(parse_path(text), user_type)

    assert problem in caught.value.detail
