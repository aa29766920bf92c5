"""Named tokens over HTTP: their limits, the User behind /Me, the end of a token, and their secrecy."""

import logging
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.auth.token_text import new_token
from app.auth.tokens import GRACE_S, NamedTokens
from app.configuration.settings import Settings, SettingsError
from app.protocol.audit_log import AuditLog
from app.protocol.job import OperationState
from app.wiring.credentials import open_credentials
from tests.conftest import KEY, USER, ScimClient, error_of
from tests.events import BULK, PATCH_OP, POLL
from tests.servers import PostgresqlServer
from tests.tokens import Client, table_of

pytestmark = pytest.mark.on("sqlite", "postgresql", "mariadb", "files", "ldap", "mongodb")

NOBODY = {"Authorization": ""}
LATER = {"Prefer": "respond-async"}


def named_tokens(scim: ScimClient) -> NamedTokens:
    kinds = scim.app.extensions["scim.base"].credentials.chain._kinds
    found = next(kind for kind in kinds if isinstance(kind, NamedTokens))
    return found


# -- what comes with a token


def test_a_token_opens_as_bearer_token_and_as_x_api_key(scim: ScimClient) -> None:
    client = Client(scim, "hr", "scim.read")

    assert client("GET", "/Users").status_code == 200
    assert client("GET", "/Users", headers={**NOBODY, "x-api-key": client.text}).status_code == 200
    assert "the token is unknown" == error_of(
        client("GET", "/Users", headers={"Authorization": f"Bearer {new_token()}"}), 401
    )


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        (["192.0.2.0/24"], "192.0.2.77", 200),
        (["192.0.2.0/24"], "::ffff:192.0.2.77", 200),
        (["192.0.2.0/24"], "192.0.3.1", 403),
        (["192.0.2.0/24", "2001:db8::/32"], "2001:db8::1", 200),
        (["2001:db8::/32"], "192.0.2.1", 403),
        (["0.0.0.0/0"], "", 403),
        (["0.0.0.0/0"], "no address", 403),
    ],
)
def test_a_token_is_valid_from_its_networks(
    scim: ScimClient, networks: list[str], address: str, status: int
) -> None:
    client = Client(scim, "hr", "scim.read", networks=tuple(map(ip_network, networks)))

    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}
    # A read, and a request that Flask takes.
    for method, path, body in (("GET", "/Users", None), ("POST", "/Users/.search", search)):
        answer = client(method, path, body, environ_overrides={"REMOTE_ADDR": address})
        assert answer.status_code == status
        if status == 403:
            assert "not valid from the address" in error_of(answer, 403)


