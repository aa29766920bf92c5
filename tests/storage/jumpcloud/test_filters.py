"""Filters of users that JumpCloud answers: what is asked of it, and that nothing is missed."""

import itertools
import re

import orjson
import pytest

from schema.urns import ENTERPRISE_USER as ENTERPRISE
from scim_filter import matches, parse_filter, resolve
from storage.adapter import Member, Selection
from storage.errors import BadBackendAnswer
from storage.jumpcloud.folding import exact_pattern, folded_pattern
from storage.search import position_of, search
from storage.testing import GROUP, USER, change_members, represent, stored
from tests.fake_jumpcloud import Fault
from tests.storage.jumpcloud.conftest import Store

SEARCH, LIST = "POST /api/search/systemusers", "GET /api/systemusers"

USERS = [
    {"userName": "Alice", "title": "Stra\u00dfe", "active": True, "name": {"familyName": "Jessica"}},
    {"userName": "bob", "title": "STRASSE", "active": False, "emails": [{"value": "bob@example.org"}]},
    {"userName": "\u017fam", "title": "kelvin", "emails": [{"value": "S@example.org", "type": "work"}]},
    {
        "userName": "a.b(c)*",
        "title": "\u212aelvin",
        "externalId": "Ext.1",
        "name": {"givenName": "o\ufb03ce", "familyName": "x"},
    },
    {
        "userName": "many",
        "active": True,
        "externalId": "ext.1",
        "emails": [{"value": f"{n}@example.org", "type": "work" if n else "home"} for n in range(4)],
        ENTERPRISE: {
            "employeeNumber": "E1",
            "department": "x" * 2000 + "End",
            "manager": {"value": "a" * 24},
        },
    },
    {"userName": "odd", "emails": [{"value": "no address"}], ENTERPRISE: {"manager": {"value": "boss"}}},
    {"userName": "new\nline", "title": "a"},
]

PUSHED = [
    'userName eq "ALICE"',
    'userName eq "sam"',
    'userName sw "A.B("',
    'userName co "*"',
    'userName ew "NE"',
    'userName eq "new\\nline"',
    'title eq "strasse"',
    'title sw "stras"',
    'title ew "sse"',
    'title co "S"',
    'title eq "KELVIN"',
    'name.familyName eq "jeSSica"',
    'name.givenName co "F"',
    'name[givenName sw "off" and familyName pr]',
    'externalId eq "ext.1"',
    'externalId sw "E"',
    'emails.value eq "BOB@example.org"',
    'emails eq "3@example.org"',
    'emails[type eq "work" and value eq "2@example.org"]',
    'emails[type eq "home" and value eq "2@example.org"]',
    'emails.value co "address"',
    'active eq false',
    f'{ENTERPRISE}:employeeNumber eq "e1"',
    f'{ENTERPRISE}:department ew "END"',
    f'{ENTERPRISE}:department sw "xx"',
    f'{ENTERPRISE}:manager.value eq "{"a" * 24}"',
    'userName eq "alice" or userName eq "bob"',
    'userName eq "alice" and title sw "s"',
    'userName eq "many" and emails.value eq "2@example.org" and active pr',
    'userName pr and title eq "a"',
]
NOT_PUSHED = [
    "title pr",
    'not (userName eq "alice")',
    'title gt "a"',
    'userName eq "alice" or title pr',
    f'{ENTERPRISE}:manager.value eq "boss"',
    "active eq true",
]


def found(store: Store, text: str) -> list[str]:
    selection = Selection(resolve(parse_filter(text), USER))
    page = search(store.adapter, USER, selection, represent)
    assert page.total == len(page.resources)
    return [resource.document["userName"] for resource in page.resources]


@pytest.mark.parametrize("text", PUSHED + NOT_PUSHED)
def test_filters_are_searches_that_find_what_evaluation_says(store: Store, text: str) -> None:
    for document in USERS:
        store.adapter.create(USER, stored("x", **document))
    node = resolve(parse_filter(text), USER)
    everyone = list(store.adapter.scan(USER))
    expected = [one.document["userName"] for one in everyone if matches(node, represent(one, False))]
    store.calls()

    assert found(store, text) == expected

    assert store.calls() == [SEARCH if text in PUSHED else LIST]
    assert expected or "home" in text


def test_every_part_of_these_filters_is_narrow(store: Store) -> None:
    """A search reads little more than it finds."""
    for number in range(50):
        emails = [{"value": f"user{number}@example.org"}]
        store.adapter.create(USER, stored("x", userName=f"user{number}", emails=emails))
    store.calls()

    for text in ('userName eq "USER7"', 'emails.value eq "user7@example.org"'):
        assert found(store, text) == ["user7"]
        condition = store.fake.requests[-1].body["filter"]
        total = len(store.organisation.users)
        terms = [next(iter(term.items())) for term in condition["or"]]
        users = store.organisation.users.values()
        hits = [u for u in users if any(re.search(wanted["$regex"], u[name]) for name, wanted in terms)]
        assert (len(hits), total) == (1, 50)


