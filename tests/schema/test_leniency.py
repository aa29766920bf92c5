"""How far a client may stray from the schema, and where that ends (schema/leniency.py)."""

from collections.abc import Mapping
from typing import Any

import pytest

from schema.attribute import Attribute
from schema.errors import InvalidSyntax, InvalidValue
from schema.leniency import MISMATCH, STRICT, Leniency, Rewriting
from schema.validation import (
    compile_attribute_validator,
    compile_element_validator,
    compile_validator,
    is_emptied,
    rewritten_values,
)
from tests.schema.definitions import (
    PERSON,
    PERSON_TYPE,
    TEAM,
    TEAM_TYPE,
    WORK,
    attribute_of,
    complex_of,
    many,
    person,
)

OLD_PERSON, OLD_WORK = "urn:old:person", "urn:old:person:work"
ALIASES = {OLD_PERSON: None, OLD_WORK: WORK}


def coerced(attribute: Attribute, value: Any) -> Any:
    """Read "" as unassigned, digits as an integer, text as the value of an object, one object as a list."""
    if value == "":
        return None
    if attribute.type == "integer" and isinstance(value, str):
        return int(value) if value.isdigit() else value
    if attribute.multi_valued and isinstance(value, Mapping):
        return [value]
    if attribute.is_complex and isinstance(value, str):
        return {"value": value}
    return MISMATCH


def split_at_comma(attribute: Attribute) -> Rewriting | None:
    """Read `{"value": "a,b"}` as two emails."""

    def rewrite(value: Any) -> Any:
        text = value.get("value") if isinstance(value, Mapping) else None
        if not isinstance(text, str) or "," not in text:
            return MISMATCH
        return [{**value, "value": part} for part in text.split(",")]

    return rewrite if attribute.name == "emails" else None


def kept(leniency: Leniency, **attributes: Any) -> dict[str, Any]:
    """Return what is left of the attributes of a person."""
    body = compile_validator(PERSON_TYPE, leniency)(person(**attributes))
    return {name: item for name, item in body.items() if name not in ("schemas", "userName")}


@pytest.mark.parametrize(
    ("name", "sent", "read"),
    [
        ("age", "5", 5),
        ("age", "", None),
        ("age", 6, 6),
        ("title", "", ""),
        ("scores", ["1", 2, "", "3"], [1, 2, 3]),
        ("scores", "", None),
        ("emails", {"value": "a"}, [{"value": "a"}]),
        ("emails", ["a", "", {"value": "b"}], [{"value": "a"}, {"value": "b"}]),
        ("emails", [""], None),
        ("name", "", None),
        (WORK, {"manager": "7"}, {"manager": {"value": "7"}}),
        (WORK, "", None),
    ],
    ids=repr,
)
def test_a_value_that_does_not_fit_is_read_as_the_coercion_says(name: str, sent: Any, read: Any) -> None:
    assert kept(Leniency(coerced), **{name: sent}) == ({} if read is None else {name: read})


@pytest.mark.parametrize(
    ("name", "sent", "said"),
    [
        ("age", "many", "age: must be an integer"),
        ("age", str(2**63), "age: must be an integer"),
        ("active", "true", "active: must be true or false"),
        ("scores", [1, "x"], r"scores\[1\]: must be an integer"),
        ("scores", "5", "scores: must be a list"),
        ("name", 7, "name: must be an object"),
    ],
    ids=str,
)
def test_a_reading_that_does_not_fit_either_is_refused_for_the_value_that_was_sent(
    name: str, sent: Any, said: str
) -> None:
    with pytest.raises(InvalidValue, match=f"^{said}$"):
        kept(Leniency(coerced), **{name: sent})


def test_a_value_is_rewritten_to_the_values_that_it_stands_for() -> None:
    leniency = Leniency(rewriting=split_at_comma)
    two = [{"value": "a", "type": "work"}, {"value": "b", "type": "work"}]

    assert kept(leniency, emails=[{"value": "a,b", "type": "work"}, {"value": "c"}]) == {
        "emails": [*two, {"value": "c"}],
    }
    assert kept(leniency, emails={"value": "a,b", "type": "work"}) == {"emails": two}
    assert kept(leniency, phones=[{"value": "1,2"}]) == {"phones": [{"value": "1,2"}]}
    assert rewritten_values(attribute_of("emails"), [{"value": "a,b"}, 7], leniency) == [
        *({"value": "a"}, {"value": "b"}, 7),
    ]
    assert rewritten_values(attribute_of("emails"), [{"value": "a,b"}], STRICT) == [{"value": "a,b"}]