@pytest.mark.sqlite
def test_a_token_has_a_profile_of_its_own(scim: ScimClient) -> None:
    ann = scim.user("ann")
    body = {"schemas": [PATCH_OP], "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    lenient = Client(scim, "lenient", "scim.read scim.write")
    strict = Client(scim, "strict", "scim.read scim.write", profile="strict")

    assert strict("PATCH", f"/Users/{ann['id']}", body).status_code == 400
    assert lenient("PATCH", f"/Users/{ann['id']}", body).status_code == 200


def test_a_cursor_belongs_to_the_token_that_asked_for_it(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(PAGE_SIZE="1")
    for name in "abc":
        scim.user(name)
    one, other = Client(scim, "one", "scim.read"), Client(scim, "other", "scim.read")
    cursor = one("GET", "/Users?cursor").json["nextCursor"]

    assert one("GET", "/Users", query_string={"cursor": cursor}).status_code == 200
    error_of(other("GET", "/Users", query_string={"cursor": cursor}), 400, "invalidCursor")


def test_the_change_log_has_the_token(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(CHANGE_LOG="on")
    client = Client(scim, "hr", "scim.write")
    client("POST", "/Users", {"schemas": [USER], "userName": "ann"})
    scim.work()

    created, change = scim.app.extensions["scim.delivery"].log.after(0, 10)

    assert (created.entry.kind, created.entry.resource_id) == ("token-create", client.id)
    assert change.entry.principal == client.id
    assert re.fullmatch("hr [0-9a-f]{8}", change.entry.credential)


# -- /Me


def test_me_is_the_user_of_the_token(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    user = scim.user("ann")
    client = Client(scim, "ann", "scim.read scim.write", user=user["id"])
    location = user["meta"]["location"]

    found = client("GET", "/Me")
    assert (found.status_code, found.json) == (200, user)
    assert found.headers["Location"] == location
    known = client("GET", "/Me?attributes=userName", headers={"If-None-Match": found.headers["ETag"]})
    assert (known.status_code, known.headers["Location"]) == (304, location)

    replaced = client("PUT", "/Me", {"schemas": [USER], "userName": "ann", "title": "a"})
    assert (replaced.json["title"], replaced.headers["Location"]) == ("a", location)
    change = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "title", "value": "b"}]}
    patched = client("PATCH", "/Me", change)
    assert (patched.json["title"], patched.headers["Location"]) == ("b", location)
    error_of(client("PATCH", "/Me", change, {"If-Match": found.headers["ETag"]}), 412)

    change["Operations"][0]["value"] = "c"  # type: ignore[index]
    later = client("PATCH", "/Me", change, LATER)
    scim.work()
    assert client("GET", later.headers["Location"]).json["response"]["title"] == "c"

    assert "POST /Me" in error_of(client("POST", "/Me", {"schemas": [USER], "userName": "x"}), 501)
    deleted = client("DELETE", "/Me")
    assert (deleted.status_code, deleted.headers["Location"]) == (204, location)
    error_of(client("GET", "/Me"), 404)
    assert client("GET", "/Users").json["totalResults"] == 0


@pytest.mark.sqlite
def test_me_needs_the_scopes_of_a_user(scim: ScimClient) -> None:
    user = scim.user("ann")["id"]
    group_reader = Client(scim, "groups", "scim.read:Group", user=user)
    reader = Client(scim, "reader", "scim.read:User", user=user)

    assert 'scope="scim.read:User"' in group_reader("GET", "/Me").headers["WWW-Authenticate"]
    assert reader("GET", "/Me").status_code == 200
    assert 'scope="scim.write"' in reader("DELETE", "/Me").headers["WWW-Authenticate"]
    assert "do not represent a user" in error_of(scim("GET", "/Me"), 501)


# -- asynchronous requests


def test_a_result_belongs_to_the_token_also_after_a_rotation(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    owner = Client(scim, "owner", "scim.read scim.write")
    other = Client(scim, "other", "scim.read scim.write")
    location = owner("POST", "/Users", {"schemas": [USER], "userName": "ann"}, LATER).headers["Location"]
    scim.work()

    owner.text = new_token()
    table_of(scim).rotate("owner", owner.text, 0)

    assert owner("GET", location).json["status"] == "201"
    for client in (other, scim):
        error_of(client("GET", location), 404)
        error_of(client("DELETE", location), 404)


def test_a_request_of_a_revoked_token_ends_with_403(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    client = Client(scim, "hr", "scim.write")
    body = {"schemas": [USER], "userName": "ann"}
    operations = [{"method": "POST", "path": "/Users", "bulkId": "1", "data": body}]
    bulk = {"schemas": [BULK], "Operations": operations}
    answers = [client("POST", "/Users", body, LATER), client("POST", "/Bulk", bulk, LATER)]

    client.revoke()
    scim.work()

    jobs = scim.app.extensions["scim.base"].requests.jobs
    for answer in answers:
        assert answer.status_code == 202
        result = jobs.status(answer.headers["Set-Txn"], client.id).result
        assert result["status"] == "403"
        assert "the token hr was revoked" in result["response"]["detail"]
    assert scim.names("userName pr") == []


def test_what_bulk_did_before_the_token_was_revoked_is_in_the_result(
    make_scim: Callable[..., ScimClient],
) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    client = Client(scim, "hr", "scim.write")
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": name, "data": {"schemas": [USER], "userName": name}}
        for name in ("ann", "bob")
    ]
    txn = client("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}, LATER).headers["Set-Txn"]
    jobs = scim.app.extensions["scim.base"].requests.jobs
    database = scim.app.extensions["scim.delivery"].database
    # A process that died had carried out the first one.
    job = jobs.claim("dead")
    done = {"method": "POST", "bulkId": "ann", "status": "201", "location": "/Users/1", "version": 'W/"1"'}
    jobs.note(job, {0: OperationState(done, "1")})
    with database.transaction():
        database.run("UPDATE scim_job SET due_at = 0 WHERE txn = ?", (txn,))

    client.revoke()
    scim.work()

    results = jobs.status(txn, client.id).result["operations"]
    assert [one["status"] for one in results] == ["201", "403"]
    assert scim.names("userName pr") == []


def test_a_request_of_an_expired_or_rotated_token_is_carried_out(
    make_scim: Callable[..., ScimClient],
) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    client = Client(scim, "hr", "scim.write")
    client("POST", "/Users", {"schemas": [USER], "userName": "ann"}, LATER)

    table_of(scim).rotate("hr", new_token(), 0, expires_at=1)
    scim.work()

    assert scim.names("userName pr") == ["ann"]


# -- without the state database


@pytest.mark.on("files")
def test_known_tokens_outlive_the_state_database_for_a_minute(make_scim: Callable[..., ScimClient]) -> None:
    server = PostgresqlServer()
    try:
        scim = make_scim(STATE_DATABASE_URL=server.new_database(), LOGLEVEL="CRITICAL")
        client = Client(scim, "hr", "scim.read")
        assert client("GET", "/Users").status_code == 200
        named = named_tokens(scim)

        server.stop()
        started = named._clock_s()
        named._clock_s = lambda: started + GRACE_S - 5
        assert client("GET", "/Users").status_code == 200
        unknown = client("GET", "/Users", headers={"Authorization": f"Bearer {new_token()}"})
        error_of(unknown, 503)
        assert int(unknown.headers["Retry-After"]) > 0
        assert scim("GET", "/Users").status_code == 200

        named._clock_s = lambda: started + GRACE_S + 5
        error_of(client("GET", "/Users"), 503)

        server.restart()
        assert client("GET", "/Users").status_code == 200
    finally:
        server.remove()


# -- the settings


@pytest.mark.sqlite
def test_the_first_token_comes_from_a_file(make_scim: Callable[..., ScimClient], tmp_path: Path) -> None:
    text = new_token()
    (tmp_path / "token").write_text(f"{text}\n")
    environ = {"FIRST_TOKEN_FILE": str(tmp_path / "token"), "API_KEY_ENABLED": "false", "PROFILE": "strict"}

    for _ in range(2):
        scim = make_scim(**environ)
        answer = scim("GET", "/metrics", headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == 200

    (token,) = table_of(scim).tokens()
    assert (token.chosen.name, token.chosen.profile) == ("first", "strict")
    table_of(scim).revoke("first")
    scim = make_scim(**environ)
    error_of(scim("GET", "/Users", headers={"Authorization": f"Bearer {text}"}), 401)


@pytest.mark.sqlite
def test_a_first_token_that_is_none_is_refused_without_being_shown(backend: object) -> None:
    text = new_token()[:-1]

    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"FIRST_TOKEN": text})

    assert "FIRST_TOKEN: must be a token" in str(refused.value)
    assert text not in str(refused.value)


@pytest.mark.sqlite
def test_a_first_token_needs_a_state_database(scim: ScimClient) -> None:
    resources = scim.app.extensions["scim.base"].resources

    with pytest.raises(SettingsError, match="FIRST_TOKEN: .* set STATE_DATABASE_URL"):
        open_credentials(Settings.from_env({"FIRST_TOKEN": new_token()}), None, resources, AuditLog(None))


@pytest.mark.sqlite
def test_api_keys_can_be_switched_off(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(API_KEY_ENABLED="false", API_KEY="secret")
    operator = Client(scim, "op", "scim.read scim.admin")

    for key in (KEY, "secret"):
        error_of(scim("GET", "/Users", headers={"Authorization": f"Bearer {key}"}), 401)
    assert operator("GET", "/Users").status_code == 200
    (scheme,) = scim("GET", "/ServiceProviderConfig").json["authenticationSchemes"]
    assert (scheme["name"], scheme["type"], scheme["primary"]) == ("Token", "oauthbearertoken", True)
    assert "scim_default_api_key 0" in operator("GET", "/metrics").text
    assert "published default" not in scim("GET", "/docs").text


@pytest.mark.sqlite
def test_both_kinds_are_described(scim: ScimClient) -> None:
    schemes = scim("GET", "/ServiceProviderConfig").json["authenticationSchemes"]

    assert [(one["name"], one["primary"]) for one in schemes] == [("API key", True), ("Token", False)]


@pytest.mark.sqlite
def test_the_default_key_is_warned_of_everywhere(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(API_KEY="secret")

    metrics = scim("GET", "/metrics", headers={"Authorization": "Bearer secret"})
    assert metrics.status_code == 200
    assert "scim_default_api_key 1" in metrics.text
    for path in ("/docs", "/"):
        assert "accepts the published default API key" in scim("GET", path, headers=NOBODY).text


@pytest.mark.sqlite
def test_with_a_key_of_ones_own_nobody_is_warned(scim: ScimClient) -> None:
    assert "scim_default_api_key 0" in scim("GET", "/metrics").text
    assert "published default" not in scim("GET", "/docs").text


# -- secrecy


def test_a_token_is_in_no_log_metric_answer_nor_repr(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first = new_token()
    scim = make_scim(**POLL, ASYNC_REQUEST="request", LOGLEVEL="DEBUG", FIRST_TOKEN=first)
    client = Client(scim, "hr", "scim.read scim.write scim.events scim.admin")
    almost, unknown = client.text[:-1] + "!", new_token()
    texts = [first, client.text, almost, unknown]
    settings = Settings.from_env({"FIRST_TOKEN": first})
    shown = [repr(settings), settings.shown()]

    def ask_everything() -> None:
        for text in texts:
            for headers in ({"Authorization": f"Bearer {text}"}, {**NOBODY, "x-api-key": text}):
                for method, path, body in (
                    ("GET", "/Users", None),
                    ("GET", "/metrics", None),
                    ("GET", "/Events/Feeds/default/Stream", None),
                    ("POST", "/Users", {"schemas": [USER], "userName": ""}),
                    ("POST", "/Users", "no object"),
                    ("GET", "/nowhere", None),
                    ("GET", "/openapi.json", None),
                ):
                    answer = scim(method, path, body, headers)
                    shown.append(f"{answer.text} {answer.headers}")
        bearer = {"Authorization": f"Bearer {first}"}
        scim("POST", "/Users", {"schemas": [USER], "userName": "x"}, {**LATER, **bearer})
        scim.work()

    ask_everything()
    client.revoke()
    ask_everything()
    base = scim.app.extensions["scim.base"]
    shown += [repr(base), repr(vars(named_tokens(scim))), repr(table_of(scim).tokens()), caplog.text]

    assert caplog.text
    for text in texts:
        # Nor the random part, however it is cut out.
        for part in (text, text[5:45], text.encode().hex()):
            assert not any(part in one for one in shown), part[:8]


@pytest.mark.sqlite
def test_an_operator_who_loses_all_tokens_makes_another(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(API_KEY_ENABLED="false")
    lost = Client(scim, "all", "scim.read scim.write scim.events scim.admin")
    lost.revoke()
    error_of(lost("GET", "/Users"), 401)

    found = Client(scim, "all", "scim.read")

    assert found("GET", "/Users").status_code == 200
    assert found.id != lost.id
