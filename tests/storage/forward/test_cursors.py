"""Upstreams that page by cursor (RFC 9865): the contract over one, and cursors that fail."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from scim_filter import parse_filter, resolve
from storage.adapter import Position, Selection, Sort, StorageAdapter, StoredResource
from storage.errors import BadBackendAnswer, ValueRefused
from storage.search import position_of, search
from storage.testing import REGISTRY, USER, StorageContract, represent, stored
from storage.testing.own_ids import OwnIds
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient
from tests.in_flight import number_as_before
from tests.storage.forward.quirks import (
    Answer,
    by_cursor,
    changed,
    cursors_unasked_for,
    cursors_without_totals,
    filterless,
    only_cursors,
    refusing,
    saying,
)
from tests.upstream import UPSTREAM_KEY, Upstream

Make = Callable[..., tuple[Upstream, StorageAdapter]]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    file = tmp_path_factory.mktemp("cursors") / "scim.db"
    upstream = Upstream(file, around=only_cursors, PAGE_SIZE="3")
    yield upstream
    upstream.stop()


class TestOnlyCursors(StorageContract):
    @pytest.fixture
    def adapter(self, upstream: Upstream) -> Iterator[StorageAdapter]:
        upstream.empty()
        opened = open_backend("forward", forward_scim_url=upstream.url, forward_scim_key=UPSTREAM_KEY)
        adapter = OwnIds(opened)
        adapter.prepare(REGISTRY.resource_types)
        yield adapter
        adapter.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[tuple[Upstream, StorageAdapter]] = []

    def start(around: Any, users: int, page: int = 10) -> tuple[Upstream, StorageAdapter]:
        upstream = Upstream(tmp_path / f"{len(made)}.db", around=around, PAGE_SIZE=str(page))
        adapter = open_backend("forward", forward_scim_url=upstream.url, forward_scim_key=UPSTREAM_KEY)
        adapter.prepare(REGISTRY.resource_types)
        made.append((upstream, adapter))
        storage = upstream.app.extensions["scim.storage"]
        storage.create_many(USER, [stored(f"u{n:03}", userName=f"u{n:03}") for n in range(users)])
        return made[-1]

    yield start
    for upstream, adapter in made:
        adapter.close()
        upstream.stop()


def _ids(first: int, last: int) -> list[str]:
    return [f"u{n:03}" for n in range(first, last)]


def _found(adapter: StorageAdapter, **selection: Any) -> tuple[list[str], int]:
    page = search(adapter, USER, Selection(**selection), represent)
    return [one.id for one in page.resources], page.total


# -- reading on


@pytest.mark.parametrize("around", [only_cursors, cursors_unasked_for, cursors_without_totals])
def test_pages_come_from_upstreams_that_page_by_cursor(make: Make, around: Any) -> None:
    _, adapter = make(around, 45)

    assert [one.id for one in adapter.scan(USER)] == _ids(0, 45)
    assert _found(adapter, offset=18, limit=5) == (_ids(18, 23), 45)
    assert _found(adapter, offset=40, limit=50) == (_ids(40, 45), 45)
    assert _found(adapter, offset=50, limit=5) == ([], 45)
    assert _found(adapter, limit=0) == ([], 45)
    assert _found(adapter) == (_ids(0, 45), 45)


def test_the_last_of_many_pages_takes_no_more_requests_than_the_first(make: Make) -> None:
    upstream, _ = make(only_cursors, 200)
    environ = {"API_KEY": KEY, "FORWARD_SCIM_URL": upstream.url, "FORWARD_SCIM_KEY": UPSTREAM_KEY}
    app = create_app(Settings.from_env({**environ, "LOGLEVEL": "ERROR"}))
    client = ScimClient(app.test_client())
    for count in ("10", "7"):
        cursor: str | None = ""
        names: list[str] = []
        upstream.requests.clear()
        pages = 0

        while cursor is not None:
            answer = client("GET", "/Users", query_string={"count": count, "cursor": cursor}).json
            names += [resource["userName"] for resource in answer["Resources"]]
            cursor = answer.get("nextCursor")
            assert answer["totalResults"] == 200
            pages += 1

        assert names == _ids(0, 200)
        lists = [request for request in upstream.requests if request.startswith("GET /Users?cursor=")]
        assert len(lists) <= 3 * pages
    app.extensions["scim.storage"].close()


def test_positions_hold_where_the_upstream_does_not_filter(make: Make) -> None:
    _, adapter = make(filterless, 0)
    for n in range(8):
        adapter.create(USER, stored("x", userName=f"u{n:03}", title="t"))
    node = resolve(parse_filter('title eq "t"'), USER)

    def page(**where: Any) -> list[StoredResource]:
        return list(search(adapter, USER, Selection(node, limit=3, **where), represent).resources)

    everything = list(search(adapter, USER, Selection(node), represent).resources)
    position = position_of(everything[5], None, {})
    # Each of the others moves up in the answer of the upstream.
    gone = next(one for one in everything if one.document["userName"] == "u000")
    adapter.delete(USER, gone.id)

    assert everything[5].id not in {one.id for one in (*page(before=position), *page(after=position))}


def test_a_position_is_not_before_itself_where_an_order_is_doubted(make: Make) -> None:
    # A page of resources without a value, of more such: the upstream may have put them first by mistake.
    _, adapter = make(lambda app: app, 24)
    title = USER.path("title")
    assert title is not None
    sort = Sort(title, False)
    middle = list(search(adapter, USER, Selection(sort=sort), represent).resources)[11]
    position = position_of(middle, sort, {})

    before, _ = _found(adapter, sort=sort, before=position)
    after, _ = _found(adapter, sort=sort, after=position)

    assert sorted([*before, middle.id, *after]) == _ids(0, 24)


@pytest.mark.parametrize(("sort_by", "descending"), [("", False), ("userName", False), ("userName", True)])
def test_positions_hold_while_others_come_and_go(make: Make, sort_by: str, descending: bool) -> None:
    _, adapter = make(only_cursors, 0)
    for n in range(60):
        adapter.create(USER, stored("x", userName=f"u{n:03}"))
    path = USER.path(sort_by) if sort_by else None
    selection = Selection(sort=Sort(path, descending) if path else None, limit=25)

    def names(**where: Position | None) -> list[str]:
        page = search(adapter, USER, replace(selection, **where), represent)  # type: ignore[arg-type]
        return [one.document["userName"] for one in page.resources]

    first = search(adapter, USER, selection, represent).resources
    position = position_of(first[-1], selection.sort, represent(first[-1], False))
    ordered = sorted(_ids(0, 60), reverse=descending)
    assert names(after=position) == ordered[25:50]
    for one in first[:8]:
        adapter.delete(USER, one.id)
    for n in range(8):
        adapter.create(USER, stored("x", userName=f"v{n}"))

    rest = [*ordered[25:], *([] if descending else [f"v{n}" for n in range(8)])]
    assert names(after=position) == rest[:25]
    ahead = [f"v{n}" for n in reversed(range(8))] if descending else []
    assert names(before=position) == [*ahead, *ordered[8:24]][-25:]


@pytest.mark.parametrize(("sort_by", "descending"), [("", False), ("userName", False), ("userName", True)])
def test_positions_of_the_last_version_lead_on(make: Make, sort_by: str, descending: bool) -> None:
    _, adapter = make(only_cursors, 0)
    for n in range(30):
        adapter.create(USER, stored("x", userName=f"u{n:03}"))
    path = USER.path(sort_by) if sort_by else None
    selection = Selection(sort=Sort(path, descending) if path else None, limit=10)
    last = search(adapter, USER, selection, represent).resources[-1]
    position = position_of(last, selection.sort, represent(last, False))
    index = number_as_before(last.place) >> 40
    if descending:
        index = (1 << 23) - 1 - index
    place = f"{index << 40 | number_as_before(last.place) % (1 << 40):016x}"

    page = search(adapter, USER, replace(selection, after=replace(position, place=place)), represent)

    ordered = sorted(_ids(0, 30), reverse=descending)
    assert [one.document["userName"] for one in page.resources] == ordered[10:20]
    evaluated = Selection(resolve(parse_filter('meta.resourceType eq "User"'), USER), limit=10)
    with pytest.raises(ValueRefused, match="version 0.2.0"):
        search(adapter, USER, replace(evaluated, after=Position(place)), represent)


def test_the_total_is_right_though_places_have_shifted(make: Make) -> None:
    _, adapter = make(only_cursors, 0)
    for n in range(45):
        adapter.create(USER, stored("x", userName=f"u{n:03}"))
    first = search(adapter, USER, Selection(limit=30), represent).resources
    adapter.delete(USER, first[5].id)
    adapter.create(USER, stored("x", userName="new"))

    rest = search(adapter, USER, Selection(limit=50, after=position_of(first[-1], None, {})), represent)

    assert [one.document["userName"] for one in rest.resources] == [*_ids(30, 45), "new"]
    assert rest.total == 45


def test_a_scan_misses_nothing_while_what_it_gave_is_deleted(make: Make) -> None:
    _, adapter = make(lambda app: app, 45)
    seen = []

    for one in adapter.scan(USER):
        seen.append(one.id)
        adapter.delete(USER, one.id)

    assert seen == _ids(0, 45)


def test_an_upstream_that_offers_both_is_paged_by_index(make: Make) -> None:
    def both(environ: dict[str, Any], answer: Answer) -> Answer:
        if "startIndex" in (answer[2] or {}):
            answer[2]["nextCursor"] = "c"
        return answer

    upstream, adapter = make(changed(both), 45)

    assert _found(adapter, offset=18, limit=5) == (_ids(18, 23), 45)
    assert "startIndex=19" in upstream.requests[-1]


def test_long_filters_are_read_on_by_post(make: Make) -> None:
    upstream, adapter = make(only_cursors, 45)
    text = " or ".join(["userName pr"] + [f'userName eq "{n:0100}"' for n in range(20)])

    found, total = _found(adapter, filter=resolve(parse_filter(text), USER))

    assert (found, total) == (_ids(0, 45), 45)
    assert upstream.requests[-5:] == ["POST /Users/.search"] * 5


# -- cursors that fail


def _failing(scim_type: str, when: Callable[[int], bool]) -> Any:
    """Return an upstream that pages by cursor, and loses those `when` says, counted from 1."""
    count = 0

    def around(app: Any) -> Any:
        lost = refusing("GET", "400 Bad Request", scimType=scim_type)(app)

        def served(environ: dict[str, Any], start_response: Any) -> Any:
            nonlocal count
            is_later = "cursor=" in environ["QUERY_STRING"] and "cursor=&" not in environ["QUERY_STRING"]
            count += is_later
            return (lost if is_later and when(count) else app)(environ, start_response)

        return only_cursors(served)

    return around


@pytest.mark.parametrize("scim_type", ["expiredCursor", "invalidCursor", "other"])
def test_a_lost_cursor_is_begun_again(make: Make, scim_type: str) -> None:
    _, adapter = make(_failing(scim_type, lambda number: number in (2, 6)), 45)

    assert [one.id for one in adapter.scan(USER)] == _ids(0, 45)
    assert _found(adapter, offset=18, limit=15) == (_ids(18, 33), 45)


def test_a_lost_cursor_behind_a_position_is_begun_again(make: Make) -> None:
    _, adapter = make(_failing("expiredCursor", lambda number: number in (3, 4)), 45)
    last = search(adapter, USER, Selection(limit=20), represent).resources[-1]
    selection = Selection(limit=12, after=position_of(last, None, {}))

    for _ in range(3):
        found = search(adapter, USER, selection, represent)
        assert ([one.id for one in found.resources], found.total) == (_ids(20, 32), 45)


def test_cursors_that_are_always_lost_are_an_error(make: Make) -> None:
    upstream, adapter = make(_failing("expiredCursor", lambda number: True), 45)

    with pytest.raises(BadBackendAnswer, match="cursors"):
        list(adapter.scan(USER))
    with pytest.raises(BadBackendAnswer, match="cursors"):
        _found(adapter, offset=20, limit=1)
    assert _found(adapter, limit=10) == (_ids(0, 10), 45)
    assert len(upstream.requests) < 15


@pytest.mark.parametrize("kind", ["circle", "repeated", "empty"])
def test_cursors_that_lead_nowhere_end(make: Make, kind: str) -> None:
    number = 0

    def endless(environ: dict[str, Any], answer: Answer) -> Answer:
        nonlocal number
        status, headers, document = answer
        if "Resources" in (document or {}):
            number += 1
            document["nextCursor"] = "round" if kind == "circle" else f"c{number}"
            if kind == "empty" and number > 1:
                document["Resources"] = []
        return status, headers, document

    def first(app: Any) -> Any:
        query = {"QUERY_STRING": "cursor=&count=10"}
        return lambda environ, start: app(
            {**environ, **(query if environ["PATH_INFO"] == "/Users" else {})}, start
        )

    upstream, adapter = make(lambda app: changed(saying(index=False))(changed(endless)(first(app))), 45)

    with pytest.raises(BadBackendAnswer, match="cursors"):
        list(adapter.scan(USER))
    assert len(upstream.requests) < 120


def test_a_cursor_behind_the_last_resource_ends(make: Make) -> None:
    def polite(environ: dict[str, Any], answer: Answer) -> Answer:
        status, headers, document = answer
        if "Resources" in (document or {}):
            document.setdefault("nextCursor", "end")
        return status, headers, document

    def ending(app: Any) -> Any:
        def served(environ: dict[str, Any], start_response: Any) -> Any:
            if "cursor=end" in environ["QUERY_STRING"]:
                query = "filter=not+(id+pr)&cursor=&count=10"
                environ = {**environ, "QUERY_STRING": query}
            return app(environ, start_response)

        return served

    _, adapter = make(lambda app: only_cursors(changed(polite)(ending(app))), 20)

    assert [one.id for one in adapter.scan(USER)] == _ids(0, 20)


def test_an_upstream_that_only_says_it_knows_cursors_is_read_by_index(make: Make) -> None:
    for quirk in (by_cursor_ignored, by_cursor_refused):
        _, adapter = make(lambda app, quirk=quirk: changed(saying(cursor=True, index=False))(quirk(app)), 45)

        assert [one.id for one in adapter.scan(USER)] == _ids(0, 45)
        assert _found(adapter, offset=18, limit=5) == (_ids(18, 23), 45)


def by_cursor_ignored(app: Any) -> Any:
    """Pass over `cursor`."""
    return lambda environ, start: app(
        {**environ, "QUERY_STRING": environ["QUERY_STRING"].replace("cursor=", "x=")}, start
    )


def by_cursor_refused(app: Any) -> Any:
    """Refuse `cursor`."""
    refused = refusing("GET", "400 Bad Request", scimType="invalidValue")(app)
    return lambda environ, start: (refused if "cursor=" in environ["QUERY_STRING"] else app)(environ, start)


def test_readiness_asks_for_no_index(make: Make) -> None:
    for around in (only_cursors, cursors_without_totals, by_cursor()):
        upstream, adapter = make(around, 1)

        adapter.check()

        assert not any("startIndex" in request for request in upstream.requests)
