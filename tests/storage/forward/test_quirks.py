"""Upstreams that do less than ours, or do it otherwise: the contract holds all the same."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from app import create_app
from app.configuration.settings import Settings
from scim_filter import matches, parse_filter, resolve
from storage.adapter import Member, Selection, StorageAdapter, StoredResource
from storage.errors import BadBackendAnswer, UnsupportedByBackend, VersionMismatch
from storage.search import search
from storage.testing import (
    GROUP,
    REGISTRY,
    USER,
    StorageContract,
    among,
    change_members,
    fill,
    ids_matching,
    members,
    members_of,
    memberships_of,
    represent,
    stored,
)
from storage.testing.own_ids import OwnIds
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient
from tests.storage.forward.quirks import QUIRKS, changed, each_resource, without
from tests.upstream import UPSTREAM_KEY, Upstream

CONTRACT = StorageContract()
FILTERS = [
    'userName eq "BJENSEN"',
    "not (title pr)",
    'emails[type eq "work" and value sw "b"]',
    'title pr and userName eq "alice" and emails[value co "a"]',
    'meta.created gt "2020-01-15T00:00:00Z" and active pr',
    'id eq "03" or id eq "04"',
]
CHECKS = [
    "test_what_is_not_there_is_not_found",
    "test_replace_drops_attributes_that_were_not_sent",
    "test_the_version_changes_with_every_replacement",
    "test_a_stale_version_changes_nothing",
    "test_a_value_given_up_is_free_again",
    "test_of_parallel_creates_one_wins",
    "test_long_values_are_told_apart",
    "test_members_join_and_leave",
    "test_a_display_of_ones_own_is_kept",
    "test_memberships_are_direct_and_nested_and_may_be_circular",
    "test_existing_resources_are_found_by_id",
]


@pytest.fixture(scope="module", params=QUIRKS)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    file = tmp_path_factory.mktemp("odd") / "scim.db"
    upstream = Upstream(file, around=QUIRKS[request.param])
    yield upstream
    upstream.stop()


@pytest.fixture
def adapter(odd: Upstream) -> Iterator[StorageAdapter]:
    odd.empty()
    adapter = OwnIds(open_backend("forward", forward_scim_url=odd.url, forward_scim_key=UPSTREAM_KEY))
    adapter.prepare(REGISTRY.resource_types)
    yield adapter
    adapter.close()


@pytest.mark.parametrize("check", CHECKS)
def test_the_contract_holds_on_an_odd_upstream(adapter: StorageAdapter, check: str) -> None:
    getattr(CONTRACT, check)(adapter)


def test_filters_find_what_evaluation_says_on_an_odd_upstream(adapter: StorageAdapter) -> None:
    fill(adapter)

    for text in FILTERS:
        node = resolve(parse_filter(text), USER)
        expected = [r.id for r in adapter.scan(USER) if matches(node, represent(r, True))]
        assert ids_matching(adapter, USER, text) == expected


@pytest.mark.parametrize("sort_by", ["", "title"])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_make_up_the_whole_on_an_odd_upstream(
    adapter: StorageAdapter, sort_by: str, descending: bool
) -> None:
    CONTRACT.test_pages_of_one_make_up_the_whole(adapter, "title pr", sort_by, descending)


def test_users_know_their_groups_on_an_odd_upstream(adapter: StorageAdapter) -> None:
    for name in "abc":
        adapter.create(USER, stored(name, userName=name))
    adapter.create(GROUP, stored("g", displayName="G"))
    assert memberships_of(adapter, ["a", "b"]) == {}
    change_members(adapter, "g", members("ab"), ())

    found = memberships_of(adapter, ["a", "b", "c", *(f"no{n}" for n in range(30))])

    assert {name: [m.resource_id for m in links] for name, links in found.items()} == {"a": ["g"], "b": ["g"]}
    assert among(adapter, "g", ["a", "c"]) == {"a"}


def test_a_change_by_another_is_noticed(odd: Upstream, adapter: StorageAdapter) -> None:
    adapter.create(GROUP, stored("g", displayName="G"))
    version = adapter.get(GROUP, "g").version
    assert adapter.replace(GROUP, stored("g", displayName="H"), version).version != version

    with pytest.raises(VersionMismatch):
        adapter.replace(GROUP, stored("g", displayName="I"), version)


# -- single oddities


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Any] = []

    def start(around: Any) -> StorageAdapter:
        upstream = Upstream(tmp_path / f"{len(made)}.db", around=around)
        adapter = open_backend("forward", forward_scim_url=upstream.url, forward_scim_key=UPSTREAM_KEY)
        adapter.prepare(REGISTRY.resource_types)
        made.append((upstream, adapter))
        return adapter

    yield start
    for upstream, adapter in made:
        adapter.close()
        upstream.stop()


def test_what_the_upstream_keeps_beside_survives_a_put(make: Any) -> None:
    sent: list[Any] = []

    def remembering(app: Any) -> Any:
        def served(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["REQUEST_METHOD"] == "PUT":
                body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                sent.append(body)
                environ["wsgi.input"] = io.BytesIO(body)
            return app(environ, start_response)

        return QUIRKS["other names and more"](served)

    adapter = make(remembering)
    created = adapter.create(USER, stored("x", userName="a", title="t"))

    replaced = adapter.replace(USER, stored(created.id, userName="b"))

    assert b'"costCentre":"7"' in sent[0] and b'"urn:x:y":{"a":[1]}' in sent[0]
    assert b"title" not in sent[0].lower()
    assert "costCentre" not in replaced.document and replaced.document["userName"] == "b"


@pytest.mark.parametrize("total", [10**9, 3])
def test_pages_that_repeat_or_stay_empty_end(make: Any, total: int) -> None:
    def endless(environ: dict[str, Any], answer: Any) -> Any:
        status, headers, document = answer
        if document and "Resources" in document:
            document["totalResults"] = total
            document.pop("startIndex")
        return status, headers, document

    adapter = make(lambda app: changed(endless)(lambda e, s: app({**e, "QUERY_STRING": "count=2"}, s)))
    for name in "ab":
        adapter.create(USER, stored("x", userName=name))

    assert len(list(adapter.scan(USER))) == 2
    assert len(search(adapter, USER, Selection(), represent).resources) == 2


@pytest.mark.parametrize("total", [None, 8])
def test_a_total_that_is_missing_or_too_large_is_counted(make: Any, total: int | None) -> None:
    def miscounted(environ: dict[str, Any], answer: Any) -> Any:
        if answer[2] and "Resources" in answer[2]:
            answer[2]["totalResults"] = total
        return answer

    adapter = make(lambda app: changed(miscounted)(without(count="2")(app)))
    ids = [adapter.create(USER, stored("x", userName=name)).id for name in "abcde"]

    whole = search(adapter, USER, Selection(), represent)
    end = search(adapter, USER, Selection(offset=4, limit=5), represent)

    assert ([one.id for one in whole.resources], whole.total) == (ids, 5)
    assert ([one.id for one in end.resources], end.total) == (ids[4:], 5)
    assert [one.id for one in adapter.scan(USER)] == ids
    if total is None:
        assert search(adapter, USER, Selection(limit=0), represent).total == 5
        assert search(adapter, USER, Selection(limit=3), represent).total == 5


def without_password(resource_id: str) -> StoredResource:
    return replace(stored(resource_id, userName="a"), removed_secrets=frozenset({"password"}))


def test_a_password_that_is_removed_is_removed_at_the_upstream(make: Any) -> None:
    sent: list[Any] = []

    def remembering(app: Any) -> Any:
        def served(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["REQUEST_METHOD"] in ("PUT", "PATCH"):
                body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                sent.append(orjson.loads(body))
                environ["wsgi.input"] = io.BytesIO(body)
            return app(environ, start_response)

        return served

    adapter = make(remembering)
    created = adapter.create(USER, replace(stored("x", userName="a"), secrets={"password": "Secret-12345"}))

    replaced = adapter.replace(USER, without_password(created.id), created.version)

    assert [one["Operations"] for one in sent] == [[{"op": "remove", "path": "password"}]]
    assert replaced.version != created.version


def test_a_password_stays_where_the_upstream_has_no_patch_to_remove_it(make: Any) -> None:
    adapter = make(QUIRKS["no PATCH"])
    created = adapter.create(USER, stored("x", userName="a"))

    with pytest.raises(UnsupportedByBackend):
        adapter.replace(USER, without_password(created.id))


def test_another_page_than_was_asked_for_is_refused(make: Any) -> None:
    adapter = make(lambda app: lambda e, s: app({**e, "QUERY_STRING": "count=1&startIndex=1"}, s))
    for name in "abc":
        adapter.create(USER, stored("x", userName=name))

    with pytest.raises(BadBackendAnswer):
        list(adapter.scan(USER))


def test_ids_with_slashes_are_ids(tmp_path: Path) -> None:
    def slashed(app: Any) -> Any:
        named = changed(each_resource(lambda resource: resource.update(id=f"tenant/{resource['id']}")))(app)
        return lambda e, s: named({**e, "PATH_INFO": e["PATH_INFO"].replace("/tenant/", "/")}, s)

    upstream = Upstream(tmp_path / "slashed.db", around=slashed)
    environ = {"API_KEY": KEY, "FORWARD_SCIM_URL": upstream.url, "FORWARD_SCIM_KEY": UPSTREAM_KEY}
    app = create_app(Settings.from_env({**environ, "LOGLEVEL": "ERROR"}))
    scim = ScimClient(app.test_client())
    user = scim.user("ann")
    location = user["meta"]["location"]

    assert location == f"/Users/{quote(user['id'], safe='')}" and "/" in user["id"]
    assert scim("GET", location).json == user
    assert scim("PUT", location, {**user, "title": "t"}).json["title"] == "t"
    assert scim("DELETE", location).status_code == 204
    assert scim("GET", location).status_code == 404
    app.extensions["scim.storage"].close()
    upstream.stop()


def test_members_of_a_foreign_group_are_read_as_they_are(make: Any) -> None:
    def odd_members(environ: dict[str, Any], answer: Any) -> Any:
        status, headers, document = answer
        if document and "members" in document:
            document["members"] += [{"value": "x", "type": "Robot"}, "y", 7, {"display": "z"}, None]
        return status, headers, document

    adapter = make(changed(odd_members))
    user = adapter.create(USER, stored("x", userName="a"))
    group = adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, group.id, [Member(user.id, "User")], ())

    found = [(m.resource_id, m.resource_type) for m in members_of(adapter, group.id)]

    assert found == [(user.id, "User"), ("x", "User"), ("y", "User")]
