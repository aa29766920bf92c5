"""What holds of every resource: its canonical form, and what a response shows of it."""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schema.attribute import Attribute
from schema.errors import ScimError
from schema.leniency import Leniency
from schema.projection import make_projection
from schema.validation import compile_validator
from tests.schema.definitions import PERSON, PERSON_TYPE, TEAM_TYPE, WORK

modest = settings(deadline=None, derandomize=True, max_examples=60)
validate = compile_validator(PERSON_TYPE)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=5)
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "reference": TEXT,
    "boolean": st.booleans(),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": st.floats(allow_nan=False, allow_infinity=False),
    "dateTime": st.datetimes().map(lambda instant: instant.isoformat() + "Z"),
    "binary": st.sampled_from(["YQ==", "aGVsbG8="]),
}


def values_of(attribute: Attribute) -> st.SearchStrategy[Any]:
    """Return canonical values of an attribute."""
    one = objects_of(attribute.sub_attributes) if attribute.is_complex else SIMPLE[attribute.type]
    if not attribute.multi_valued:
        return one
    return st.lists(one, min_size=1, max_size=3, unique_by=sorted_text).filter(
        lambda elements: sum(e.get("primary") is True for e in elements if isinstance(e, dict)) < 2
    )


def sorted_text(value: Any) -> str:
    return repr(sorted(value.items()) if isinstance(value, dict) else value)


def objects_of(attributes: tuple[Attribute, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Return canonical objects with a few of these attributes, and all that are required."""
    written = {a.name: values_of(a) for a in attributes if a.mutability != "readOnly" and a.name != "schemas"}
    required = {a.name for a in attributes if a.required and a.name in written}
    return st.lists(st.sampled_from(sorted(written)), min_size=1, max_size=4).flatmap(
        lambda names: st.fixed_dictionaries({name: written[name] for name in {*names, *required}})
    )


PATHS = st.sampled_from([p.text for p in PERSON_TYPE.simple_paths])
SPELLINGS: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([str, str.lower, str.upper])
CORE = objects_of(PERSON_TYPE.attributes)
EXTENSIONS = {e.schema.id: objects_of(e.schema.attributes) for e in PERSON_TYPE.extensions}


@st.composite
def people(draw: st.DrawFn) -> dict[str, Any]:
    """Return a person in canonical form."""
    body = draw(CORE)
    for extension, objects in EXTENSIONS.items():
        if draw(st.booleans()):
            body[extension] = draw(objects)
    present = [e.schema.id for e in PERSON_TYPE.extensions if e.schema.id in body]
    return {"schemas": [PERSON, *present], **body}


def as_sent(value: Any, draw: st.DrawFn) -> Any:
    """Return a canonical value as a careless client sends it: names in any case, and null in lists."""
    if isinstance(value, list):
        return [*(as_sent(element, draw) for element in value), None]
    if not isinstance(value, dict):
        return value
    spelling: Callable[[str], str] = draw(SPELLINGS)
    items = list(value.items())[:: draw(st.sampled_from([1, -1]))]
    return {spelling(name): as_sent(item, draw) for name, item in items}


@st.composite
def sent_people(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a person as it is sent, and its canonical form."""
    canonical = draw(people())
    unassigned: dict[str, Any] = {"title": None, "tags": [], "name": {}, "phones": [{}], WORK: {}}
    read_only = {"id": "7", "meta": {"version": "1"}, "badge": 7, "groups": None}
    extra = {name: item for name, item in unassigned.items() if name not in canonical}
    return as_sent(canonical, draw) | extra | draw(st.sampled_from([{}, read_only])), canonical


@modest
@given(people())
def test_a_canonical_resource_validates_unchanged(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)

    assert validate(body) == before
    assert body == before


@modest
@given(sent_people())
def test_every_spelling_of_a_resource_has_the_one_canonical_form(
    pair: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    sent, canonical = pair

    assert validate(sent) == canonical
    assert validate(validate(sent)) == canonical


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | TEXT | st.just(""),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(TEXT | st.sampled_from(["value", "Value", "primary", "familyName"]), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([a.name for a in PERSON_TYPE.attributes] + [WORK, WORK.upper(), "USERNAME", "noSuch"])
BODIES = st.dictionaries(KEYS, ANYTHING, max_size=4).map(
    lambda body: {"schemas": [PERSON], "userName": "anna", **body}
)
LENIENT = Leniency(unknown_attributes=True, missing_schemas=True, unknown_values=True, empty_values=True)


@modest
@given(BODIES, st.sampled_from([Leniency(), LENIENT]))
def test_a_body_is_canonicalised_once_and_for_all_or_refused(
    body: dict[str, Any], leniency: Leniency
) -> None:
    before = repr(body)
    read = compile_validator(PERSON_TYPE, leniency)
    try:
        canonical = read(body)
    except ScimError as refused:
        assert refused.scim_type in ("invalidValue", "invalidSyntax")
        assert len(refused.detail) < 300
        return
    finally:
        assert repr(body) == before

    assert read(canonical) == canonical
    assert validate(canonical) == canonical, "and by the letter of the schema"
    assert set(canonical) <= {a.name for a in PERSON_TYPE.attributes} | {WORK}


@modest
@given(people(), st.lists(PATHS, max_size=5), st.booleans())
def test_a_response_shows_nothing_that_was_not_there(
    body: dict[str, Any], paths: list[str], excluding: bool
) -> None:
    projection = make_projection(PERSON_TYPE, *(((), paths) if excluding else (paths, ())))
    stored = {**body, "id": "1"}

    shown = projection.apply(stored)

    assert (shown["schemas"], shown["id"]) == (body["schemas"], "1")
    assert shown.get("serial") == body.get("serial")
    for path in PERSON_TYPE.simple_paths:
        if path.text not in ("schemas", "id"):
            assert path.values(shown) in ([], path.values(stored))
        if path.leaf.returned == "never" or path.attribute.returned == "never":
            assert path.values(shown) == []


@modest
@given(people(), PATHS)
def test_what_is_excluded_and_what_is_asked_for_make_up_the_whole(body: dict[str, Any], text: str) -> None:
    path = PERSON_TYPE.path(text)
    assert path is not None
    asked = make_projection(PERSON_TYPE, [text], ()).apply(body)
    others = make_projection(PERSON_TYPE, (), [text]).apply(body)
    secret = "never" in (path.leaf.returned, path.attribute.returned)

    assert path.values(asked) == ([] if secret else path.values(body))
    if path.leaf.returned != "always":
        assert path.values(others) == []
    elif path.sub_attribute is None:
        assert path.values(others) == path.values(body)


def test_the_least_team_is_canonical() -> None:
    team = {"schemas": [TEAM_TYPE.schema.id], "displayName": "t"}
    extension = TEAM_TYPE.extensions[0].schema.id

    assert compile_validator(TEAM_TYPE)({**team, extension: {"amount": 1}})["schemas"] == [
        *(TEAM_TYPE.schema.id, extension),
    ]
