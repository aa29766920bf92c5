"""Filters, sorting, fields and pages, as version 1 and version 2 of the API have them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

_V1: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, wanted: found == wanted,
    "$ne": lambda found, wanted: found != wanted,
    "$gt": lambda found, wanted: found > wanted,
    "$gte": lambda found, wanted: found >= wanted,
    "$lt": lambda found, wanted: found < wanted,
    "$lte": lambda found, wanted: found <= wanted,
}


class Refusal(Exception):
    """The API answers with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def page(params: Mapping[str, Any]) -> tuple[int, int]:
    """Return skip and limit: 10 unless asked for, never more than 100."""
    try:
        skip, limit = int(params.get("skip", 0)), int(params.get("limit", 10))
    except (TypeError, ValueError):
        raise Refusal(400, "skip and limit are numbers") from None
    if skip < 0 or limit < 1:
        raise Refusal(400, "skip and limit are not negative")
    return skip, min(limit, 100)


def ordered(found: Iterable[Json], sort: Any) -> list[Json]:
    """Return what was found in the order asked for, such as `_id` or `-username`."""
    if not sort:
        # Nobody has promised an order.
        return sorted(found, key=lambda entry: str(entry.get("_id") or entry.get("id"))[::-1])
    name, backwards = str(sort).removeprefix("-"), str(sort).startswith("-")
    return sorted(found, key=lambda entry: str(entry.get(name) or entry.get("id")), reverse=backwards)


def projected(entry: Json, fields: Any) -> Json:
    """Return the fields asked for, and the id in any case; all of them unless asked."""
    if not fields:
        return entry
    names = {"_id", "id", *str(fields).replace(",", " ").split()}
    return {name: value for name, value in entry.items() if name in names}


def v1_condition(params: Sequence[tuple[str, str]]) -> Callable[[Json], bool]:
    """Return what `filter[0]`, `filter[1]` (all) and `filter[or][0]` (any) let through."""
    every, some = [], []
    for name, text in params:
        match = re.fullmatch(r"filter(\[or\])?\[\d*\]", name)
        if match is None:
            continue
        field, operator, value = [*text.split(":", 2), "", ""][:3]
        if operator not in _V1:
            raise Refusal(400, f"{operator} is undefined")
        (some if match[1] else every).append((field, _V1[operator], value))

    def holds(user: Json) -> bool:
        def one(term: tuple[str, Callable[[Any, Any], bool], str]) -> bool:
            return term[1](str(user.get(term[0]) or ""), term[2])

        return all(map(one, every)) and (not some or any(map(one, some)))

    return holds


def search_condition(body: Json) -> Callable[[Json], bool]:
    """Return what the `filter` of a search lets through: one level of `and` or `or`, or a list."""
    given = body.get("filter", [])
    joined: Callable[[Iterable[object]], bool] = all
    if isinstance(given, dict):
        if set(given) not in ({"and"}, {"or"}):
            raise Refusal(400, "filter has one property, and or or")
        joined = any if "or" in given else all
        given = next(iter(given.values()))
    if not isinstance(given, list) or not all(isinstance(term, dict) and len(term) == 1 for term in given):
        raise Refusal(400, "filter is a list of expressions")
    terms = [_term(*next(iter(term.items()))) for term in given]
    return lambda user: joined(term(user) for term in terms)


def _term(field: str, wanted: Any) -> Callable[[Json], bool]:
    if not isinstance(wanted, dict):
        return lambda user: user.get(field) == wanted
    if set(wanted) != {"$regex"}:
        raise Refusal(400, f"{sorted(wanted)} is undefined")
    try:
        pattern = re.compile(wanted["$regex"])
    except (re.error, TypeError):
        raise Refusal(400, "$regex is no expression") from None
    return lambda user: isinstance(user.get(field), str) and pattern.search(user[field]) is not None


def v2_condition(text: str) -> Callable[[Json], bool]:
    """Return what a filter such as `name:eq:admins` lets through."""
    if not text:
        return lambda group: True
    field, operator, value = [*text.split(":", 2), "", ""][:3]
    if operator == "eq":
        return lambda group: group.get(field) == value
    raise Refusal(400, f"{operator} is not one of the operators of this fake")
