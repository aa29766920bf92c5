"""From a resource as a client sent it to its canonical form (RFC 7643 sections 2 and 3)."""

import copy
from typing import Any

import pytest

from schema.errors import InvalidSyntax, InvalidValue, ScimError
from schema.validation import compile_validator
from tests.schema.definitions import (
    BADGE,
    BUDGET,
    PERSON,
    PERSON_TYPE,
    TEAM,
    TEAM_TYPE,
    WORK,
    person,
)

validate = compile_validator(PERSON_TYPE)
validate_team = compile_validator(TEAM_TYPE)
TEAM_BODY = {"schemas": [TEAM, BUDGET], "displayName": "t", BUDGET: {"amount": 1}}


def refusal(kind: type[ScimError], body: Any) -> str:
    """Return why a person is refused, by this error and no other."""
    before = copy.deepcopy(body)
    with pytest.raises(ScimError) as caught:
        validate(body)
    assert type(caught.value) is kind
    assert body == before
    return caught.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", ""),
        ("title", "Zoë 🙂"),
        ("active", False),
        ("age", -(2**63)),
        ("age", 2**63 - 1),
        ("height", 1.5),
        ("height", 2),
        ("born", "2011-05-13T04:42:34Z"),
        ("born", "2011-05-13t04:42:34.123456789+02:00"),
        ("photo", "aGVsbG8="),
        ("photo", "-_-_"),
        ("profileUrl", "https://example.com/anna"),
        ("password", "s"),
        ("serial", "1"),
        ("tags", ["b", "a"]),
        ("scores", [3, 1]),
        ("name", {"familyName": ""}),
        ("emails", [{"value": "a@x", "type": "none of the canonical values"}]),
        ("phones", [{"value": "1"}, {"value": "2", "type": "work"}]),
    ],
    ids=repr,
)
def test_a_value_of_its_type_stays_as_it_was_sent(name: str, value: Any) -> None:
    assert validate(person(**{name: value})) == person(**{name: value})


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("title", [7, True, ["a"], {}, {"value": "a"}], "must be a string"),
        ("title", ["a\x00b"], "must not contain the character U+0000"),
        ("active", ["true", "", 0, 1, [True]], "must be true or false"),
        ("age", ["5", 5.0, True, []], "must be an integer"),
        ("age", [2**63, -(2**63) - 1], "must fit in 64 bits"),
        ("height", ["1.5", False, float("inf"), 10**400], "must be a number"),
        ("born", ["2011-05-13", "yesterday", "2011-02-30T00:00:00Z", 7], "must be a dateTime such as"),
        ("born", ["2011-05-13T04:42:34 Z", "2011-05-13T25:00:00Z", ""], "must be a dateTime such as"),
        ("photo", ["a", "é", "====", 7], "must be base64 text"),
        ("profileUrl", [7, {}], "must be a string"),
        ("tags", ["a", 7, {"value": "a"}, ""], "must be a list"),
        ("name", ["Anna", 7, [], [{"familyName": "Berg"}], ""], "must be an object"),
        ("emails", ["a@x", {"value": "a@x"}, 7, ""], "must be a list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_attribute(
    name: str, values: list[Any], said: str
) -> None:
    for value in values:
        assert refusal(InvalidValue, person(**{name: value})).startswith(f"{name}: {said}"), repr(value)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"name": {"FAMILYNAME": 7}}, "name.familyName: must be a string"),
        ({"tags": ["a", None, 7]}, "tags[2]: must be a string"),
        ({"emails": [{"value": "a"}, "b"]}, "emails[1]: must be an object"),
        ({"EMAILS": [{"value": "a"}, {"Value": 7}]}, "emails[1].value: must be a string"),
        ({"emails": [{"value": "a", "primary": "yes"}]}, "emails[0].primary: must be true or false"),
        ({"phones": [{"value": "1"}, {"type": "work"}]}, "phones[1].value: is required"),
        ({"emails": [{"mail": "a@x"}]}, "emails[0]: mail is not a sub-attribute"),
        ({"name": {"surname": "Berg"}}, "name: surname is not a sub-attribute"),
        ({WORK: {"department": 7}}, f"{WORK}.department: must be a string"),
        ({WORK: {"manager": {"displayName": "Boss"}}}, f"{WORK}.manager.value: is required"),
        ({WORK: {"manager": {"boss": "7"}}}, f"{WORK}.manager: boss is not a sub-attribute"),
        ({WORK: {"shifts": ["a", 7]}}, f"{WORK}.shifts[1]: must be a string"),
        ({WORK: "Tours"}, f"{WORK}: must be an object"),
        ({WORK: [{"department": "Tours"}]}, f"{WORK}: must be an object"),
        ({"userName": None}, "userName: is required"),
        ({"userName": ""}, "userName: is required"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_within_is_named_by_path_and_position(attributes: dict[str, Any], named: str) -> None:
    assert refusal(InvalidValue, person(**attributes)) == named


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"noSuch": 1}, "noSuch"),
        ({"noSuch": None}, "noSuch"),
        ({"familyName": "Berg"}, "familyName"),
        ({"name.familyName": "Berg"}, "name.familyName"),
        ({"department": "Tours"}, "department"),
        ({PERSON: {"title": "x"}}, PERSON),
        ({BUDGET: {"amount": 1}}, BUDGET),
        ({"name": {"familyName": "Berg", "nick": "b"}}, "name.nick"),
        ({"emails": [{"value": "a"}, {"value": "b", "mail": "c"}]}, "emails[1].mail"),
        ({WORK: {"noSuch": 1}}, f"{WORK}.noSuch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unknown_attribute_is_refused_by_its_path(attributes: dict[str, Any], named: str) -> None:
    said = refusal(InvalidSyntax, person(**attributes))

    assert said == f"{named}: is not an attribute of this resource type"


def test_an_unknown_name_of_any_length_is_named_by_its_beginning() -> None:
    assert len(refusal(InvalidSyntax, person(**{"x" * 100_000: 1}))) < 200
    assert len(refusal(InvalidValue, person(name={"x" * 100_000: 1}))) < 200
    assert len(refusal(InvalidValue, person(schemas=[PERSON, "urn:" + "x" * 100_000]))) < 300


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"title": "a", "TITLE": "a"}, "title"),
        ({"Title": None, "TITLE": "a"}, "title"),
        ({"name": {"familyName": "a", "familyname": "b"}}, "name.familyName"),
        ({WORK: {"department": "a"}, WORK.lower(): {}}, WORK),
        ({"id": "1", "ID": "1"}, "id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_attribute_that_is_given_twice_is_refused(attributes: dict[str, Any], named: str) -> None:
    assert refusal(InvalidSyntax, person(**attributes)) == f"{named}: is given twice"


def test_names_get_the_spelling_of_the_schema() -> None:
    sent = {
        **{"SCHEMAS": [PERSON.upper(), WORK.lower()], "USERNAME": "Anna", "nickname": "AN"},
        **{"Name": {"FAMILYNAME": "Berg"}, "eMails": [{"VALUE": "A@x", "Primary": True}]},
        WORK.upper(): {"DEPARTMENT": "Tours", "Manager": {"VALUE": "7"}},
    }

    assert validate(sent) == {
        **{"schemas": [PERSON, WORK], "userName": "Anna", "nickName": "AN"},
        **{"name": {"familyName": "Berg"}, "emails": [{"value": "A@x", "primary": True}]},
        WORK: {"department": "Tours", "manager": {"value": "7"}},
    }


@pytest.mark.parametrize(
    "attributes",
    [
        *({"title": None}, {"tags": None}, {"tags": []}, {"tags": [None, None]}),
        *({"name": None}, {"name": {}}, {"name": {"familyName": None}}, {"name": {"nick": None}}),
        *({"emails": None}, {"emails": []}, {"emails": [None]}, {"emails": [{}, {"value": None}]}),
        *({WORK: None}, {WORK: {}}, {WORK: {"department": None, "shifts": []}}, {WORK: {"manager": {}}}),
        # readOnly attributes come back with a resource that a client read.
        *({"id": "7"}, {"meta": {"version": 1}}, {"badge": ["of", "any", "type"]}, {"groups": "any"}),
        *({"emails": [{"verified": True}]}, {"ID": 7}),
    ],
    ids=str,
)
def test_what_is_unassigned_or_read_only_is_left_out(attributes: dict[str, Any]) -> None:
    assert validate(person(**attributes)) == person()


def test_null_beside_values_is_left_out_alone() -> None:
    sent = person(
        tags=["a", None],
        emails=[None, {"value": "a", "verified": 1, "type": None}, {}],
        name={"givenName": "A"},
    )

    assert validate(sent) == person(tags=["a"], emails=[{"value": "a"}], name={"givenName": "A"})


@pytest.mark.parametrize(
    ("name", "sent", "kept"),
    [
        ("tags", ["a", "b", "a"], ["a", "b"]),
        ("tags", ["a", "A"], ["a", "A"]),
        ("scores", [1, 1, 2, 1], [1, 2]),
        (
            "emails",
            [{"value": "a", "type": "work"}, {"TYPE": "work", "value": "a", "verified": True}],
            [{"value": "a", "type": "work"}],
        ),
        ("emails", [{"value": "a", "primary": True}] * 2, [{"value": "a", "primary": True}]),
        ("emails", [{"value": "a"}, {"value": "a", "type": "work"}], None),
        ("emails", [{"value": "a", "primary": True}, {"value": "b", "primary": False}], None),
    ],
)
def test_a_value_is_kept_once_and_in_its_order(name: str, sent: list[Any], kept: list[Any] | None) -> None:
    assert validate(person(**{name: sent}))[name] == (sent if kept is None else kept)


def test_at_most_one_value_is_primary() -> None:
    emails = [{"value": "a", "primary": True}, {"value": "b"}, {"value": "c", "primary": True}]

    assert refusal(InvalidValue, person(emails=emails)) == "emails: only one value may be primary"


@pytest.mark.parametrize(
    ("schemas", "said"),
    [
        (None, "schemas: is required"),
        ([], "schemas: is required"),
        ([None], "schemas: is required"),
        (PERSON, "schemas: must be a list"),
        ([PERSON, 7], "schemas[1]: must be a string"),
        ([WORK], f"schemas: must contain {PERSON}"),
        ([TEAM], f"schemas: must contain {PERSON}"),
        ([PERSON, TEAM], f"schemas: {TEAM.lower()} is not a schema of Person"),
        ([PERSON, "x"], "schemas: x is not a schema of Person"),
    ],
    ids=str,
)
def test_schemas_name_the_core_schema_and_only_schemas_of_the_type(schemas: Any, said: str) -> None:
    assert refusal(InvalidValue, person(schemas=schemas)) == said


def test_a_body_without_schemas_is_refused() -> None:
    assert refusal(InvalidValue, {"userName": "anna"}) == "schemas: is required"


@pytest.mark.parametrize("sent", [[PERSON], [WORK, PERSON], [PERSON, WORK, BADGE], [PERSON.upper(), PERSON]])
@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({}, [PERSON]),
        ({WORK: {"department": "a"}}, [PERSON, WORK]),
        ({BADGE: {"number": "1"}, WORK: {"department": "a"}}, [PERSON, WORK, BADGE]),
        ({BADGE: {"number": None}, WORK: {}}, [PERSON]),
    ],
    ids=["none", "one", "both", "emptied"],
)
def test_schemas_name_the_extensions_that_have_values_whatever_was_sent(
    sent: list[str], attributes: dict[str, Any], named: list[str]
) -> None:
    assert validate(person(schemas=sent, **attributes))["schemas"] == named


def test_a_required_extension_has_a_value() -> None:
    assert validate_team(TEAM_BODY) == TEAM_BODY

    several: list[dict[str, Any]] = [{}, {BUDGET: None}, {BUDGET: {}}, {BUDGET: {"amount": None}}]
    for missing in several:
        body = {name: item for name, item in TEAM_BODY.items() if name != BUDGET}
        with pytest.raises(InvalidValue, match=f"^{BUDGET}: is required$"):
            validate_team({**body, **missing})


@pytest.mark.parametrize("body", [None, [], [person()], "text", 7, True], ids=repr)
def test_a_resource_is_an_object(body: Any) -> None:
    assert refusal(InvalidSyntax, body) == "a Person must be a JSON object"


def test_a_deep_value_is_refused_by_its_attribute() -> None:
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]

    for attributes, named in (
        ({"title": deep}, "title"),
        ({"tags": deep}, "tags[0]"),
        ({"name": {"familyName": deep}}, "name.familyName"),
        ({"emails": [{"value": deep}]}, "emails[0].value"),
        ({WORK: {"department": deep}}, f"{WORK}.department"),
    ):
        with pytest.raises(InvalidValue) as caught:
            validate(person(**attributes))
        assert caught.value.detail == f"{named}: must be a string"
