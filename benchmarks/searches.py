"""Searches whose cost must not grow with the store, each compared with evaluation in the same run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from app.configuration.settings import Settings
from app.wiring.base import open_base
from benchmarks.operations import ENTERPRISE, Service, measured
from scim_filter import parse_filter, resolve
from scim_filter.evaluate import compile_predicate
from storage.adapter import Selection, Sort, StoredResource
from storage.search import cut

COUNT = 100


@dataclass(frozen=True)
class Search:
    """A filter and an order; `{}` in the filter is a user, `{late}` a moment with few changes behind it."""

    text: str = ""
    sort_by: str = ""
    descending: bool = False
    times: int = 10


SEARCHES = {
    "userName eq, sorted": Search('userName eq "user{}"', "userName", times=50),
    "userName eq, nobody, sorted": Search('userName eq "nobody{}"', "userName", times=50),
    "emails.value eq, sorted": Search('emails.value eq "u{}@home.example"', "userName", times=50),
    "sortBy userName, descending": Search("", "userName", True),
    "sortBy name.familyName, descending": Search("", "name.familyName", True),
    "meta.lastModified gt, few, sorted": Search('meta.lastModified gt "{late}"', "meta.lastModified"),
    "meta.lastModified gt, half, sorted": Search('meta.lastModified gt "{half}"', "meta.lastModified"),
    "active eq true, sorted": Search("active eq true", "userName", times=2),
    "id sw": Search('id sw "{id}"', times=50),
    "id gt": Search('id gt "fffe"', times=50),
    "extension pr": Search(f"{ENTERPRISE} pr", times=2),
}
PARTS = {
    "displayName co": Search('displayName co "Family{short}"', times=2),
    "displayName co, sorted": Search('displayName co "Family{short}"', "userName", times=2),
    "userName ew": Search('userName ew "{tail}"', times=2),
    "emails[type eq work and value ew]": Search(
        'emails[type eq "work" and value ew "{tail}@work.example"]', times=2
    ),
}


def filled_in(searches: dict[str, Search], service: Service, count: int, number: int) -> dict[str, Search]:
    """Return searches about the user with a number, in a store of `count` users that `service` has."""

    def at(index: int) -> dict[str, Any]:
        query = f"startIndex={index}&count=1"
        found: dict[str, Any] = orjson.loads(service("GET", "/Users", query))["Resources"][0]
        return found

    words = {
        "{}": f"{number:08}",
        "{late}": at(count - 20)["meta"]["lastModified"],
        "{half}": at(count // 2)["meta"]["lastModified"],
        "{id}": at(number + 1)["id"][:12],
        "{short}": str(number % 9973),
        "{tail}": f"{number:08}"[-4:],
    }

    def said(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    return {
        title: Search(said(one.text), one.sort_by, one.descending, one.times)
        for title, one in searches.items()
    }


def query_of(search: Search) -> str:
    """Return the query string of a search for a page of `COUNT`."""
    params = {"filter": search.text, "sortBy": search.sort_by}
    params |= {"sortOrder": "descending"} if search.descending else {}
    return "&".join(f"{n}={quote(v)}" for n, v in params.items() if v) + f"&count={COUNT}&attributes=userName"


def calls(
    searches: dict[str, Search], service: Service
) -> Iterator[tuple[str, tuple[int, Callable[[], object]]]]:
    """Yield each search with how often a round repeats it, and its call."""
    for title, one in searches.items():
        query = query_of(one)
        yield title, (one.times, lambda query=query: service("GET", "/Users", query))  # type: ignore[misc]


def compared(
    services: list[Service], sizes: list[tuple[str, int]], number: int, rounds: int
) -> dict[str, list[list[float]]]:
    """Compare all searches of services with evaluation, and return what those take that seek parts of values.

    `sizes` has the database of each service and how many users there are. Without `rounds`, nothing is
    measured; otherwise the services have FILTER_INDEX.
    """
    figures: dict[str, list[list[float]]] = {}
    wanted = [
        filled_in(PARTS if rounds else {**SEARCHES, **PARTS}, service, count, number)
        for service, (_, count) in zip(services, sizes, strict=True)
    ]
    for _ in range(rounds):
        for position, (searches, service) in enumerate(zip(wanted, services, strict=True)):
            for title, (times, call) in calls(searches, service):
                both = figures.setdefault(f"{title}, FILTER_INDEX=trigram", [[], []])
                both[position].append(measured(call, times))
    for (url, _), searches, service in zip(sizes, wanted, services, strict=True):
        compare(url, searches, service)
    return figures


def compare(url: str, searches: dict[str, Search], service: Service) -> None:
    """Compare what `service` answers with evaluation of every user at `url`. Raises AssertionError."""
    base = open_base(Settings.from_env({"DATABASE_URL": url, "LOGLEVEL": "ERROR"}))
    user = base.registry.resource_types[0]
    matching: dict[str, list[StoredResource]] = {title: [] for title in searches}
    judges = {
        title: compile_predicate(resolve(parse_filter(one.text), user)) if one.text else lambda _: True
        for title, one in searches.items()
    }
    for resource in base.adapter.scan(user):
        seen = _seen(resource)
        for title, holds in judges.items():
            if holds(seen):
                matching[title].append(resource)
    for title, one in searches.items():
        path = user.path(one.sort_by) if one.sort_by else None
        selection = Selection(None, Sort(path, one.descending) if path else None, limit=COUNT)
        expected = cut(matching[title], None, selection, _seen)
        answer = orjson.loads(service("GET", "/Users", query_of(one)))
        ids = [resource["id"] for resource in answer.get("Resources", ())]
        assert answer["totalResults"] == expected.total, (title, answer["totalResults"], expected.total)
        assert ids == [resource.id for resource in expected.resources], title
    base.adapter.close()


def _seen(resource: StoredResource) -> dict[str, Any]:
    meta = {"created": resource.created, "lastModified": resource.last_modified}
    return {**resource.document, "meta": meta}
