"""The audit trail over HTTP: reads of single resources, and the export to a collector."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import orjson
import pytest
import requests
from click.testing import CliRunner

from app.cli import main
from app.configuration.settings import Settings, SettingsError
from app.protocol.context import system
from tests.conftest import KEY, ScimClient, Server
from tests.events import POLL, sets
from tests.receivers import HttpReceiver, answers, hangs_up
from tests.tokens import Client

Make = Callable[..., ScimClient]
READS = {"CHANGE_LOG": "on", "EMBEDDED_WORKER": "false", "AUDIT_READS": "true"}
TOKEN = "token-of-the-collector"


@pytest.fixture
def receiver() -> Any:
    listening = HttpReceiver()
    yield listening
    listening.stop()


def rows(scim: ScimClient) -> list[tuple[str, str, str]]:
    """Return kind, type and id of each row, after a look at whether the log verifies."""
    delivery = scim.app.extensions["scim.delivery"]
    delivery.dispatcher.run()
    assert delivery.order.verify() == []
    entries = [one.entry for one in delivery.log.after(0, 1000)]
    return [(one.kind, one.resource_type, one.resource_id) for one in entries]


def posted(receiver: HttpReceiver) -> list[Any]:
    lines = [line for attempt in receiver.attempts for line in attempt.body.splitlines()]
    return [orjson.loads(line) for line in lines]


def test_reads_of_single_resources_are_rows(make_scim: Make) -> None:
    scim = make_scim(**READS, SET_POLL_ENABLED="true")
    ann = scim.user("ann")
    group = scim.group("team")["id"]
    path, version = f"/Users/{ann['id']}", {"If-None-Match": ann["meta"]["version"]}
    assert scim("GET", path).status_code == 200
    assert scim("GET", path, headers={**version, "X-Request-ID": "r-1"}).status_code == 304
    assert scim("GET", f"/Groups/{group}?attributes=displayName").status_code == 200
    for other in ("/Users/unknown", "/Users", '/Users?filter=userName eq "ann"', f"/Events/Feeds/{group}"):
        scim("GET", other)
    scim("GET", path, headers={"Authorization": "Bearer wrong"})

    assert rows(scim)[2:] == [
        ("read", "User", ann["id"]),
        ("read", "User", ann["id"]),
        ("read", "Group", group),
    ]
    entry = scim.app.extensions["scim.delivery"].log.after(3, 1)[0].entry
    assert (entry.address, entry.origin, entry.request_id) == ("127.0.0.1", "rest", "r-1")
    assert entry.principal and entry.principal == entry.credential
    assert len(sets(scim)) == 2


def test_reads_are_not_logged_unless_asked(make_scim: Make) -> None:
    scim = make_scim(**{**READS, "AUDIT_READS": "false"})
    ann = scim.user("ann")["id"]
    scim("GET", f"/Users/{ann}")

    assert rows(scim) == [("create", "User", ann)]


@pytest.mark.on("sqlite", "files", "postgresql")
def test_a_read_that_was_answered_has_its_row_after_a_kill(
    serve: Callable[..., Server], make_scim: Make
) -> None:
    server = serve(**READS)
    ann = server("POST", "/Users", json={"schemas": [], "userName": "ann"}).json()["id"]
    assert server("GET", f"/Users/{ann}").status_code == 200
    server.kill()

    assert rows(make_scim(**READS))[1:] == [("read", "User", ann)]


@pytest.mark.on("sqlite", "postgresql", "mariadb")
def test_other_parts_append_rows_with_details_in_their_transaction(make_scim: Make) -> None:
    scim = make_scim(CHANGE_LOG="on", EMBEDDED_WORKER="false")
    delivery = scim.app.extensions["scim.delivery"]
    audit = delivery.audit.log
    audit.append(system(), "token-create", ("Token", "hr"), {"scopes": ["scim.read"]})
    with pytest.raises(ZeroDivisionError), delivery.database.transaction():
        audit.append(system(), "token-revoke", ("Token", "hr"))
        raise ZeroDivisionError

    assert rows(scim) == [("token-create", "Token", "hr")]
    (row,) = delivery.log.of_resource("Token", "hr")
    assert row.after == '{"scopes":["scim.read"]}' and row.entry.principal == "system"


@pytest.mark.on("sqlite", "postgresql", "mariadb", "ldap")
def test_changes_of_tokens_are_rows(
    make_scim: Make, backend: Callable[[set[str]], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"CHANGE_LOG": "on", "EMBEDDED_WORKER": "false"}
    for name, value in {"API_KEY": KEY, "LOGLEVEL": "ERROR", **backend(set()), **environ}.items():
        monkeypatch.setenv(name, value)
    scim = make_scim(**environ)

    def run(*words: str) -> str:
        done = CliRunner().invoke(main, ["token", *words])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    first = run("create", "hr", "--scope", "scim.read", "--from", "192.0.2.0/24", "--rate", "25/s")
    assert CliRunner().invoke(main, ["token", "create", "hr"]).exit_code == 1
    second = run("rotate", "hr", "--overlap", "1h")
    run("revoke", "hr")

    found = rows(scim)
    assert [kind for kind, _, _ in found] == ["token-create", "token-rotate", "token-revoke"]
    assert len({subject[1:] for subject in found}) == 1 and found[0][1] == "Token"
    assert found[0][2].startswith("token hr ")
    delivery = scim.app.extensions["scim.delivery"]
    created, rotated, revoked = delivery.log.after(0, 9)
    assert (created.entry.principal, created.entry.origin) == ("system", "system")
    assert orjson.loads(created.after)["scopes"] == ["scim.read"]
    assert orjson.loads(created.after)["networks"] == ["192.0.2.0/24"]
    assert orjson.loads(created.after)["rate"] == "25/s"
    assert orjson.loads(rotated.after)["earlierSecretsEnd"] > "20" and revoked.after is None
    tables = ("scim_change", "scim_change_value")
    cells = str([delivery.database.rows(f"SELECT * FROM {table}") for table in tables])
    assert first not in cells and second not in cells


@pytest.mark.on("sqlite", "postgresql")
def test_a_token_from_a_wrong_network_is_a_failed_login(make_scim: Make) -> None:
    scim = make_scim(CHANGE_LOG="on", EMBEDDED_WORKER="false")
    client = Client(scim, "hr", "scim.read", networks=(ip_network("192.0.2.0/24"),))
    assert client("GET", "/Users").status_code == 403
    scim.app.extensions["scim.delivery"].audit.failed_logins.write()

    assert rows(scim)[-1] == ("login-failed", "", "")


def test_rows_are_sent_to_a_collector(make_scim: Make, receiver: HttpReceiver) -> None:
    export = {"AUDIT_EXPORT_URL": receiver.url, "AUDIT_EXPORT_TOKEN": TOKEN}
    scim = make_scim(CHANGE_LOG="on", **POLL, **export, AUDIT_VALUES="values")
    receiver.first = [answers(503)]
    ann = scim.user("ann", password="correct-horse")["id"]
    scim.work()
    assert "\nscim_audit_export_failures 1.0\n" in scim("GET", "/metrics").text
    database = scim.app.extensions["scim.delivery"].database
    with database.transaction():
        # As after the pause.
        database.run("UPDATE scim_export SET due_at = 0")
    scim("DELETE", f"/Users/{ann}")
    scim.work()
    scim.work()

    assert [(one["position"], one["kind"]) for one in posted(receiver)] == [
        *[(1, "create")],
        *[(1, "create"), (2, "delete")],
    ]
    assert posted(receiver)[0]["after"] == {"userName": "ann"}
    assert receiver.attempts[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert "correct-horse" not in str(receiver.attempts)


@pytest.mark.on("sqlite")
def test_rows_that_a_collector_lacks_outlast_their_retention(
    make_scim: Make, receiver: HttpReceiver
) -> None:
    scim = make_scim(CHANGE_LOG="on", **POLL, AUDIT_EXPORT_URL=receiver.url, CHANGE_RETENTION="60")
    delivery = scim.app.extensions["scim.delivery"]
    for at in (1000, 2000):
        delivery.audit.log.append(system(), "token-create", ("Token", "hr"), at=at)
    delivery.dispatcher.run()
    receiver.behaviour = answers(500)
    delivery.audit.export.run()
    delivery.expire()
    assert len(rows(scim)) == 2
    receiver.behaviour = answers(204)
    with delivery.database.transaction():
        delivery.database.run("UPDATE scim_export SET due_at = 0")
        delivery.database.run("DELETE FROM scim_lease WHERE name = 'retention'")
    assert delivery.audit.export.run() == 2
    delivery.expire()

    assert rows(scim) == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "setting", [{"AUDIT_READS": "true"}, {"AUDIT_EXPORT_URL": "https://collector.example.com/"}]
)
def test_without_a_log_the_settings_stop_the_start(make_scim: Make, setting: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(setting))}: needs the change log"):
        make_scim(CHANGE_LOG="off", **setting)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"AUDIT_EXPORT_URL": "syslog://host"}, "AUDIT_EXPORT_URL: must be a URL such as https://host/audit"),
        ({"AUDIT_EXPORT_URL": "syslog+tcp://:514"}, "AUDIT_EXPORT_URL: must be a URL such as"),
        ({"AUDIT_EXPORT_TOKEN": "tökén"}, "AUDIT_EXPORT_TOKEN: must be printable ASCII"),
        ({"AUDIT_VALUES": "all"}, "AUDIT_VALUES: must be one of none, names, values"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(setting: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"API_KEY": KEY, **setting})

    assert said in str(caught.value) and "tökén" not in str(caught.value)


def test_the_secrets_of_the_export_are_not_shown() -> None:
    url = "https://user:password-of-url@collector.example.com/"
    settings = Settings.from_env({"API_KEY": KEY, "AUDIT_EXPORT_URL": url, "AUDIT_EXPORT_TOKEN": TOKEN})

    shown = f"{settings!r} {settings.shown()}"
    assert "password-of-url" not in shown and TOKEN not in shown


@pytest.mark.on("sqlite", "postgresql")
def test_a_server_that_is_killed_while_it_sends_leaves_no_gap(
    serve: Callable[..., Server], receiver: HttpReceiver
) -> None:
    def kills(handler: Any) -> None:
        server.kill()
        hangs_up(handler)

    server = serve(CHANGE_LOG="on", AUDIT_EXPORT_URL=receiver.url, WORKERS="2", LOGLEVEL="CRITICAL")
    receiver.first = [answers(204), kills]
    count = 0
    while server.process.poll() is None and count < 1000:
        try:
            created = server("POST", "/Users", json={"schemas": [], "userName": f"u{count}"})
        except requests.RequestException:
            break
        count += created.status_code == 201
    server.process.wait()
    server.start()
    assert server("POST", "/Users", json={"schemas": [], "userName": "last"}).status_code == 201

    def positions() -> list[int]:
        return [one["position"] for one in posted(receiver)]

    # A request without an answer may have been carried out.
    assert receiver.wait_for(lambda: len(set(positions())) > count, 90)
    latest = 0
    for position in positions():
        assert position <= latest + 1, "a gap"
        latest = max(latest, position)
    assert len(positions()) > len(set(positions())), "what the dead process sent comes again"