@pytest.mark.parametrize("text", ['id eq "nope"', 'groups.value eq "*"', 'id eq "' + "g" * 24 + '"'])
def test_ids_that_cannot_be_are_not_asked_for(store: Store, text: str) -> None:
    store.adapter.create(USER, stored("x", userName="a"))
    # What ids look like is looked up once.
    assert found(store, text) == []
    store.calls()

    assert found(store, text) == []
    assert store.calls() == []


def test_members_are_found_by_their_group_without_reading_others(store: Store) -> None:
    ids = [store.adapter.create(USER, stored("x", userName=f"u{number}")).id for number in range(150)]
    group = store.adapter.create(GROUP, stored("x", displayName="g")).id
    for user_id in ids[:120]:
        store.organisation.members[group][user_id] = None
    store.calls()

    assert found(store, f'groups.value eq "{group}"') == [f"u{number}" for number in range(120)]

    assert store.calls() == 2 * ["GET /api/v2/usergroups/*/members"] + 2 * [SEARCH]


def test_groups_are_found_by_member_in_few_calls(store: Store) -> None:
    user_id = store.adapter.create(USER, stored("x", userName="a")).id
    groups = [store.adapter.create(GROUP, stored("x", displayName=f"g{n}")).id for n in range(5)]
    change_members(store.adapter, groups[3], [Member(user_id, "User")], ())
    store.calls()

    text = f'members.value eq "{user_id}" and displayName sw "G"'
    page = search(store.adapter, GROUP, Selection(resolve(parse_filter(text), GROUP)), represent)

    assert [group.id for group in page.resources] == [groups[3]]
    assert store.calls() == ["GET /api/v2/users/*/memberof", "GET /api/v2/usergroups/*"]


def test_a_page_behind_a_position_does_not_read_what_is_ahead_of_it(store: Store) -> None:
    for number in range(250):
        live = store.organisation.create_user({"username": f"u{number}", "email": f"{number}@example.org"})
        # Created in different seconds.
        del store.organisation.users[live["_id"]]
        live["_id"] = live["id"] = f"{number + 0x60000000:08x}{live['_id'][8:]}"
        store.organisation.users[live["_id"]] = live
    whole = search(store.adapter, USER, Selection(), represent).resources
    store.calls()

    position = position_of(whole[199], None, {})
    page = search(store.adapter, USER, Selection(after=position, limit=10), represent)

    assert [one.id for one in page.resources] == [one.id for one in whole[200:210]]
    assert page.total == 250
    assert store.calls() == 2 * [LIST]


def test_a_page_behind_a_position_is_an_error_where_ids_do_not_compare(store: Store) -> None:
    for number in range(5):
        store.adapter.create(USER, stored("x", userName=f"u{number}"))
    whole = search(store.adapter, USER, Selection(), represent).resources
    selection = Selection(after=position_of(whole[2], None, {}), limit=10)
    everybody = orjson.dumps({"totalCount": 5, "results": list(store.organisation.users.values())})

    for fault, problem in (
        (Fault(400), "refuses a list of users"),
        (Fault(200, body=everybody), "ahead of the position"),
    ):
        store.fake.faults.add(fault)
        with pytest.raises(BadBackendAnswer, match=problem):
            search(store.adapter, USER, selection, represent)


SAMPLES = ["", "s", "ss", "\u00df", "\u1e9e", "sS", "\u017fs", "f", "ffi", "\ufb03", "\ufb00i", "K", "\u212a"]
SAMPLES += ["\u0130", "i\u0307", "i", "aa", "a\nb", "]^-\\", ".*"]


@pytest.mark.parametrize("operator", ["eq", "sw", "ew", "co"])
def test_patterns_find_all_that_compares(operator: str) -> None:
    tests = {
        "eq": lambda value, key: value == key,
        "sw": lambda value, key: value.startswith(key),
        "ew": lambda value, key: value.endswith(key),
        "co": lambda value, key: key in value,
    }
    values = ["".join(parts) for parts in itertools.product(SAMPLES, repeat=2)]
    keys = {value.casefold() for value in values if value}

    for key in keys:
        folded = re.compile(folded_pattern(key, operator))
        exact = re.compile(exact_pattern(key, operator))
        for value in values:
            if tests[operator](value.casefold(), key):
                assert folded.search(value), (key, value)
            if tests[operator](value, key):
                assert exact.search(value), (key, value)
