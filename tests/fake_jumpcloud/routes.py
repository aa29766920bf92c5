"""The paths of the API, version 1 and version 2, and what each answers."""

import re
from collections.abc import Mapping
from typing import Any

from tests.fake_jumpcloud.organisation import Json, Organisation
from tests.fake_jumpcloud.query import (
    Refusal,
    ordered,
    page,
    projected,
    search_condition,
    v1_condition,
    v2_condition,
)

Params = list[tuple[str, str]]
Answer = tuple[int, Any, Mapping[str, str]]


def routed(
    organisation: Organisation, method: str, path: str, params: Params, body: Any
) -> Answer:
    """Return status, answer and headers of a request that the API knows."""
    routes = {
        r"/api/systemusers": _users,
        r"/api/search/systemusers": _search,
        r"/api/systemusers/([^/]+)": _user,
        r"/api/systemusers/([^/]+)/sshkeys": _keys,
        r"/api/systemusers/([^/]+)/sshkeys/([^/]+)": _key,
        r"/api/v2/usergroups": _groups,
        r"/api/v2/usergroups/([^/]+)": _group,
        r"/api/v2/usergroups/([^/]+)/members": _members,
        r"/api/v2/users/([^/]+)/memberof": _member_of,
    }
    for pattern, route in routes.items():
        match = re.fullmatch(pattern, path)
        if match is not None:
            return route(organisation, method, match.groups(), params, body)
    raise Refusal(404, "Not Found")


def _v1_page(found: list[Json], options: Mapping[str, Any]) -> Answer:
    skip, limit = page(options)
    results = ordered(found, options.get("sort"))[skip : skip + limit]
    shown = [projected(user, options.get("fields")) for user in results]
    return 200, {"totalCount": len(found), "results": shown}, {}


def _users(org: Organisation, method: str, _: Any, params: Any, body: Any) -> Answer:
    if method == "POST":
        return 200, org.create_user(body), {}
    holds = v1_condition(params)
    found = [org.shown(user_id) for user_id, user in org.users.items() if holds(user)]
    ids = [text.rpartition(":")[2] for name, text in params if "[or]" in name and text.startswith("_id:")]
    return _by_id(org, org.id_list if ids else "", ids, _v1_page(found, dict(params)))


def _search(org: Organisation, _: str, __: Any, params: Any, body: Any) -> Answer:
    holds = search_condition(body)
    found = [org.shown(user_id) for user_id, user in org.users.items() if holds(user)]
    given = body["filter"]
    terms = next(iter(given.values())) if isinstance(given, dict) else given
    ids = [term["_id"] for term in terms if "_id" in term]
    return _by_id(org, org.id_search if ids else "", ids, _v1_page(found, body))


def _by_id(org: Organisation, mode: str, ids: list[str], right: Answer) -> Answer:
    """Return what is answered where ids do not work as they should."""
    body = right[1]
    match mode:
        case "refused":
            raise Refusal(422, "Cast to ObjectId failed")
        case "nothing":
            body = {"totalCount": 0, "results": []}
        case "everybody":
            body = {"totalCount": len(org.users), "results": list(org.users.values())[:100]}
        case "first":
            results = [user for user in body["results"] if user["_id"] == ids[0]]
            body = {"totalCount": len(results), "results": results}
        case "total":
            body = {**body, "totalCount": len(org.users) + 1}
    return right[0], body, right[2]


def _user(org: Organisation, method: str, ids: Any, _: Any, body: Any) -> Answer:
    if method == "PUT":
        return _after_put(org, org.update_user(ids[0], body))
    if method == "DELETE":
        return 200, org.delete_user(ids[0]), {}
    return 200, org.shown(ids[0]), {}


def _after_put(org: Organisation, answer: Json) -> Answer:
    return (204, None, {}) if org.is_otherwise else (200, answer, {})


def _keys(org: Organisation, method: str, ids: Any, _: Any, body: Any) -> Answer:
    if method == "POST":
        return 201, org.add_key(ids[0], body), {}
    return 200, org.keys[org.user(ids[0])["_id"]], {}


def _key(org: Organisation, _: str, ids: Any, __: Any, ___: Any) -> Answer:
    org.remove_key(*ids)
    return 200, None, {}


def _groups(org: Organisation, method: str, _: Any, params: Any, body: Any) -> Answer:
    if method == "POST":
        return 201, org.create_group(body), {}
    options = dict(params)
    if org.is_otherwise and options.get("sort", "name") != "name":
        raise Refusal(400, "groups are not sorted by this")
    holds = v2_condition(options.get("filter", ""))
    found = [group for group in org.groups.values() if holds(group)]
    skip, limit = page(options)
    shown = ordered(found, options.get("sort"))[skip : skip + limit]
    return 200, shown, {"x-total-count": str(len(found))}


def _group(org: Organisation, method: str, ids: Any, _: Any, body: Any) -> Answer:
    if method == "PUT":
        return _after_put(org, org.update_group(ids[0], body))
    if method == "DELETE":
        return 200, org.delete_group(ids[0]), {}
    return 200, org.group(ids[0]), {}


def _members(org: Organisation, method: str, ids: Any, params: Any, body: Any) -> Answer:
    if method == "POST":
        org.change_member(ids[0], body)
        return 204, None, {}
    skip, limit = page(dict(params))
    return 200, org.members_of(ids[0])[skip : skip + limit], {"x-eventually-consistent": "true"}


def _member_of(org: Organisation, _: str, ids: Any, params: Any, __: Any) -> Answer:
    skip, limit = page(dict(params))
    return 200, org.groups_of(ids[0])[skip : skip + limit], {"x-eventually-consistent": "true"}
