"""Events as whoever reads a feed sees them (RFC 9967, RFC 8417), on every backend."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from app.configuration.settings import Settings, SettingsError
from tests.conftest import USER, ScimClient, Server, error_of
from tests.events import BULK, ENTERPRISE, EVENT, PATCH_OP, POLL, ask, kinds, patch, payload, pushes, sets
from tests.receivers import HttpReceiver, says_nothing

# -- what is emitted


def test_every_write_is_an_event_with_every_claim(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(SET_ISSUER="https://scim.example.com", SET_AUDIENCE="https://r.example.com", **POLL)
    created = scim("POST", "/Users", {"schemas": [USER], "userName": "a", "externalId": "x"})
    path = f"/Users/{created.json['id']}"
    changed = scim("PUT", path, {"schemas": [USER], "userName": "a", "externalId": "x", "title": "T"})
    patched = patch(scim, path, {"op": "replace", "path": "title", "value": "U"})
    assert scim("DELETE", path).status_code == 204

    found = sets(scim)

    subject = {"format": "scim", "uri": path, "externalId": "x", "id": created.json["id"]}
    for one in found:
        assert set(one) == {"iss", "iat", "jti", "txn", "aud", "sub_id", "events"}
        assert one["iss"] == "https://scim.example.com"
        assert one["aud"] == "https://r.example.com"
        assert one["sub_id"] == subject
        assert abs(one["iat"] - time.time()) < 60
    (uri,) = found[0]["events"]
    assert uri == f"{EVENT}:prov:create:notice"
    assert set(payload(found[0])) == {"version", "attributes"}
    assert payload(found[0])["version"] == created.headers["ETag"]
    assert sorted(payload(found[0])["attributes"]) == ["externalId", "id", "userName"]
    assert [one["events"] for one in found[1:]] == [
        {f"{EVENT}:prov:put:notice": {"version": changed.headers["ETag"], "attributes": ["title"]}},
        {f"{EVENT}:prov:patch:notice": {"version": patched.headers["ETag"], "attributes": ["title"]}},
        {f"{EVENT}:prov:delete": {}},
    ]
    assert len({one["jti"] for one in found}) == len({one["txn"] for one in found}) == 4


def test_full_events_carry_what_a_client_would_see(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(EVENT_MODE="full", **POLL)
    created = scim.user("a", name={"familyName": "F"}, emails=[{"value": "a@x"}])
    path = f"/Users/{created['id']}"
    changed = scim("PUT", path, {"userName": "a", "title": "T", "emails": [{"value": "a@x"}]})
    operations = {"op": "add", "path": "nickName", "value": "N"}, {"op": "remove", "path": "title"}
    patched = patch(scim, path, *operations)

    create, put, patch_event = sets(scim)

    version = created["meta"]["version"]
    assert create["events"] == {f"{EVENT}:prov:create:full": {"version": version, "data": created}}
    version = changed.headers["ETag"]
    assert put["events"] == {f"{EVENT}:prov:put:full": {"version": version, "data": changed.json}}
    (uri,) = patch_event["events"]
    assert uri == f"{EVENT}:prov:patch:full"
    assert payload(patch_event)["version"] == patched.headers["ETag"]
    assert payload(patch_event)["data"]["schemas"] == [PATCH_OP]
    assert sorted(payload(patch_event)["data"]["Operations"], key=str) == [
        {"op": "remove", "path": "title"},
        {"op": "replace", "path": "nickName", "value": "N"},
    ]


def test_the_operations_of_a_full_patch_event_make_the_same_resource(
    make_scim: Callable[..., ScimClient],
) -> None:
    scim = make_scim(EVENT_MODE="full", **POLL)
    first, copy = (scim.user(name, title="T", emails=[{"value": "a@x"}]) for name in "ab")
    path = f"/Users/{first['id']}"
    patch(
        *(scim, path),
        {"op": "add", "path": "emails", "value": [{"value": "b@x", "type": "home"}]},
        {"op": "replace", "path": "name.familyName", "value": "F"},
        {"op": "remove", "path": "title"},
        {"op": "add", "path": f"{ENTERPRISE}:department", "value": "D"},
    )

    patch(scim, f"/Users/{copy['id']}", *payload(sets(scim)[-1])["data"]["Operations"])

    left, right = (scim("GET", f"/Users/{one['id']}").json for one in (first, copy))
    for name in ("emails", "name", "title", ENTERPRISE):
        assert left.get(name) == right.get(name)


def test_paths_of_extensions_are_qualified(polled: ScimClient) -> None:
    user = polled.user("a")
    patch(polled, f"/Users/{user['id']}", {"op": "add", "value": {ENTERPRISE: {"department": "D"}}})

    assert payload(sets(polled)[-1])["attributes"] == [f"{ENTERPRISE}:department"]


def test_activation_is_an_event_of_the_same_transaction(polled: ScimClient) -> None:
    user = polled.user("a", active=True)
    path = f"/Users/{user['id']}"
    patch(polled, path, {"op": "replace", "path": "active", "value": False})
    assert polled("PUT", path, {"userName": "a", "active": True}).status_code == 200

    found = sets(polled)

    assert [kind for kind, _ in kinds(found)] == [
        "prov:create:notice",
        "prov:patch:notice",
        "prov:deactivate",
        "prov:put:notice",
        "prov:activate",
    ]
    assert found[1]["txn"] == found[2]["txn"] != found[3]["txn"] == found[4]["txn"]
    assert payload(found[2]) == payload(found[4]) == {}


def test_what_changes_nothing_is_no_event(polled: ScimClient) -> None:
    user = polled.user("a", title="T", active=True)
    group = polled.group("g", user["id"])
    before = len(sets(polled))
    version = polled("GET", f"/Users/{user['id']}").headers["ETag"]

    patch(polled, f"/Users/{user['id']}", {"op": "replace", "path": "title", "value": "T"})
    polled("PUT", f"/Users/{user['id']}", {"userName": "a", "title": "T", "active": True})
    path, members = f"/Groups/{group['id']}", [{"value": user["id"]}]
    patch(polled, path, {"op": "add", "path": "members", "value": members})
    patch(polled, path, {"op": "remove", "path": 'members[value eq "nobody"]'})
    polled("PUT", path, {"displayName": "g", "members": members})
    error_of(polled("POST", "/Users", {"userName": "a"}), 409, "uniqueness")
    error_of(polled("PUT", f"/Users/{user['id']}", {"title": "U"}), 400, "invalidValue")
    polled("DELETE", f"/Users/{user['id']}", headers={"If-Match": 'W/"other"'})
    polled("DELETE", "/Users/nobody")

    assert len(sets(polled)) == before
    assert polled("GET", f"/Users/{user['id']}").headers["ETag"] == version


def test_a_password_that_is_set_is_an_event(polled: ScimClient) -> None:
    path = f"/Users/{polled.user('a')['id']}"

    patch(polled, path, {"op": "replace", "path": "password", "value": "the-Password-1"})
    polled("PUT", path, {"userName": "a", "password": "the-Password-2"})

    assert [payload(one)["attributes"] for one in sets(polled)[1:]] == [["password"]] * 2


def test_a_secret_is_in_no_event(make_scim: Callable[..., ScimClient], receiver: HttpReceiver) -> None:
    scim = pushes(make_scim, receiver, EVENT_MODE="full", SET_POLL_ENABLED="true")
    user = scim("POST", "/Users", {"userName": "a", "password": "the-Password-1"}).json
    path = f"/Users/{user['id']}"
    scim("PUT", path, {"userName": "a", "title": "T", "password": "the-Password-2"})
    patch(scim, path, {"op": "replace", "path": "password", "value": "the-Password-3"})
    patch(scim, path, {"op": "replace", "value": {"password": "the-Password-4", "nickName": "N"}})
    scim.work()
    scim("DELETE", path)
    scim.work()

    shown = json.dumps(sets(scim)) + "".join(attempt.body.decode() for attempt in receiver.attempts)
    assert len(receiver.attempts) == len(sets(scim)) >= 4
    assert "the-Password" not in shown and "argon2" not in shown


def test_bulk_operations_are_events_of_what_each_did(polled: ScimClient) -> None:
    polled.user("taken")
    answer = polled(
        "POST",
        "/Bulk",
        {
            "schemas": [BULK],
            "Operations": [
                {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": "a"}},
                {"method": "POST", "path": "/Users", "bulkId": "v", "data": {"userName": "taken"}},
                {
                    "method": "POST",
                    "path": "/Groups",
                    "bulkId": "g",
                    "data": {"displayName": "g", "members": [{"value": "bulkId:u"}]},
                },
                {"method": "DELETE", "path": "/Users/nobody"},
            ],
        },
    )
    results = answer.json["Operations"]
    assert [result["status"] for result in results] == ["201", "409", "201", "404"]
    user, group = (f"/{result['location'].split('/', 1)[1]}" for result in (results[0], results[2]))

    found = sets(polled)[1:]

    assert kinds(found) == [
        ("prov:create:notice", user),
        ("prov:create:notice", group),
        ("feed:add", user),
    ]
    assert found[0]["txn"] != found[1]["txn"] == found[2]["txn"]


# -- feeds and memberships


def test_members_join_and_leave_the_feed_of_their_group(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(BASE_URL="https://scim.example.com", **POLL)
    a, b, c = (scim.user(name)["id"] for name in "abc")
    group = scim.group("g", a)["id"]
    patch(scim, f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": b}]})
    patch(scim, f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{a}"]'})
    scim("PUT", f"/Groups/{group}", {"displayName": "g", "members": [{"value": c}]})

    found = sets(scim, group)

    assert kinds(found) == [
        ("prov:create:notice", f"/Groups/{group}"),
        ("feed:add", f"/Users/{a}"),
        ("prov:patch:notice", f"/Groups/{group}"),
        ("feed:add", f"/Users/{b}"),
        ("prov:patch:notice", f"/Groups/{group}"),
        ("feed:remove", f"/Users/{a}"),
        ("prov:put:notice", f"/Groups/{group}"),
        ("feed:remove", f"/Users/{b}"),
        ("feed:add", f"/Users/{c}"),
    ]
    url = f"https://scim.example.com/Events/Feeds/{group}"
    assert all(one["aud"] == url for one in found if kinds([one])[0][0].startswith("feed:"))
    assert payload(found[2])["attributes"] == ["members"]
    assert [kind for kind in kinds(sets(scim)) if kind in kinds(found)] == kinds(found)


def test_the_feed_of_a_group_has_the_events_of_its_members(polled: ScimClient) -> None:
    inside, outside = polled.user("a")["id"], polled.user("b")["id"]
    group = polled.group("g", inside)["id"]
    for user in (inside, outside):
        patch(polled, f"/Users/{user}", {"op": "replace", "path": "title", "value": "T"})

    assert kinds(sets(polled, group))[2:] == [("prov:patch:notice", f"/Users/{inside}")]


def test_without_feeds_for_groups_members_are_no_events(make_scim: Callable[..., ScimClient]) -> None:
    for setting in ("SET_GROUP_AS_FEED", "SET_FEEDS_ENABLED"):
        scim = make_scim(**{setting: "false"}, **POLL)
        before = len(sets(scim))
        user = scim.user(f"a-{setting}")["id"]
        scim.group(f"g-{setting}", user)

        new = kinds(sets(scim)[before:])
        assert [kind for kind, _ in new] == ["prov:create:notice", "prov:create:notice"]


def test_full_group_events_show_members_as_a_response_does(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(EVENT_MODE="full", **POLL)
    a, b = scim.user("a", displayName="A")["id"], scim.user("b", displayName="B")["id"]
    group = scim.group("g", a)
    patch(scim, f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": [{"value": b}]})
    whole = scim("GET", f"/Groups/{group['id']}").json

    by_kind = {kind: payload(one) for one, (kind, _) in zip(sets(scim), kinds(sets(scim)), strict=True)}

    assert by_kind["prov:create:full"]["data"] == group
    (operation,) = by_kind["prov:patch:full"]["data"]["Operations"]
    assert (operation["op"], operation["path"]) == ("add", "members")
    assert operation["value"] == [member for member in whole["members"] if member["value"] == b]


@pytest.mark.sqlite
def test_a_group_of_5000_is_one_row_for_the_request_and_events_in_order_later(polled: ScimClient) -> None:
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": str(number), "data": {"userName": f"u{number}"}}
        for number in range(5000)
    ]
    ids = []
    for start in range(0, 5000, 1000):
        body = {"schemas": [BULK], "Operations": operations[start : start + 1000]}
        results = polled("POST", "/Bulk", body).json["Operations"]
        ids += [result["location"].rpartition("/")[2] for result in results]
    group = polled.group("g")["id"]
    delivery = polled.app.extensions["scim.delivery"]
    delivery.dispatcher.run()

    members = [{"value": user} for user in ids]
    assert polled("PUT", f"/Groups/{group}", {"displayName": "g", "members": members}).status_code == 200

    assert delivery.inventory.waiting() == 1
    polled.work()
    joined = [one.event.subject.resource_id for one in delivery.streams.after(group, None, 10_000).sets]
    assert joined[:2] == [group, group]
    assert joined[2:] == ids
    state = {state.feed: state.held for state in delivery.inventory.feeds()}
    assert state[group] == 5002


# -- discovery


def test_security_events_are_announced_as_they_are_set(make_scim: Callable[..., ScimClient]) -> None:
    def announced(**environ: str) -> Any:
        config = make_scim(EMBEDDED_WORKER="false", **environ)("GET", "/ServiceProviderConfig").json
        return config.get("securityEvents")

    assert announced() is None
    notice = announced(SET_POLL_ENABLED="true")
    assert notice["asyncRequest"] == "none"
    assert notice["eventUris"] == [
        f"{EVENT}:{kind}"
        for kind in (
            "prov:create:notice",
            "prov:put:notice",
            "prov:patch:notice",
            "prov:delete",
            "prov:activate",
            "prov:deactivate",
            "feed:add",
            "feed:remove",
        )
    ]
    assert notice["feeds"] == ["/Events/Feeds/default"]
    full = announced(SET_POLL_ENABLED="true", EVENT_MODE="full", SET_FEEDS_ENABLED="false", SET_FEEDS="a,b")
    assert f"{EVENT}:prov:create:full" in full["eventUris"]
    assert f"{EVENT}:feed:add" not in full["eventUris"]
    assert full["feeds"] == ["/Events/Feeds/a", "/Events/Feeds/b"]


def test_feeds_are_listed_with_their_members(make_scim: Callable[..., ScimClient]) -> None:
    feeds = '[{"id": "default", "displayName": "All"}, {"id": "hr", "displayName": "HR"}]'
    scim = make_scim(SET_FEEDS=feeds, BASE_URL="https://scim.example.com", **POLL)
    user = scim.user("a")["id"]
    group = scim.group("g", user)["id"]

    body = scim("GET", "/Events/Feeds").json
    shown = scim("GET", f"/Events/Feeds/{group}").json

    assert (body["totalResults"], body["startIndex"], body["itemsPerPage"]) == (3, 1, 3)
    assert [feed["id"] for feed in body["Resources"]] == ["default", "hr", group]
    assert [feed["displayName"] for feed in body["Resources"]][1:] == ["HR", "g"]
    assert shown["uri"] == f"https://scim.example.com/Events/Feeds/{group}"
    assert shown["relativeUri"] == f"/Events/Feeds/{group}"
    assert shown["poll"] == {"supported": True, "stream": f"/Events/Feeds/{group}/Stream"}
    assert [uri.removeprefix("https://scim.example.com") for uri in shown["members"]] == [f"/Users/{user}"]
    everything = scim("GET", "/Events/Feeds/hr").json["members"]
    assert {uri.removeprefix("https://scim.example.com") for uri in everything} == {
        f"/Users/{user}",
        f"/Groups/{group}",
    }
    page = scim("GET", "/Events/Feeds", query_string={"startIndex": 3, "count": 1}).json
    assert [feed["id"] for feed in page["Resources"]] == [group]


def test_feeds_and_figures_need_credentials(polled: ScimClient) -> None:
    for path in ("/Events/Feeds", "/Events/Feeds/default", "/Events/Feeds/default/Stream", "/metrics"):
        error_of(polled("GET", path, headers={"Authorization": ""}), 401)
    error_of(polled("POST", "/Events/Feeds/default/Stream", {}, headers={"Authorization": ""}), 401)


# -- defects of HarryKodden/scim that do not exist here


@pytest.mark.sqlite
def test_a_receiver_that_hangs_slows_no_request(
    serve: Callable[..., Server], receiver: HttpReceiver
) -> None:
    receiver.behaviour = says_nothing
    server = serve(SET_PUSH_URL=receiver.url, WORKERS="1", LOGLEVEL="CRITICAL")
    server("POST", "/Users", json={"userName": "first"})
    assert receiver.wait_for(lambda: bool(receiver.attempts))

    slowest = 0.0
    for number in range(10):
        started = time.monotonic()
        assert server("POST", "/Users", json={"userName": f"u{number}"}).status_code == 201
        assert server("GET", "/health").status_code == 200
        slowest = max(slowest, time.monotonic() - started)

    assert slowest < 3
    assert len(receiver.attempts) == 1


@pytest.mark.sqlite
def test_events_and_feeds_survive_a_restart(serve: Callable[..., Server]) -> None:
    server = serve(SET_POLL_ENABLED="true", LOGLEVEL="ERROR")
    user = server("POST", "/Users", json={"userName": "a"}).json()["id"]
    group = server("POST", "/Groups", json={"displayName": "g", "members": [{"value": user}]}).json()["id"]
    path = f"/Events/Feeds/{group}"
    before = server("GET", f"{path}/Stream").json()["sets"]

    server.kill()
    server.start()

    assert server("GET", f"{path}/Stream").json()["sets"] == before
    assert len(server("GET", path).json()["members"]) == 1
    server("PUT", f"/Groups/{group}", json={"displayName": "g"})
    after = server("GET", f"{path}/Stream", params={"after": before[-1]["jti"]}).json()["sets"]
    assert kinds(after) == [("prov:put:notice", f"/Groups/{group}"), ("feed:remove", f"/Users/{user}")]


def test_every_process_sees_the_same_stream(serve: Callable[..., Server]) -> None:
    server = serve(SET_POLL_ENABLED="true", WORKERS="3", LOGLEVEL="ERROR")
    ids = [server("POST", "/Users", json={"userName": f"u{number}"}).json()["id"] for number in range(30)]

    # A connection each, so that another process may answer.
    seen = [server("GET", "/Events/Feeds/default/Stream").json()["sets"] for _ in range(10)]

    assert all(found == seen[0] for found in seen)
    assert Counter(one["sub_id"]["id"] for one in seen[0]) == Counter(ids)


def test_deleting_a_user_makes_no_feed_remove_and_shares_one_transaction(polled: ScimClient) -> None:
    user = polled.user("a")["id"]
    groups = [polled.group(name, user)["id"] for name in "gh"]
    before = len(sets(polled))

    assert polled("DELETE", f"/Users/{user}").status_code == 204

    found = sets(polled)[before:]
    assert sorted(kinds(found)) == sorted(
        [
            *(("prov:patch:notice", f"/Groups/{group}") for group in groups),
            ("prov:delete", f"/Users/{user}"),
        ]
    )
    assert len({one["txn"] for one in found}) == 1
    for one in (one for one in found if "prov:delete" not in str(one["events"])):
        path = one["sub_id"]["uri"]
        assert payload(one) == {"version": polled("GET", path).headers["ETag"], "attributes": ["members"]}
    # The groups' feeds learn of it all the same.
    assert ("prov:delete", f"/Users/{user}") in kinds(sets(polled, groups[0]))


def test_leaving_active_out_is_no_activation(polled: ScimClient) -> None:
    user = polled.user("a", active=True)["id"]

    polled("PUT", f"/Users/{user}", {"userName": "a", "title": "T"})

    assert [kind for kind, _ in kinds(sets(polled))] == ["prov:create:notice", "prov:put:notice"]


def test_a_signed_set_has_its_type_when_pushed_and_when_polled(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver
) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    scim = pushes(make_scim, receiver, SET_SIGNING_SECRET=secret, SET_POLL_ENABLED="true")
    scim.user("a")
    scim.work()

    key = OctKey.import_key(secret)
    (polled_text,) = ask(scim, {})["sets"].values()
    for text in (receiver.attempts[0].body.decode(), polled_text):
        assert jwt.decode(text, key, algorithms=["HS256"]).header["typ"] == "secevent+jwt"
    error_of(scim("GET", "/Events/Feeds/default/Stream?after=nope"), 410)


def test_a_receiver_without_tls_is_refused_at_the_start() -> None:
    environ = {"SET_PUSH_REQUIRE_TLS": "true", "SET_PUSH_URL": "http://receiver.example.com"}
    with pytest.raises(SettingsError, match="SET_PUSH_REQUIRE_TLS"):
        Settings.from_env(environ)
    Settings.from_env({**environ, "SET_PUSH_URL": "https://receiver.example.com"})


def test_a_feed_that_does_not_exist_is_404(polled: ScimClient) -> None:
    user = polled.user("a")["id"]
    for feed in ("nope", user, "..", "%00", "' OR 1=1 --"):
        error_of(polled("GET", f"/Events/Feeds/{feed}"), 404)
        error_of(polled("GET", f"/Events/Feeds/{feed}/Stream"), 404)
        error_of(polled("POST", f"/Events/Feeds/{feed}/Stream", {}), 404)
