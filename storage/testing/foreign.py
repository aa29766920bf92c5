"""Documents as other programs leave them, each wrong in its own way, beside one that is right.

Whatever is in them, a backend that holds them answers: `check_served` asks all that there is to ask.
"""

import json
from collections.abc import Iterable
from typing import Any

from schema.resource_type import ResourceType
from scim_filter import matches, parse_filter, resolve
from storage.adapter import Selection, Sort, StorageAdapter
from storage.search import search
from storage.testing.resources import USER, represent

GOOD: dict[str, Any] = {"userName": "good", "title": "t", "emails": [{"value": "good@x", "type": "work"}]}

_EMAIL = {"value": "a@x", "type": "work"}
_DEEP: Any = 1
for _ in range(200):
    _DEEP = {"a": [_DEEP]}

# Under the userName that each has: what stands beside it.
WRONG: dict[str, dict[str, Any]] = {
    "never": {"meta": {"created": "0001-01-01T00:00:00Z", "lastModified": "0001-01-01T00:00:00Z"}},
    "before": {"meta": {"created": "0001-01-01T00:00:00+14:00", "lastModified": "0000-00-00T00:00:00Z"}},
    "beyond": {"meta": {"created": "9999-12-31T23:59:59.9-14:00", "lastModified": "10000-01-01T00:00:00Z"}},
    "last": {"meta": {"created": "9999-12-31T23:59:59.999Z", "lastModified": "9999-12-31T23:59:59.999Z"}},
    "third-century": {"meta": {"created": "0300-01-01 00:00:00", "lastModified": "0300-01-01T00:00:00.5"}},
    "number-dates": {"meta": {"created": 1, "lastModified": 1.5, "version": 7}},
    "list-dates": {"meta": {"created": ["2020-01-01T00:00:00Z"], "lastModified": {}, "version": []}},
    "meta-list": {"meta": [{"created": "2020-01-01T00:00:00Z"}]},
    "meta-text": {"meta": "yesterday"},
    "schemas-text": {"schemas": "urn:ietf:params:scim:schemas:core:2.0:User"},
    "schemas-objects": {"schemas": [{"urn": 1}, None, 7]},
    "schemas-number": {"schemas": 5},
    "email-text": {"emails": "a@x"},
    "email-object": {"emails": _EMAIL},
    "email-lists": {"emails": [[_EMAIL], None, 3, {"value": ["a@x"], "primary": "yes"}]},
    "name-list": {"name": [{"familyName": "x"}]},
    "title-object": {"title": {"value": "x"}},
    "title-list": {"title": ["a", "b"]},
    "title-huge": {"title": 10**18, "active": 10**18},
    "not-json": {"own": "\u2028\x7f\ufffe", "title": "a\u0000b", "ow\u0000n": 1},
    "decimals": {"own": [1e308, -0.0, 5e-324], "externalId": 5.5},
    "groups-text": {"groups": "g", "members": "x"},
    "members-wrong": {"members": [None, 5, {"value": 5}, {"value": {"a": 1}}, [["x"]]]},
    "deep": {"own": _DEEP},
    "extension-text": {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": "Tours"},
    "extension-list": {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": [{"department": "x"}]},
    "manager-list": {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"manager": ["x", []]}},
    "twice": {"USERNAME": "again", "Title": "t", "title": "u"},
    "empty-names": {"": 1, " ": {"": {}}, "$ref": 1, "a.b": {"c.d": 1}, "_x": 1},
    "secret": {"password": {"value": "x"}},
    "external-list": {"externalId": ["a", "b"]},
}
# Text that is JSON to some, with the same userName.
WRONG_TEXTS: dict[str, str] = {
    "nan": '{"userName": "nan", "own": NaN, "title": Infinity}',
    "surrogate": '{"userName": "surrogate", "title": "\\ud800"}',
    "huge": '{"userName": "huge", "own": 1' + "0" * 400 + ', "active": 123456789012345678901234567890}',
    "far": '{"userName": "far", "own": 1e999}',
    "deeper": '{"userName": "deeper", "own": ' + "[" * 3000 + "]" * 3000 + "}",
    "half": '{"userName": "half", ',
    "none": "",
    "list": "[1]",
    "null": "null",
}

_FILTERS = (
    "",
    'userName eq "good"',
    'title eq "t" or title pr',
    'not (emails[type eq "work" and not (value sw "a")])',
    'meta.created gt "1999-01-01T00:00:00Z" or meta.lastModified le "1999-01-01T00:00:00Z"',
    'schemas co "User" and active ne true',
)
_SORTS = ("", "userName", "meta.created", "meta.lastModified", "emails.value", "title", "active")


def wrong_documents() -> dict[str, dict[str, Any]]:
    """Return every wrong document by its userName."""
    return {name: {"userName": name, **document} for name, document in WRONG.items()}


def wrong_texts() -> dict[str, str]:
    """Return the JSON of every wrong document, and what is none, by userName."""
    return {name: json.dumps(document) for name, document in wrong_documents().items()} | WRONG_TEXTS


def check_served(
    adapter: StorageAdapter, expected: Iterable[str], resource_type: ResourceType = USER
) -> None:
    """Ask a backend in many ways: it holds these userNames, and finds the right one as evaluation does."""
    whole = {r.document["userName"]: r for r in adapter.scan(resource_type) if "userName" in r.document}
    assert set(expected) <= whole.keys()
    for one in whole.values():
        assert adapter.get(resource_type, one.id).text == one.text
    for text in _FILTERS:
        node = resolve(parse_filter(text), resource_type) if text else None
        is_right = node is None or matches(node, represent(whole["good"], True))
        for sort_by in _SORTS:
            path = resource_type.path(sort_by) if sort_by else None
            for sort in (Sort(path), Sort(path, True)) if path is not None else (None,):
                page = search(adapter, resource_type, Selection(node, sort), represent)
                assert page.total == len(page.resources)
                found = {r.document["userName"] for r in page.resources if "userName" in r.document}
                assert found == whole.keys() if node is None else ("good" in found) == is_right
    adapter.check()
