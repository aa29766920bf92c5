"""What the server is asked: never for all documents where it can find some."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Member, Position, Selection, Sort, StorageAdapter
from storage.search import search
from storage.testing import GROUP, USER, change_members, represent, stored
from storage.testing.corpus import ENTERPRISE, SRAM_GROUP
from tests.mongodb import MongoStore

Commands = Callable[[], list[Mapping[str, Any]]]

# Filter, and what must be in the query: an equality, a range or a pattern on the indexed entries.
PUSHED = [
    ('userName eq "Ann"', "{'_scim.keys': 'userName=ann'}"),
    ('userName sw "An"', "'_scim.keys': {'$elemMatch': {'$gte': 'userName=an', '$lt': 'userName=ao'}}"),
    ('userName co "n"', "'_scim.keys': {'$regex': '^userName=.{0,255}n', '$options': 's'}"),
    ('userName ew "n"', "'$regex': '^userName=.{0,255}n\\\\z'"),
    ('externalId eq "X"', "'_scim.keys': 'externalId=X'"),
    ('emails.value eq "A@x"', "'_scim.keys': 'emails.value=a@x'"),
    ('emails[type eq "work"]', "'_scim.keys': 'emails.type=work'"),
    (
        'emails[type eq "work" and value sw "a"]',
        "{'_scim.elements': {'$elemMatch': {'path': 'emails', '$and': [{'$and': [{'keys': 'emails.type=w",
    ),
    ('emails[type eq "work" and value sw "a"]', "{'$and': [{'_scim.keys': 'emails.type=work'}"),
    ("active eq true", "'_scim.keys': 'active=true'"),
    ("not (active eq true)", "'$nor': [{'_scim.keys': 'active=true'}]"),
    ("title pr", "'_scim.keys': {'$elemMatch': {'$gt': 'title=', '$lt': 'title>'}}"),
    ("emails pr", "'_scim.keys': 'emails=1'"),
    ('meta.created gt "2025-06-01T00:00:00Z"', "'$gt': 'meta.created=2025-06-01T00:00:00.000000+00:00'"),
    (f'{ENTERPRISE}:department eq "Tours"', f"'_scim.keys': '{ENTERPRISE}:department=tours'"),
    ('id eq "1"', "'_id': '1'"),
    ('groups.value eq "g"', "'_id': {'$in': ['1']}"),
]


@pytest.fixture
def filled(adapter: StorageAdapter) -> StorageAdapter:
    ann: dict[str, Any] = {"userName": "Ann", "externalId": "X", "active": True, "title": "t"}
    ann |= {"emails": [{"value": "a@x", "type": "work"}], ENTERPRISE: {"department": "Tours"}}
    adapter.create(USER, stored("1", **ann))
    adapter.create(USER, stored("2", userName="bob", _created="2025-01-01T00:00:00.000Z"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("1", "User")], ())
    return adapter


@pytest.mark.parametrize(("text", "part"), PUSHED)
def test_filters_are_answered_by_the_server(
    filled: StorageAdapter, commands: Commands, text: str, part: str
) -> None:
    commands()
    selection = Selection(resolve(parse_filter(text), USER), limit=10)

    page = search(filled, USER, selection, represent)

    pipelines = [c["pipeline"] for c in commands() if c.get("aggregate") == "Users"]
    sent = [stages[0]["$match"] for stages in pipelines if {"$limit": 10} in stages]
    assert [r.id for r in page.resources] == (["2"] if text.startswith("not") else ["1"])
    assert len(sent) == 1
    assert part in str(sent[0])
    assert "'_scim.place': {'$gt': 0}" in str(sent[0])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('labels[value eq "Red"]', ["labels=red"]),
        ('labels[value sw "r" and value ew "x"]', ["labels=r'", "x\\\\z"]),
        ('labels[value eq "red" and not (value eq "blue")]', ["labels=red"]),
    ],
)
def test_resources_are_found_by_their_simple_values(
    adapter: StorageAdapter, commands: Commands, text: str, parts: list[str]
) -> None:
    adapter.create(GROUP, stored("1", displayName="a", **{SRAM_GROUP: {"labels": ["red", "rx"]}}))
    adapter.create(GROUP, stored("2", displayName="b", **{SRAM_GROUP: {"labels": ["blue"]}}))
    commands()
    node = resolve(parse_filter(f"{SRAM_GROUP}:{text}"), GROUP)

    page = search(adapter, GROUP, Selection(node, limit=10), represent)

    (sent, *_) = [c for c in commands() if "Groups" in (c.get("find"), c.get("aggregate"))]
    query = sent["filter"] if "find" in sent else sent["pipeline"][0]["$match"]
    assert [r.id for r in page.resources] == ["1"] and page.work is not None and page.work.read == 1
    assert all(part in str(query) for part in parts), query


def test_the_fields_that_are_asked_for_are_those_with_an_index(store: MongoStore) -> None:
    indexes = {tuple(one["key"]) for one in store.documents.Users.list_indexes()}

    assert {
        ("_scim.keys", "_scim.place"),
        ("_scim.place",),
        ("_scim.layout",),
        ("_scim.claims.id",),
        ("_scim.sort.userName", "_scim.place"),
        ("_scim.sort.externalId", "_scim.place"),
        ("_scim.sort.displayName", "_scim.place"),
        ("_scim.sort.meta%2Ecreated", "_scim.place"),
        ("_scim.sort.meta%2ElastModified", "_scim.place"),
    } <= indexes
    assert len(indexes) < 64
    assert {("groupType", "group", "place"), ("memberType", "member", "group")} <= {
        tuple(one["key"]) for one in store.documents.scim_members.list_indexes()
    }


def test_a_page_reads_no_more_than_itself(filled: StorageAdapter, commands: Commands) -> None:
    path = USER.path("userName")
    assert path is not None
    commands()

    page = search(filled, USER, Selection(sort=Sort(path), limit=1, after=Position("0", "a")), represent)

    (read, count) = commands()
    _, sort, limit, projection = read["pipeline"]
    assert [r.id for r in page.resources] == ["1"]
    assert page.total == 2
    assert limit == {"$limit": 1}
    assert list(sort["$sort"]) == ["_scim.sort.userName", "_scim.place"]
    assert projection["$project"]["_scim.keys"] == 0
    assert "aggregate" in count


def test_get_create_replace_and_delete_take_few_calls(adapter: StorageAdapter, commands: Commands) -> None:
    commands()
    adapter.create(USER, stored("1", userName="a"))
    created = commands()
    adapter.get(USER, "1")
    got = commands()
    adapter.replace(USER, stored("1", userName="a", title="t"))
    replaced = commands()
    adapter.delete(USER, "1")
    deleted = commands()

    # The second call of a create looks for a resource of another type with its id, and for its memberships.
    assert [len(sent) for sent in (created, got, replaced, deleted)] == [2, 1, 2, 3]
    concerns = [c["writeConcern"] for c in (*created, *replaced, *deleted) if "writeConcern" in c]
    assert all(concern == {"w": "majority", "j": True, "wtimeout": 20000} for concern in concerns)
    assert len(concerns) == 1 + 1 + 2
