"""Searching (RFC 7644 section 3.4, RFC 9865): filters, order, pages, cursors, POST, all types."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from app.protocol.cursors import Cursor, Cursors
from schema.errors import ExpiredCursor, InvalidCount, InvalidCursor
from storage.adapter import Position
from storage.testing.corpus import EXTREMES
from tests.conftest import GROUP, ScimClient, error_of

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
SRAM = "urn:mace:surf.nl:sram:scim:extension:"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@pytest.fixture
def people(scim: ScimClient) -> dict[str, str]:
    """Five users by name; what they have differs."""
    users: dict[str, dict[str, Any]] = {
        "bjensen": {
            "active": True,
            "name": {"familyName": "Jensen"},
            "title": "b",
            "emails": [
                {"value": "bjensen@work.example", "type": "work"},
                {"value": "b@home.example", "type": "home", "primary": True},
            ],
        },
        "Alice": {"title": "A", "active": False, "emails": [{"value": "alice@work.example", "type": "work"}]},
        "carol": {"title": "c", ENTERPRISE: {"department": "Tours", "employeeNumber": "10"}},
        "dave": {"nickName": "100%", "emails": [{"value": "d@x", "type": "home"}]},
        "eve": {"nickName": "n_n", SRAM + "User": {"sramInactiveDays": 9, "eduPersonUniqueId": "eve@sram"}},
    }
    return {name: scim.user(name, **attributes)["id"] for name, attributes in users.items()}


FILTERS = [
    ('userName eq "BJENSEN"', "bjensen"),
    ('USERNAME Eq "bjensen"', "bjensen"),
    ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "bjensen"', "bjensen"),
    ('userName eq "bjensen" and emails[type eq "work"]', "bjensen"),
    ('(emails[type eq "work"] or emails[type eq "home"]) and active eq true', "bjensen"),
    ('emails[type eq "work" and value eq "b@home.example"]', ""),
    ('emails[type eq "home" and value eq "b@home.example"]', "bjensen"),
    ('emails[type eq "work"].value eq "alice@work.example"', "Alice"),
    ('emails[not (type eq "work")]', "bjensen dave"),
    ('emails[type eq "home" or value co "alice"]', "bjensen Alice dave"),
    ('emails[primary pr and value sw "b"]', "bjensen"),
    ('emails.value eq "b@home.example"', "bjensen"),
    ('emails co "work.example"', "bjensen Alice"),
    ('emails ne "d@x"', "bjensen Alice carol eve"),
    ("not (emails pr)", "carol eve"),
    ("active eq true", "bjensen"),
    ('active eq "True"', "bjensen"),
    ("active ne true", "Alice carol dave eve"),
    ("active eq null", "carol dave eve"),
    ('title gt "A"', "bjensen carol"),
    ('title ge "a" and title le "b"', "bjensen Alice"),
    ('nickName co "0%"', "dave"),
    ('nickName sw "n_"', "eve"),
    ('nickName ew "%"', "dave"),
    ('nickName co ""', "dave eve"),
    ("name.familyName pr", "bjensen"),
    ('name[familyName sw "J"]', "bjensen"),
    (f'{ENTERPRISE}:department eq "tours"', "carol"),
    (f'{SRAM}User.eduPersonUniqueId eq "eve@sram"', "eve"),
    (f'{SRAM}User:eduPersonUniqueId eq "EVE@SRAM"', "eve"),
    (f"{SRAM}User:sramInactiveDays gt 8", "eve"),
    (f"{SRAM}User:sramInactiveDays gt 10", ""),
    (f"{ENTERPRISE} pr", "carol"),
    ('meta.created gt "2020-01-01T00:00:00Z"', "bjensen Alice carol dave eve"),
    ('meta.lastModified lt "2020-01-01T00:00:00Z"', ""),
    ('meta.resourceType eq "User" and title pr', "bjensen Alice carol"),
    ('meta.location ew "nothing"', ""),
    ('schemas eq "urn:ietf:params:scim:schemas:core:2.0:User" and title eq "c"', "carol"),
    (f'schemas[value eq "{ENTERPRISE}"]', "carol"),
    (f'schemas.value sw "{SRAM}"', "eve"),
    ('userName eq "x\\" or userName pr or userName eq \\"y"', ""),
    ('userName eq "a" or userName eq "eve" and not (title pr)', "eve"),
]


@pytest.mark.parametrize(("filter_text", "expected"), FILTERS)
def test_filters_find_what_they_say(
    scim: ScimClient, people: dict[str, str], filter_text: str, expected: str
) -> None:
    assert scim.names(filter_text) == expected.split()


def test_id_is_found_exactly(scim: ScimClient, people: dict[str, str]) -> None:
    # An id may be a number, which has no upper case.
    other = people["eve"].upper() if people["eve"].upper() != people["eve"] else people["eve"] + "0"

    assert scim.names(f'id eq "{people["eve"]}"') == ["eve"]
    assert scim.names(f'id eq "{other}"') == []
    assert scim.names(f'not (id eq "{people["eve"]}") and id pr') == ["bjensen", "Alice", "carol", "dave"]


def test_the_readme_examples_for_groups(scim: ScimClient) -> None:
    extension = {"urn": "surf_demo:test30", "links": [{"name": "logo", "value": "x"}], "labels": ["a", "b"]}
    scim.group("sram", scim.user("a")["id"], **{f"{SRAM}Group": extension})
    scim.group("plain")

    for text in (
        f'{SRAM}Group.urn co "surf_demo:test30"',
        f'{SRAM}Group.links[name eq "logo"]',
        f'{SRAM}Group:labels eq "b"',
        "members pr",
    ):
        assert scim.names(text, "/Groups", "displayName") == ["sram"]


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_each_of_several_simple_values_is_its_value(
    make_scim: Callable[..., ScimClient], profile: str
) -> None:
    scim, labels = make_scim(PROFILE=profile), f"{SRAM}Group:labels"
    for name, some in (("abc", ["abz", "xy"]), ("blue", ["blue", "az"]), ("red", ["Red"])):
        scim.group(name, schemas=[GROUP, f"{SRAM}Group"], **{f"{SRAM}Group": {"labels": some}})
    scim.group("plain")

    for text, found in (
        (f'{labels}[value eq "blue"]', ["blue"]),
        (f'{labels}.value eq "RED"', ["red"]),
        (f'{labels}[value sw "a" and value ew "z"]', ["abc", "blue"]),
        (f'{labels}[value sw "a" and value ew "y"]', []),
        (f'{labels}[value ne "blue"]', ["abc", "blue", "red"]),
        (f'{labels}[not (value sw "a") and value pr]', ["abc", "blue", "red"]),
        (f'not ({labels}[value sw "a" or value eq "red"])', ["plain"]),
        (f"{labels}.value pr", ["abc", "blue", "red"]),
    ):
        assert sorted(scim.names(text, "/Groups", "displayName")) == found, text
    unknown = (f"{labels}.colour pr", f"{labels}[colour eq 1]")
    for text in (*unknown, 'displayName[value eq "x"]', "displayName.value pr"):
        error_of(scim("GET", "/Groups", query_string={"filter": text}), 400, "invalidFilter")
    query = {"attributes": f"{labels}.value", "sortBy": f"{labels}.value", "filter": f"{labels} pr"}
    shown = scim("GET", "/Groups", query_string=query).json["Resources"]
    assert [one[f"{SRAM}Group"]["labels"] for one in shown] == [["abz", "xy"], ["blue", "az"], ["Red"]]
    assert all("displayName" not in one for one in shown)


def listed(scim: ScimClient, **query: Any) -> Any:
    answer = scim("GET", "/Users", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def names(body: Any) -> list[str]:
    return [user["userName"] for user in body["Resources"]]


@pytest.mark.parametrize(
    ("sort_by", "ascending"),
    [
        ("userName", "Alice bjensen carol dave eve"),
        ("urn:ietf:params:scim:schemas:core:2.0:User:USERNAME", "Alice bjensen carol dave eve"),
        ("meta.created", "bjensen Alice carol dave eve"),
        (f"{SRAM}User:sramInactiveDays", "eve ? ? ? ?"),
        ("title", "Alice bjensen carol ? ?"),
        ("emails", "Alice bjensen dave ? ?"),
        ("emails.value", "Alice bjensen dave ? ?"),
        ("name.familyName", "bjensen ? ? ? ?"),
        ("groups.display", "? ? ? ? ?"),
    ],
)
def test_sorting_puts_missing_values_last(
    scim: ScimClient, people: dict[str, str], sort_by: str, ascending: str
) -> None:
    valued = [name for name in ascending.split() if name != "?"]
    # Ties, and resources without a value, are in order of creation.
    missing = [name for name in people if name not in valued]

    up = names(listed(scim, sortBy=sort_by))
    down = names(listed(scim, sortBy=sort_by, sortOrder="descending"))

    assert up == valued + missing
    assert down == up[::-1]
    pages = [names(listed(scim, sortBy=sort_by, startIndex=n, count=2)) for n in (1, 3, 5)]
    assert [name for page in pages for name in page] == up
    order = {"sortBy": sort_by, "sortOrder": "Descending"}
    back = [names(listed(scim, **order, startIndex=n, count=3)) for n in (1, 4)]
    assert [name for page in back for name in page] == down


def test_sorting_what_a_filter_finds(scim: ScimClient, people: dict[str, str]) -> None:
    assert names(listed(scim, filter="title pr", sortBy="userName", count=2)) == ["Alice", "bjensen"]
    assert listed(scim, filter="title pr", sortBy="userName", count=2)["totalResults"] == 3


@pytest.mark.parametrize(
    "query",
    [
        {"sortBy": "nope"},
        {"sortBy": "name"},
        {"sortBy": "password"},
        {"sortBy": "title", "sortOrder": "up"},
    ],
)
def test_an_order_that_cannot_be_is_refused(scim: ScimClient, query: dict[str, str]) -> None:
    error_of(scim("GET", "/Users", query_string=query), 400, "invalidValue")


# -- cursors


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"sortBy": "title"},
        {"sortBy": "title", "sortOrder": "descending"},
        {"sortBy": "groups.display"},
        {"filter": "emails pr or title pr"},
        {"filter": "meta.location pr", "sortBy": "userName"},
    ],
)
def test_cursors_lead_through_all_pages_and_back(
    scim: ScimClient, people: dict[str, str], query: dict[str, str]
) -> None:
    everything = names(listed(scim, **query))
    pages = []
    body = listed(scim, cursor="", count=2, **query)
    assert "previousCursor" not in body and "startIndex" not in body
    while True:
        assert body["totalResults"] == len(everything)
        pages.append(names(body))
        if "nextCursor" not in body:
            break
        body = listed(scim, cursor=body["nextCursor"], count=2, **query)
    back = []
    while "previousCursor" in body:
        body = listed(scim, cursor=body["previousCursor"], count=2, **query)
        assert "nextCursor" in body
        back.append(names(body))

    assert [name for page in pages for name in page] == everything
    assert all(len(page) == 2 for page in pages[:-1])
    assert back == pages[-2::-1]


def test_a_cursor_goes_on_where_it_was_though_resources_come_and_go(
    scim: ScimClient, people: dict[str, str]
) -> None:
    body = listed(scim, cursor="", count=2, sortBy="userName")
    scim("DELETE", f"/Users/{people['bjensen']}")
    scim.user("aaa")

    following = listed(scim, cursor=body["nextCursor"], count=2, sortBy="userName")

    assert names(following) == ["carol", "dave"]


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_long_values_are_sorted_alike_everywhere_and_their_cursors_are_short(
    scim: ScimClient, order: str
) -> None:
    for number in range(4):
        scim.user(f"u{number}", displayName="k" * 300 + str(number))
    query = {"sortBy": "displayName", "sortOrder": order}
    digests = {f"u{n}": sha256(("k" * 300 + str(n)).encode()).hexdigest() for n in range(4)}
    expected = sorted(digests, key=lambda name: digests[name], reverse=order == "descending")

    assert names(listed(scim, **query)) == expected
    body, walked = listed(scim, cursor="", count=1, **query), []
    while True:
        walked += names(body)
        if "nextCursor" not in body:
            break
        assert len(body["nextCursor"]) < 1024
        body = listed(scim, cursor=body["nextCursor"], count=1, **query)
    assert walked == expected


def test_cursors_belong_to_their_query(scim: ScimClient, people: dict[str, str]) -> None:
    cursor = listed(scim, cursor="", count=2)["nextCursor"]

    for query, scim_type in (
        ({"cursor": "nonsense"}, "invalidCursor"),
        ({"cursor": "_" * 44}, "invalidCursor"),
        ({"cursor": cursor[:-2] + "AA", "count": 2}, "invalidCursor"),
        ({"cursor": cursor, "count": 2, "filter": "title pr"}, "invalidCursor"),
        ({"cursor": cursor, "count": 2, "sortBy": "title"}, "invalidCursor"),
        ({"cursor": cursor, "count": 3}, "invalidCount"),
        ({"cursor": "", "count": 101}, "invalidCount"),
    ):
        error_of(scim("GET", "/Users", query_string=query), 400, scim_type)
    error_of(scim("GET", "/Groups", query_string={"cursor": cursor, "count": 2}), 400, "invalidCursor")


def test_a_cursor_without_a_page_leads_nowhere(scim: ScimClient, people: dict[str, str]) -> None:
    for query in ({"count": 0}, {"count": -1}, {"filter": 'userName eq "x"'}):
        body = listed(scim, cursor="", **query)
        assert body["Resources"] == [] and not {"nextCursor", "previousCursor"} & set(body)


def test_cursors_expire_and_cannot_be_forged() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    cursors = Cursors(lambda client: [b"key"], 60, lambda: now[0])
    cursor = Cursor(Position("7" * 16, "key"), True)
    text = cursors.write(cursor, "me", ("q",), 10)

    assert cursors.read(text, "me", ("q",), 10) == cursor
    with pytest.raises(InvalidCursor):
        cursors.read(text, "you", ("q",), 10)
    with pytest.raises(InvalidCursor):
        Cursors(lambda client: [b"other"], 60, lambda: now[0]).read(text, "me", ("q",), 10)
    with pytest.raises(InvalidCount):
        cursors.read(text, "me", ("q",), 11)
    now[0] += timedelta(seconds=61)
    with pytest.raises(ExpiredCursor):
        cursors.read(text, "me", ("q",), 10)


# -- by POST, and over all types


def test_search_by_post(scim: ScimClient, people: dict[str, str]) -> None:
    body = {
        "schemas": [SEARCH],
        "attributes": ["userName"],
        "filter": "title pr",
        "sortBy": "title",
        "sortOrder": "descending",
        "startIndex": 1,
        "count": 2,
    }

    answer = scim("POST", "/Users/.search", body)

    assert answer.status_code == 200
    assert (answer.json["totalResults"], answer.json["startIndex"]) == (3, 1)
    assert names(answer.json) == ["carol", "bjensen"]
    assert set(answer.json["Resources"][0]) == {"schemas", "id", "userName"}
    first = scim("POST", "/Users/.search", {"schemas": [SEARCH], "cursor": "", "count": 4}).json
    following = {"schemas": [SEARCH], "cursor": first["nextCursor"], "count": 4}
    rest = scim("POST", "/Users/.search", following).json
    assert names(first) + names(rest) == list(people)


@pytest.mark.parametrize(
    ("body", "scim_type"),
    [
        ({"schemas": ["urn:nope"]}, "invalidSyntax"),
        ({"schemas": [SEARCH], "count": "one"}, "invalidValue"),
        ({"schemas": [SEARCH], "count": True}, "invalidValue"),
        ({"schemas": [SEARCH], "startIndex": 1.5}, "invalidValue"),
        ({"schemas": [SEARCH], "count": "one", "cursor": ""}, "invalidCount"),
        ({"schemas": [SEARCH], "attributes": [7]}, "invalidValue"),
        ({"schemas": [SEARCH], "filter": "userName"}, "invalidFilter"),
    ],
)
@pytest.mark.parametrize("path", ["/Users/.search", "/.search"])
def test_a_search_that_cannot_be_done_is_refused(
    scim: ScimClient, path: str, body: dict[str, Any], scim_type: str
) -> None:
    error_of(scim("POST", path, body), 400, scim_type)


def test_all_types_are_searched_at_the_root(scim: ScimClient, people: dict[str, str]) -> None:
    scim.group("Bravo")
    scim.group("alpha")

    def found(**query: Any) -> tuple[list[str], int]:
        by_get = scim("GET", "/", query_string=query).json
        by_post = scim("POST", "/.search", {"schemas": [SEARCH], **query}).json
        assert by_get == by_post
        shown = [r.get("userName") or r["displayName"] for r in by_get["Resources"]]
        return shown, by_get["totalResults"]

    assert found(count=100) == (["bjensen", "Alice", "carol", "dave", "eve", "Bravo", "alpha"], 7)
    assert found(startIndex=5, count=2) == (["eve", "Bravo"], 7)
    # To a group, userName is an attribute without a value (RFC 7644 section 3.4.2.1).
    assert found(filter='displayName eq "ALPHA" or userName eq "x"') == (["alpha"], 1)
    assert found(filter='userName eq "eve" or members pr') == (["eve"], 1)
    assert found(filter="not (userName pr)") == (["Bravo", "alpha"], 2)
    assert found(filter='userName ne "eve" and not (title pr or emails[type eq "no"])', count=0)[1] > 2
    assert found(filter='userName ne "eve"', count=0)[1] == 6
    assert found(filter="userName eq null") == (["Bravo", "alpha"], 2)
    assert found(filter='members pr or userName eq "eve"', sortBy="userName") == (["eve"], 1)
    users = 'meta.resourceType eq "User" and userName pr'
    groups = 'meta.resourceType eq "Group" and members pr'
    assert found(filter=f"({users}) or ({groups})", count=0)[1] == 5
    both = f'({users}) or meta.resourceType eq "Group" and displayName pr'
    assert found(filter=both, count=0)[1] == 7
    assert found(filter='displayName eq "ALPHA"') == (["alpha"], 1)
    assert found(filter='userName eq "eve"') == (["eve"], 1)
    assert found(filter='meta.resourceType eq "Group"') == (["Bravo", "alpha"], 2)
    assert found(sortBy="displayName", count=2) == (["alpha", "Bravo"], 7)
    assert found(sortBy="displayName", sortOrder="descending", startIndex=6)[0] == ["Bravo", "alpha"]


def test_cursors_lead_through_all_types(scim: ScimClient, people: dict[str, str]) -> None:
    scim.group("g")
    seen = []
    body = scim("POST", "/.search", {"schemas": [SEARCH], "cursor": "", "count": 4}).json
    seen += body["Resources"]
    body = scim("POST", "/.search", {"schemas": [SEARCH], "cursor": body["nextCursor"], "count": 4}).json
    seen += body["Resources"]

    assert "nextCursor" not in body and "previousCursor" in body
    assert len({resource["id"] for resource in seen}) == 6


def test_what_no_type_has_is_an_invalid_filter(scim: ScimClient) -> None:
    of_some = ("userName pr or shoeSize eq 43", "members pr and userName pr or userName gt 1")
    for text in ("shoeSize eq 43", *of_some):
        error_of(scim("GET", "/", query_string={"filter": text}), 400, "invalidFilter")
    error_of(scim("GET", "/", query_string={"sortBy": "shoeSize"}), 400, "invalidValue")


def test_a_search_at_the_root_needs_credentials(scim: ScimClient) -> None:
    for method, path in (("GET", "/?filter=id+pr"), ("POST", "/.search"), ("POST", "/Users/.search")):
        error_of(scim(method, path, headers={"Authorization": ""}, data="{}"), 401)


def test_pages_have_the_size_of_the_setting(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(PAGE_SIZE="2")
    for name in "abc":
        scim.user(name)

    body = scim("POST", "/Users/.search", {"schemas": [SEARCH], "cursor": ""}).json

    assert body["itemsPerPage"] == 2 and "nextCursor" in body


@pytest.mark.parametrize("text", EXTREMES)
def test_a_filter_within_our_limits_is_answered(scim: ScimClient, text: str) -> None:
    scim.user("anna", title="b", emails=[{"value": "a@x", "type": "work"}])
    query = {"filter": text, "sortBy": "userName", "startIndex": 1, "count": 5}
    search = {"schemas": [SEARCH], **query}

    listed = scim("GET", "/Users", query_string=query)
    posted = scim("POST", "/Users/.search", search)

    assert listed.status_code == posted.status_code == 200, listed.text
    assert listed.json == posted.json


def test_a_filter_beyond_our_limits_is_refused_by_name(scim: ScimClient) -> None:
    for text, limit in (("title pr" + " or title pr" * 1000, "8192"), (f"{'(' * 51}id pr{')' * 51}", "50")):
        answer = scim("GET", "/Users", query_string={"filter": text})
        assert limit in error_of(answer, 400, "invalidFilter")
