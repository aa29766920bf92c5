"""Which attributes a response carries (RFC 7644 section 3.9, RFC 7643 section 7 `returned`)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.errors import InvalidValue
from schema.leniency import Leniency
from schema.projection import Projection, make_projection
from tests.schema.definitions import (
    BADGE,
    BUDGET,
    PERSON,
    PERSON_TYPE,
    TEAM_TYPE,
    WORK,
    attribute_of,
)

ALWAYS: dict[str, Any] = {"schemas": [PERSON, WORK, BADGE], "id": "1", "serial": "s"}
COST = {WORK: {"costCenter": "c"}}
NAME = {"givenName": "Anna", "familyName": "Berg"}
EMAILS = [{"value": "a@x", "type": "work", "primary": True}, {"value": "b@x"}, {"type": "home"}]
WHOLE: dict[str, Any] = {
    **ALWAYS,
    "externalId": "e",
    "meta": {"resourceType": "Person", "version": "v"},
    "userName": "anna",
    "active": False,
    "tags": ["a"],
    "password": "secret-1",
    "diary": "d",
    "name": NAME,
    "emails": EMAILS,
    "visits": [{"value": "v", "day": "2026-01-01T00:00:00Z"}],
    "card": {"number": "4", "holder": "Anna", "colour": "red", "code": "secret-2"},
    "vault": {"value": "secret-3"},
    WORK: {
        **COST[WORK],
        "department": "Tours",
        "salary": 1.5,
        "pin": "secret-4",
        "manager": {"value": "7", "displayName": "Boss"},
    },
    BADGE: {"number": "9", "colour": "blue"},
}
# What is returned when nothing is asked for.
DEFAULT: dict[str, Any] = {
    **{name: item for name, item in WHOLE.items() if name not in ("password", "diary", "visits", "vault")},
    "card": {"number": "4", "holder": "Anna"},
    WORK: {name: item for name, item in WHOLE[WORK].items() if name not in ("salary", "pin")},
}


def asked(*paths: str) -> Any:
    return make_projection(PERSON_TYPE, paths, ()).apply(WHOLE)


def without(*paths: str) -> Any:
    return make_projection(PERSON_TYPE, (), paths).apply(WHOLE)


def test_by_default_all_is_returned_but_what_is_secret_or_to_be_asked_for() -> None:
    assert asked() == without() == DEFAULT


@pytest.mark.parametrize(
    ("paths", "returned"),
    [
        (["userName"], {"userName": "anna"}),
        (["USERNAME"], {"userName": "anna"}),
        (["userName", "active"], {"userName": "anna", "active": False}),
        (["id"], {}),
        (["title"], {}),
        (["tags"], {"tags": ["a"]}),
        (["tags.value"], {"tags": ["a"]}),
        (["tags.noSuch"], {}),
        (["meta.version"], {"meta": {"version": "v"}}),
        (["name"], {"name": NAME}),
        (["name.familyName"], {"name": {"familyName": "Berg"}}),
        (["NAME.familyname"], {"name": {"familyName": "Berg"}}),
        (["name.familyName", "name"], {"name": NAME}),
        (["name.familyName", "name.givenName"], {"name": NAME}),
        (["emails.value"], {"emails": [{"value": "a@x"}, {"value": "b@x"}]}),
        (["emails.display"], {}),
        (["diary"], {"diary": "d"}),
        (["visits"], {"visits": WHOLE["visits"]}),
        (["visits.value"], {"visits": [{"value": "v"}]}),
        (["card"], {"card": {"number": "4", "holder": "Anna"}}),
        (["card.holder"], {"card": {"number": "4", "holder": "Anna"}}),
        (["card.colour"], {"card": {"number": "4", "colour": "red"}}),
        (["card", "card.colour"], {"card": {"number": "4", "holder": "Anna", "colour": "red"}}),
        (["card.code"], {"card": {"number": "4"}}),
        (["password"], {}),
        (["vault", "vault.value"], {}),
        ([f"{PERSON}:userName"], {"userName": "anna"}),
        ([f"{PERSON.upper()}:name.familyName"], {"name": {"familyName": "Berg"}}),
        ([f"{BADGE}:number"], {BADGE: {"number": "9"}}),
        ([BADGE], {BADGE: WHOLE[BADGE]}),
        ([BADGE.lower()], {BADGE: WHOLE[BADGE]}),
        (["noSuch"], {}),
        (["noSuch", "userName"], {"userName": "anna"}),
        (["name.noSuch"], {}),
        (["urn:example:none:x"], {}),
        ([f"{BUDGET}:amount"], {}),
        (["department"], {}),
    ],
    ids=str,
)
def test_only_what_is_asked_for_is_returned_with_what_always_is(
    paths: list[str], returned: dict[str, Any]
) -> None:
    assert asked(*paths) == {**ALWAYS, **COST, **returned}


@pytest.mark.parametrize(
    ("paths", "returned"),
    [
        ([WORK], DEFAULT[WORK]),
        ([f"{WORK}:department"], {**COST[WORK], "department": "Tours"}),
        ([f"{WORK}:salary"], {**COST[WORK], "salary": 1.5}),
        ([WORK, f"{WORK}:salary"], {**DEFAULT[WORK], "salary": 1.5}),
        ([f"{WORK}:pin"], COST[WORK]),
        ([f"{WORK}:manager"], {**COST[WORK], "manager": {"value": "7", "displayName": "Boss"}}),
        ([f"{WORK}:manager.value"], {**COST[WORK], "manager": {"value": "7"}}),
        ([f"{WORK}.manager.value"], {**COST[WORK], "manager": {"value": "7"}}),
    ],
    ids=str,
)
def test_attributes_of_an_extension_are_asked_for_by_its_urn(
    paths: list[str], returned: dict[str, Any]
) -> None:
    assert asked(*paths) == {**ALWAYS, WORK: returned}


def test_the_urn_of_the_core_schema_asks_for_its_attributes_and_no_extension() -> None:
    core = {name: item for name, item in DEFAULT.items() if not name.startswith("urn:")}

    shown = asked(PERSON.upper())

    assert shown == {**core, **COST, "diary": "d", "visits": WHOLE["visits"]}


@pytest.mark.parametrize(
    ("paths", "gone"),
    [
        (["userName"], ["userName"]),
        (["USERNAME", "emails"], ["userName", "emails"]),
        (["name"], ["name"]),
        (["id", "schemas", "serial"], []),
        (["noSuch", "name.noSuch", f"{BUDGET}:amount"], []),
        (["meta"], ["meta"]),
        ([BADGE], [BADGE]),
        ([f"{BADGE}:number", f"{BADGE}:colour"], [BADGE]),
        (["name.givenName", "name.familyName"], ["name"]),
    ],
    ids=str,
)
def test_what_is_excluded_is_not_returned_but_what_always_is(paths: list[str], gone: list[str]) -> None:
    assert without(*paths) == {name: item for name, item in DEFAULT.items() if name not in gone}


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("name.givenName", {"name": {"familyName": "Berg"}}),
        ("EMAILS.type", {"emails": [{"value": "a@x", "primary": True}, {"value": "b@x"}]}),
        ("card.number", {}),
        (WORK, COST),
        (f"{WORK}:costCenter", {}),
        (f"{BADGE}:number", {BADGE: {"colour": "blue"}}),
        (f"{WORK}:manager.value", {WORK: {**DEFAULT[WORK], "manager": {"displayName": "Boss"}}}),
    ],
)
def test_a_part_of_an_attribute_is_excluded_alone(path: str, changed: dict[str, Any]) -> None:
    assert without(path) == {**DEFAULT, **changed}


def test_the_urn_of_the_core_schema_excludes_all_but_extensions_and_what_always_is_returned() -> None:
    assert without(PERSON) == {**ALWAYS, WORK: DEFAULT[WORK], BADGE: WHOLE[BADGE]}


def test_both_lists_together_are_refused() -> None:
    with pytest.raises(InvalidValue, match="attributes and excludedAttributes cannot be used together"):
        make_projection(PERSON_TYPE, ["userName"], ["title"])


def test_names_may_come_from_any_iterable() -> None:
    assert make_projection(PERSON_TYPE, iter(["title"]), iter(())).requested == frozenset({"title"})


@pytest.mark.parametrize(
    ("attributes", "excluded", "is_default"),
    [
        ([], [], True),
        ([], ["noSuch"], True),
        (["noSuch"], [], False),
        (["title"], [], False),
        ([], ["title"], False),
    ],
)
def test_a_projection_knows_whether_it_is_the_default(
    attributes: list[str], excluded: list[str], is_default: bool
) -> None:
    assert make_projection(PERSON_TYPE, attributes, excluded).is_default is is_default


def test_an_alias_of_a_schema_is_understood_in_paths() -> None:
    leniency = Leniency(schema_aliases={"urn:old:person": None, "urn:old:work": WORK})

    shown = make_projection(
        PERSON_TYPE, ["urn:OLD:person:userName", "urn:old:work:department"], (), leniency
    )

    assert shown.requested == frozenset({"username", f"{WORK}:department".lower()})


@pytest.mark.parametrize(
    ("attributes", "excluded", "links"),
    [
        ([], [], (True, False)),
        (["members"], [], (True, False)),
        (["members.value"], [], (True, False)),
        (["displayName"], [], (False, False)),
        (["noSuch"], [], (False, False)),
        ([], ["members"], (False, False)),
        ([], ["members.value"], (True, False)),
    ],
)
def test_whether_members_are_needed_is_known_before_they_are_read(
    attributes: list[str], excluded: list[str], links: tuple[bool, bool]
) -> None:
    assert make_projection(TEAM_TYPE, attributes, excluded).links == links


@pytest.mark.parametrize(("attributes", "needed"), [([], True), (["groups"], True), (["title"], False)])
def test_whether_memberships_are_needed_is_known_before_they_are_read(
    attributes: list[str], needed: bool
) -> None:
    assert make_projection(PERSON_TYPE, attributes, ()).links == (False, needed)


@pytest.mark.parametrize(
    ("attributes", "excluded", "element"),
    [
        ([], [], {"value": "a@x", "type": "work"}),
        (["emails"], [], {"value": "a@x", "type": "work"}),
        (["emails.value"], [], {"value": "a@x"}),
        ([], ["emails.value"], {"type": "work"}),
    ],
)
def test_one_value_is_shown_as_it_is_within_the_resource(
    attributes: list[str], excluded: list[str], element: dict[str, Any]
) -> None:
    projection = make_projection(PERSON_TYPE, attributes, excluded)

    assert projection.element(attribute_of("emails"), {"value": "a@x", "type": "work", "x": 1}) == element


def test_values_that_are_unknown_or_of_no_attribute_are_not_returned() -> None:
    stored = {**ALWAYS, "noSuch": 1, "title": None, "name": "text", "emails": [7, {"value": None}], WORK: "x"}

    assert Projection(PERSON_TYPE).apply(stored) == ALWAYS


PATHS = st.lists(
    st.sampled_from(
        [p.text for p in PERSON_TYPE.simple_paths]
        + [a.name for a in PERSON_TYPE.attributes]
        + [PERSON, WORK, BADGE, "noSuch", "vault.value"]
    ).flatmap(lambda text: st.sampled_from([text, text.upper()])),
    max_size=8,
)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(PATHS, st.booleans())
def test_whatever_is_asked_the_secret_stays_and_what_always_is_returned_comes(
    paths: list[str], excluding: bool
) -> None:
    before = repr(WHOLE)
    projection = make_projection(PERSON_TYPE, *(([], paths) if excluding else (paths, [])))

    shown = projection.apply(WHOLE)

    assert "secret-" not in repr(shown)
    assert {name: shown[name] for name in ALWAYS} == ALWAYS
    assert shown[WORK]["costCenter"] == "c"
    assert projection.apply(shown) == shown, "what is shown is shown again in full"
    assert repr(WHOLE) == before
