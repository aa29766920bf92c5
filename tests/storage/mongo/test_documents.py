"""What is kept of a resource, and that no text of a client is ever more than text."""

from dataclasses import replace
from typing import Any

import pytest

from schema.errors import InvalidFilter
from scim_filter import parse_filter, resolve
from storage.adapter import StorageAdapter
from storage.errors import ResourceNotFound, ValueRefused
from storage.mongo.form import escaped, unescaped
from storage.testing import GROUP, USER, change_members, found_by_id, ids_matching, memberships_of, stored
from storage.testing.corpus import ENTERPRISE, SRAM
from tests.backends import open_backend
from tests.mongodb import MongoStore

HOSTILE = (
    *("$where", "../x", "*", "*)(uid=*", '{"$ne": null}', "a\0b", "\ud800", ""),
    *("\u00e9" * 300, "x" * 5000),
)
HOSTILE_VALUES = (
    *("$where", "$ne", '{"$gt": ""}', "$userName", "^.*$", ".*", "a|b", "(?i)A"),
    *("\\z", "[a]", "a.c", "x\\", "/x/", "#"),
)


def test_people_read_the_document_by_the_names_of_the_attributes(
    store: MongoStore, adapter: StorageAdapter
) -> None:
    ann: dict[str, Any] = {"userName": "Ann", "name": {"familyName": "A"}}
    ann[ENTERPRISE] = {"department": "Tours"}
    adapter.create(USER, stored("1", **ann))

    in_database = store.documents.Users.find_one({"userName": "Ann", "name.familyName": "A"})

    assert in_database["_id"] == "1"
    assert list(in_database)[:3] == ["_id", "schemas", "userName"]
    name = "urn:ietf:params:scim:schemas:extension:enterprise:2%2E0:User"
    assert store.documents.Users.find_one({f"{name}.department": "Tours"})["_id"] == "1"


def test_a_replaced_resource_is_returned_with_its_place(adapter: StorageAdapter) -> None:
    created = adapter.create(USER, stored("1", userName="a"))

    replaced = adapter.replace(USER, stored("1", userName="b"))

    assert replaced.place == created.place == adapter.get(USER, "1").place


def test_text_and_numbers_come_back_as_they_were(adapter: StorageAdapter) -> None:
    document: dict[str, Any] = {
        "userName": "\u00e9\U0001f600\u2028 \x7f\ufeff",
        "title": "a\r\nb\\\"$x.y",
        SRAM: {"sramInactiveDays": -(2**63)},
        "unknown": [2**63 - 1, 1.0, 1e300, -0.0, True, {"$ref": "/x", "a.b": {"%2E": 1, "_id": ""}}, []],
        "100%": {"$where": "this", "": 0},
    }
    resource = replace(stored("1", **document), secrets={"password": "h", f"{SRAM}:x.y": "$"})

    adapter.create(USER, resource)

    read = adapter.get(USER, "1")
    assert read.text == resource.text
    assert read.secrets == resource.secrets


@pytest.mark.parametrize("name", ["a.b", "$ref", "_id", "%2E", "a%", "%25", "", "x\0y", "$", "_", "%5Fid"])
def test_every_name_survives_escaping(name: str) -> None:
    kept = escaped(name)

    assert unescaped(kept) == name
    assert "." not in kept and "\0" not in kept and not kept.startswith(("$", "_"))


def test_what_mongodb_cannot_hold_is_refused_by_name(store: MongoStore, adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="a"))

    with pytest.raises(ValueRefused, match="^size"):
        adapter.create(USER, stored("2", userName="b", size=2**64 - 1))
    with pytest.raises(ValueRefused, match="16 MB"):
        adapter.replace(USER, stored("1", userName="c", title="x" * 2**24))

    assert adapter.get(USER, "1").document["userName"] == "a"


@pytest.mark.parametrize("resource_id", HOSTILE)
def test_no_id_is_more_than_an_id(adapter: StorageAdapter, resource_id: str) -> None:
    adapter.create(USER, stored("1", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))

    with pytest.raises(ResourceNotFound):
        adapter.get(USER, resource_id)
    with pytest.raises(ResourceNotFound):
        adapter.delete(USER, resource_id)
    if resource_id != "\ud800":
        assert found_by_id(adapter, [resource_id]) == {}
        assert memberships_of(adapter, [resource_id]) == {}
        assert not change_members(adapter, "g", (), [resource_id])
        adapter.create(USER, stored(resource_id, userName=f"b{resource_id}"))
        assert adapter.get(USER, resource_id).document["userName"] == f"b{resource_id}"


@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_no_value_of_a_filter_is_more_than_text(adapter: StorageAdapter, value: str) -> None:
    adapter.create(USER, stored("1", userName="abc", title="abc"))
    adapter.create(USER, stored("2", userName="other", title=f"<{value}>"))
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')

    assert ids_matching(adapter, USER, f'title co "{quoted}"') == ["2"]
    assert ids_matching(adapter, USER, f'title ew "{quoted}>"') == ["2"]
    assert ids_matching(adapter, USER, f'title sw "<{quoted}"') == ["2"]
    for operator in ("eq", "sw"):
        text = f'title {operator} "{quoted}" or userName {operator} "{quoted}"'
        assert ids_matching(adapter, USER, text) == []


@pytest.mark.parametrize("name", ["$where", "_scim.version", "_id", "_scim", "userName.$gt"])
def test_no_attribute_is_reached_by_its_name_in_the_database(name: str) -> None:
    with pytest.raises(InvalidFilter):
        resolve(parse_filter(f'{name} eq "1"'), USER)


def test_values_that_end_in_a_line_end_are_told_apart(adapter: StorageAdapter) -> None:
    for number, title in enumerate(("ab", "ab\n", "a\nb", "ab\r\n")):
        adapter.create(USER, stored(str(number), userName=str(number), title=title))

    assert ids_matching(adapter, USER, 'title ew "b"') == ["0", "2"]
    assert ids_matching(adapter, USER, 'title ew "b\\n"') == ["1"]
    assert ids_matching(adapter, USER, 'title co "\\n"') == ["1", "2", "3"]


def test_the_digest_of_a_long_value_is_not_found_in_it(store: MongoStore, adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="a", title="y" * 300, emails=[{"value": "z" * 300}]))
    keys = store.documents.Users.find_one()["_scim"]["keys"]
    digest = next(key for key in keys if key.startswith("title=y"))[-64:]

    for text in (f'title co "{digest}"', f'title ew "{digest[-3:]}"', f'emails[value co "{digest[:2]}"]'):
        assert ids_matching(adapter, USER, text) == []
    for text in ('title ew "yyy"', 'emails[value ew "zz" and value sw "z"]', f'title co "{"y" * 256}"'):
        assert ids_matching(adapter, USER, text) == ["1"]


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("mongodb://scim:s3cr3t/x@host/scim", {}),
        ("mongodb://scim:s3cr3t@host:port/scim", {}),
        ("mongodb://scim:s3cr3t@host/scim?nonsense=1", {}),
        ("mongodb://scim:s3cr3t@host/scim?w=0", {}),
        ("mongodb://host", {"user_model_name": "scim_members"}),
        ("mongodb://host", {"user_model_name": "a$b"}),
    ],
)
def test_what_cannot_be_used_is_said_without_the_password(url: str, names: dict[str, str]) -> None:
    with pytest.raises(ValueError) as caught:
        open_backend("mongo", mongo_db=url, **names)

    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