def test_unknown_attributes_are_passed_over_everywhere_where_that_is_granted() -> None:
    sent = {
        **{"noSuch": {"deep": [1]}, "name": {"nick": "x", "familyName": "Berg"}},
        "emails": [{"value": "a", "x": 1}],
        WORK: {"noSuch": 1},
        "urn:example:none": {},
    }

    read = kept(Leniency(unknown_attributes=True), **sent)

    assert read == {"name": {"familyName": "Berg"}, "emails": [{"value": "a"}]}
    with pytest.raises(InvalidSyntax):
        kept(Leniency(missing_schemas=True, unknown_values=True, empty_values=True), noSuch=1)


def test_a_value_of_unknown_sub_attributes_is_refused_unless_it_is_taken_for_none() -> None:
    sent = {"emails": [{"mail": "a"}, {"value": "b"}]}

    with pytest.raises(InvalidValue, match=r"^emails\[0\]: mail is not a sub-attribute$"):
        kept(Leniency(unknown_attributes=True), **sent)
    assert kept(Leniency(unknown_values=True), **sent) == {"emails": [{"value": "b"}]}


@pytest.mark.parametrize("body", [{}, {"schemas": None}, {"schemas": []}], ids=str)
def test_missing_schemas_are_accepted_only_where_that_is_granted(body: dict[str, Any]) -> None:
    lenient = compile_validator(PERSON_TYPE, Leniency(missing_schemas=True))

    assert lenient({"userName": "a", **body}) == {"schemas": [PERSON], "userName": "a"}
    with pytest.raises(InvalidValue, match="^schemas: is required$"):
        compile_validator(PERSON_TYPE, Leniency(unknown_attributes=True))({"userName": "a", **body})


@pytest.mark.parametrize(
    ("schemas", "accepted"),
    [([PERSON, "urn:x"], True), ([PERSON, TEAM], True), (["urn:x"], False), ([TEAM], False)],
    ids=str,
)
def test_schemas_may_name_others_with_unknown_attributes_but_never_lack_the_core(
    schemas: list[str], accepted: bool
) -> None:
    lenient = Leniency(unknown_attributes=True, missing_schemas=True)
    if accepted:
        assert kept(lenient, schemas=schemas) == {}
        return
    with pytest.raises(InvalidValue, match=f"^schemas: must contain {PERSON}$"):
        kept(lenient, schemas=schemas)


@pytest.mark.parametrize("unknown_attributes", [True, False])
def test_an_alias_is_the_schema_that_is_meant_in_schemas_and_as_a_member(unknown_attributes: bool) -> None:
    leniency = Leniency(schema_aliases=ALIASES, unknown_attributes=unknown_attributes)
    body = {"schemas": [OLD_PERSON.upper(), OLD_WORK], "userName": "a", OLD_WORK.upper(): {"department": "d"}}

    assert compile_validator(PERSON_TYPE, leniency)(body) == {
        **{"schemas": [PERSON, WORK], "userName": "a"},
        WORK: {"department": "d"},
    }
    with pytest.raises(InvalidSyntax):
        compile_validator(PERSON_TYPE)(body)


def test_an_extension_by_its_urn_and_by_an_alias_is_given_twice() -> None:
    with pytest.raises(InvalidSyntax, match=f"^{WORK}: is given twice$"):
        kept(Leniency(schema_aliases=ALIASES), **{WORK: {}, OLD_WORK: {}})


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (OLD_PERSON, PERSON),
        ("URN:Old:Person", PERSON),
        (f"{OLD_PERSON}:userName", f"{PERSON}:userName"),
        (f"{OLD_PERSON}.userName", f"{PERSON}.userName"),
        (OLD_WORK, WORK),
        (f"{OLD_WORK}:Manager.Value", f"{WORK}:Manager.Value"),
        (f"{OLD_PERSON}x:userName", f"{OLD_PERSON}x:userName"),
        (f"{WORK}:department", f"{WORK}:department"),
        ("userName", "userName"),
        ("", ""),
    ],
)
def test_a_path_has_the_urn_of_its_schema_in_place_of_an_alias(text: str, canonical: str) -> None:
    assert Leniency(schema_aliases=ALIASES).canonical(text, PERSON_TYPE) == canonical
    assert STRICT.canonical(text, PERSON_TYPE) == text


def test_the_alias_of_the_core_schema_is_that_of_the_type_at_hand() -> None:
    assert Leniency(schema_aliases=ALIASES).canonical(f"{OLD_PERSON}:x", TEAM_TYPE) == f"{TEAM}:x"


@pytest.mark.parametrize(
    ("name", "value", "emptied"),
    [
        ("emails", "", True),
        ("emails", {"value": ""}, True),
        ("emails", {"VALUE": "", "type": "work", "primary": True, "display": "x"}, True),
        ("emails", [{"value": ""}], True),
        ("emails", [{"value": ""}, {"value": ""}], False),
        ("emails", {"value": "a"}, False),
        ("emails", {"value": None}, False),
        ("emails", {"type": ""}, False),
        ("emails", [], False),
        ("emails", None, False),
        ("visits", {"value": "", "day": ""}, True),
        ("visits", {"value": "", "day": None}, True),
        ("visits", {"value": "", "day": "2026-01-01T00:00:00Z"}, False),
        ("name", {"familyName": ""}, False),
        ("title", "", True),
        ("title", ["x"], False),
    ],
    ids=repr,
)
def test_empty_text_says_that_a_value_is_none_only_where_that_is_granted(
    name: str, value: Any, emptied: bool
) -> None:
    assert is_emptied(attribute_of(name), value, Leniency(empty_values=True)) is emptied
    assert is_emptied(attribute_of(name), value, STRICT) is False


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ({"emails": [{"value": "", "type": "work"}, {"value": "a"}]}, {"emails": [{"value": "a"}]}),
        ({"phones": [{"value": ""}]}, {}),
        ({"emails": [{"value": "", "verified": True}]}, {}),
        ({"emails": [{"type": ""}]}, {"emails": [{"type": ""}]}),
        ({"name": {"familyName": ""}}, {"name": {"familyName": ""}}),
        (
            {WORK: {"manager": {"value": "", "displayName": "Boss"}, "department": "d"}},
            {WORK: {"department": "d"}},
        ),
    ],
    ids=str,
)
def test_a_complex_value_whose_value_is_empty_is_left_out_where_that_is_granted(
    sent: dict[str, Any], left: dict[str, Any]
) -> None:
    assert kept(Leniency(empty_values=True), **sent) == left


def test_one_value_is_read_as_an_element_and_the_whole_as_a_list() -> None:
    emails = attribute_of("emails")
    element, whole = compile_element_validator(emails), compile_attribute_validator(emails)

    assert element({"VALUE": "a", "verified": True}, "p") == {"value": "a"}
    assert element({"value": None}, "p") is None
    assert whole([{"VALUE": "a"}, None], "p") == [{"value": "a"}]
    assert whole([], "p") is whole([{}], "p") is None
    with pytest.raises(InvalidValue, match="^p: must be an object$"):
        element([{"value": "a"}], "p")
    with pytest.raises(InvalidValue, match=r"^p\[1\].value: must be a string$"):
        whole([{"value": "a"}, {"value": 7}], "p")
    with pytest.raises(InvalidValue, match="^p: must be a list$"):
        whole({"value": "a"}, "p")


@pytest.mark.parametrize("inner", [complex_of("x", Attribute("y", required=True)), many("x", Attribute("y"))])
def test_a_required_complex_attribute_has_a_value(inner: Attribute) -> None:
    holder = complex_of("holder", Attribute("z"), inner)
    required = Attribute("x", "complex", required=True, sub_attributes=inner.sub_attributes)
    read = compile_element_validator(complex_of("holder", Attribute("z"), required))

    assert compile_element_validator(holder)({"z": "1", "x": None}, "p") == {"z": "1"}
    several: list[dict[str, Any]] = [{}, {"x": None}, {"x": {}}, {"x": {"y": None}}]
    for unassigned in several:
        with pytest.raises(InvalidValue, match="^p.x: is required$"):
            read({"z": "1", **unassigned}, "p")


@pytest.mark.parametrize("unassigned", [None, {}, {"floor": None}], ids=repr)
def test_an_extension_of_nulls_is_unassigned_whatever_it_requires(unassigned: Any) -> None:
    attribute = complex_of("urn:example:ext", Attribute("room", required=True), Attribute("floor"))
    read = compile_element_validator(complex_of("holder", Attribute("z"), attribute))

    assert read({"z": "1", attribute.name: unassigned}, "p") == {"z": "1"}
    with pytest.raises(InvalidValue, match=f"^p.{attribute.name}.room: is required$"):
        read({"z": "1", attribute.name: {"floor": "2"}}, "p")
