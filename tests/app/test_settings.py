"""Settings: read once, checked whole."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app import configure_log, create_app
from app.configuration.settings import BaseSettings, ServerSettings, Settings, SettingsError
from app.protocol.context import system
from app.wiring.base import open_base
from storage.database_url import parse_database_url
from storage.sql.options import Options
from tests.conftest import ScimClient


def test_defaults_need_no_variable() -> None:
    settings = Settings.from_env({})

    assert settings == Settings()
    assert settings.backend[1].location == "sqlite:///data/scim.db"


def test_each_setting_is_of_the_process_or_of_a_base() -> None:
    of_process, of_base = set(ServerSettings.variables()), set(BaseSettings.variables())

    assert not of_process & of_base
    assert of_process | of_base == set(Settings.variables())
    assert {"HOST", "PORT", "WORKERS", "THREADS", "LOGLEVEL", "CELERY_BROKER_URL"} <= of_process


def test_a_base_needs_no_setting_of_the_process(tmp_path: Path) -> None:
    stores = {"sql": Options(database_url=f"sqlite:///{tmp_path}/scim.db")}
    base = open_base(BaseSettings(backends=stores, api_key=("k",), async_request="request"))

    (users,) = (one for one in base.registry.resource_types if one.name == "User")
    stored = base.resources.create(system(), users, {"schemas": [users.schema.id], "userName": "a"})

    assert base.resources.get(system(), users, stored.id).id == stored.id
    base.adapter.close()


def test_every_problem_is_named_at_once() -> None:
    environ = {
        "PORT": "abc",
        "PAGE_SIZE": "0",
        "LOGLEVEL": "LOUD",
        "BASE_PATH": "/a b",
        "LOCATION_STYLE": "absolute",
        "USER_MAPPING": "{",
        "LDAP_HOSTNAME": "ldap.example.org:port",
        "MONGO_DB": "localhost",
        "JUMPCLOUD_URL": "console.jumpcloud.com",
        "FORWARD_SCIM_URL": "ftp://x",
        "IRODS_TLS": "perhaps",
        "REMOTE_TIMEOUT": "0",
        "ASYNC_REQUEST": "soon",
        "EVENT_MODE": "loud",
        "SET_RECEIVERS": "[{}]",
        "SET_FEEDS": "[1]",
        "DATABASE_URL": "oracle://x",
    }

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)

    assert sorted(problem.split(":")[0] for problem in caught.value.problems) == sorted(environ)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DATABASE_POOL_SIZE", "many", "must be a whole number, 1 or more"),
        ("PAGE_SIZE", "1" + "0" * 18, "must be a whole number, 1 or more"),
        ("THREADS", "1.5", "must be a whole number, 1 or more"),
        ("PORT", "http", "must be a port number"),
        ("HOST", "localhost:8000", "must be a name or an address such as 127.0.0.1 or ::1, without a port"),
        ("HOST", "http://h", "must be a name or an address such as 127.0.0.1 or ::1, without a port"),
        ("HOST", "unix:/run/scim", "must be a name or an address such as 127.0.0.1 or ::1, without a port"),
        ("REMOTE_TIMEOUT", "10s", "must be a number of seconds, above 0 and up to 3600"),
        ("SET_POLL_WAIT", "3600.1", "must be a number of seconds, above 0 and up to 3600"),
    ],
)
def test_what_a_number_must_be_is_said(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})

    assert caught.value.problems == [f"{name}: {said}"]


def test_both_spellings_of_the_model_names_are_read() -> None:
    settings = Settings.from_env({"USER_model_name": "myUsers", "GROUP_MODEL_NAME": "myGroups"})

    assert settings.table_names == {"User": "myUsers", "Group": "myGroups"}
    assert settings.backend[1].table_names == settings.table_names


@pytest.mark.parametrize(
    ("name", "other", "text"),
    [
        ("FORWARD_SCIM_KEY", "SCIM_FORWARD_KEY", "hush"),
        ("FORWARD_SCIM_URL", "SCIM_FORWARD_URL", "http://h"),
        ("USER_MODEL_NAME", "USER_model_name", "myUsers"),
        ("GROUP_MODEL_NAME", "GROUP_model_name", "myGroups"),
    ],
)
def test_an_empty_variable_hides_no_other_spelling(name: str, other: str, text: str) -> None:
    settings = Settings.from_env({name: text})

    assert settings != Settings()
    assert Settings.from_env({name: "", other: text}) == settings
    assert Settings.from_env({other: "", name: text}) == settings
    assert Settings.from_env({other: text, name: text}) == settings


def test_spellings_that_differ_stop_the_start(tmp_path: Path) -> None:
    both = "are spellings of one setting and differ; set only one of them"
    environ = {
        "USER_MODEL_NAME": "People",
        "USER_model_name": "myUsers",
        "FORWARD_SCIM_KEY": "hush",
        "SCIM_FORWARD_KEY": "hush hush",
    }

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    with pytest.raises(SettingsError) as of_files:
        Settings.from_env({"FORWARD_SCIM_KEY_FILE": "/a", "SCIM_FORWARD_KEY_FILE": "/b"})

    assert caught.value.problems == [
        f"USER_MODEL_NAME, USER_model_name: {both}",
        f"FORWARD_SCIM_KEY, SCIM_FORWARD_KEY: {both}",
    ]
    assert of_files.value.problems == [f"FORWARD_SCIM_KEY_FILE, SCIM_FORWARD_KEY_FILE: {both}"]


CONTROL = "has a line break or another control character, which no header can have"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("API_KEY", f"a key {CONTROL}; several keys are separated by commas"),
        ("FORWARD_SCIM_KEY", CONTROL),
        ("JUMPCLOUD_KEY", CONTROL),
        ("JUMPCLOUD_ORG_ID", CONTROL),
        ("AUDIT_EXPORT_TOKEN", CONTROL),
    ],
)
@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x7f"])
def test_what_no_header_can_have_stops_the_start(name: str, said: str, character: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: f"hush{character}hush", "STATE_DATABASE_URL": ""})

    assert caught.value.problems == [f"{name}: {said}"]


def test_a_file_has_api_keys_on_lines_that_end_with_commas(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a,\nb\n")
    (tmp_path / "lines").write_text("a\nb\n")

    assert Settings.from_env({"API_KEY_FILE": str(tmp_path / "keys")}).api_key == ("a", "b")
    with pytest.raises(SettingsError, match="API_KEY_FILE: a key has a line break"):
        Settings.from_env({"API_KEY_FILE": str(tmp_path / "lines")})


def test_api_keys_are_separated_by_commas() -> None:
    assert Settings.from_env({"API_KEY": "a, b"}).api_key == ("a", "b", "a, b")
    assert Settings.from_env({"API_KEY": ""}).api_key == ()


@pytest.mark.parametrize(
    ("url", "file"), [("sqlite:///a/b.db", "a/b.db"), ("sqlite:////a/b.db?timeout=1", "/a/b.db")]
)
def test_sqlite_urls(url: str, file: str) -> None:
    assert parse_database_url(Settings.from_env({"DATABASE_URL": url}).backend[1].location).name == file


# A value for each secret that is not just any text, and for what is no secret but may hold one.
PLANTED = {
    "DATABASE_URL": "postgresql://u:hush@h/db",
    "STATE_DATABASE_URL": "mysql://u:hush@h/db",
    "MONGO_DB": "mongodb://u:hush@h/db",
    "SECRET_KEYS": "hush" * 8,
    "AUDIT_EXPORT_URL": "https://u:hush@h/",
    "FIRST_TOKEN": f"scim_{'hush' * 10}1phOeJ",
    "METRICS_TOKEN": "hush" * 4,
    "SET_PUSH_URL": "https://u:hush@h/",
    # Long enough to sign with.
    "SET_SIGNING_SECRET": "hush" * 8,
    "SET_RECEIVERS": '[{"name": "r", "url": "http://u:hush@x/", "token": "hush"}]',
    "RATE_LIMIT_URL": "redis://:hush@h/1",
    "CELERY_BROKER_URL": "redis://:hush@h;amqp://u:hush@h/v",
}
WITH_PASSWORDS = {
    "BASE_URL": "https://u:hush@h",
    "JUMPCLOUD_URL": "https://u:hu@sh:hush@h",
    "FORWARD_SCIM_URL": "https://u:hush@h/v2",
    "LDAP_HOSTNAME": "ldaps://u:hush@h",
}
SECRETS = [name.removesuffix("_FILE") for name in Settings.file_variables()]


def test_secrets_are_not_shown() -> None:
    secrets = {name: PLANTED.get(name, "hush") for name in SECRETS}

    settings = Settings.from_env({**secrets, **WITH_PASSWORDS, "DATA_PATH": "/d"} | {"DATABASE_URL": ""})
    in_database = Settings.from_env({"DATABASE_URL": PLANTED["DATABASE_URL"]})

    assert {"API_KEY", "SCIM_FORWARD_KEY", "IRODS_ADMIN_PASSWORD", "SET_SIGNING_SECRET"} <= set(SECRETS)
    publishing = Settings.from_env({**secrets, "STATE_DATABASE_URL": ""}).publishing
    for shown in (settings.shown(), repr(settings), repr(in_database), repr(publishing)):
        assert "hush" not in shown
    assert "/d" in repr(settings) and "https://***@h" in settings.shown()


def test_secret_keys_are_a_list_without_short_ones() -> None:
    first, second = "a" * 32, "ä" * 32
    settings = Settings.from_env({"SECRET_KEYS": f" {first}, {second},{first},"})

    assert settings.secret_keys == (first, second)
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"SECRET_KEYS": f"{first},{'hush' * 7}hus"})
    assert str(caught.value) == "SECRET_KEYS: each key must have 32 characters or more"


@pytest.fixture
def whole_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of a program with LOGLEVEL=DEBUG; the level of this process is restored at the end."""
    caplog.set_level(logging.DEBUG)
    configure_log(Settings.from_env({"LOGLEVEL": "DEBUG"}))
    return caplog


@pytest.mark.sqlite
def test_secrets_are_not_in_the_log_of_the_start(
    make_scim: Callable[..., ScimClient], whole_log: pytest.LogCaptureFixture
) -> None:
    others = ("DATABASE_URL", "STATE_DATABASE_URL", "MONGO_DB", "CELERY_BROKER_URL")
    secrets = {name: PLANTED.get(name, "hush") for name in SECRETS if name not in others}

    make_scim(**secrets, LOGLEVEL="DEBUG", BASE_URL=WITH_PASSWORDS["BASE_URL"], EMBEDDED_WORKER="false")

    assert "base_url" in whole_log.text and "://***@h" in whole_log.text
    assert "hush" not in whole_log.text


# The beginnings of the names of our loggers.
OURS = {"app", "schema", "scim", "scim_filter", "set_delivery", "storage"}


def test_drivers_log_nothing_of_a_session_whatever_the_level(
    make_scim: Callable[..., ScimClient], whole_log: pytest.LogCaptureFixture
) -> None:
    scim = make_scim(LOGLEVEL="DEBUG", SET_POLL_ENABLED="true", EMBEDDED_WORKER="false")
    email = "babs@example.org"
    user = scim.user("babs", password="t1meMa$heen", emails=[{"value": email, "type": "work"}])
    replace = {"op": "replace", "path": "password", "value": "t1meMa$heen2"}
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [replace]}

    assert scim("PATCH", user["meta"]["location"], body).status_code == 200
    assert scim.names(f'emails.value eq "{email}"') == ["babs"]
    scim("DELETE", user["meta"]["location"])

    assert {record.name.partition(".")[0] for record in whole_log.records} <= OURS
    assert not [text for text in ("$argon2", "t1meMa$heen", email) if text in whole_log.text]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_from_a_file(tmp_path: Path, name: str) -> None:
    text = PLANTED.get(name, "hush")
    (tmp_path / "secret").write_text(f"{text}\r\n")
    # What it needs, and what must not be beside it.
    more = {"DATA_PATH": "/d"} if name != "DATABASE_URL" else {}

    from_file = Settings.from_env({f"{name}_FILE": str(tmp_path / "secret"), name: "", **more})

    assert from_file == Settings.from_env({name: text, **more}) != Settings.from_env(more)


def test_only_the_last_line_break_of_a_file_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" a\n\n")

    settings = Settings.from_env({"LDAP_PASSWORD_FILE": str(tmp_path / "secret")})

    assert settings.backends["ldap"].ldap_password == " a\n"


def test_a_secret_that_is_set_twice_or_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"hush\xff")
    (tmp_path / "wrong").write_text("hush://u:hush@h/hush")
    (tmp_path / "option").write_text("mysql://u:hush@h/db?nope=hush")
    environ = {
        "API_KEY": "hush",
        "API_KEY_FILE": str(tmp_path / "wrong"),
        "LDAP_PASSWORD_FILE": str(tmp_path / "nope"),
        "JUMPCLOUD_KEY_FILE": str(tmp_path),
        "IRODS_ADMIN_PASSWORD_FILE": str(tmp_path / "empty"),
        "SCIM_FORWARD_KEY_FILE": str(tmp_path / "binary"),
        "DATABASE_URL_FILE": str(tmp_path / "wrong"),
        "STATE_DATABASE_URL_FILE": str(tmp_path / "option"),
        "MONGO_DB_FILE": str(tmp_path / "wrong"),
        "SET_PUSH_URL_FILE": str(tmp_path / "wrong"),
        "SET_RECEIVERS_FILE": str(tmp_path / "wrong"),
        "CELERY_BROKER_URL_FILE": str(tmp_path / "wrong"),
    }

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)

    named = {re.split("[:,]", problem)[0] for problem in caught.value.problems}
    assert named >= set(environ) - {"API_KEY_FILE"}
    assert "hush" not in str(caught.value)


def test_a_file_is_no_setting_of_what_is_no_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"PAGE_SIZE_FILE": "/nope", "API_KEY_FILE": "/nope"})

    assert [problem.split(":")[0] for problem in caught.value.problems] == ["API_KEY_FILE"]


@pytest.mark.parametrize(
    ("word", "level"),
    [("warn", "WARNING"), ("WARN", "WARNING"), ("fatal", "CRITICAL"), ("NOTSET", "DEBUG"), ("Info ", "INFO")],
)
def test_the_names_of_levels_are_those_of_python(word: str, level: str) -> None:
    assert Settings.from_env({"LOGLEVEL": word}).loglevel == level


@pytest.mark.parametrize(
    ("words", "value"),
    [(("on", "ON", "On", "yes\n", " true "), True), (("off", "OFF", "Off", "no\n", " false "), False)],
)
def test_flags_have_many_words(words: tuple[str, ...], value: bool) -> None:
    for word in words:
        assert Settings.from_env({"SET_GROUP_AS_FEED": word}).set_group_as_feed is value


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("API_KEY_FLE", "API_KEY_FILE"),
        ("APIKEY", "API_KEY"),
        ("api_key", "API_KEY"),
        ("LOG_LEVEL", "LOGLEVEL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("LDAP_HOST", "LDAP_HOSTNAME"),
        ("LDAP_PASSWORD_FIL", "LDAP_PASSWORD_FILE"),
        ("MONGO_DB_URL", "MONGO_DB"),
        ("DATABASE_URL_PATH", "DATABASE_URL"),
        ("IRODS_PASSWORD", "IRODS_ADMIN_PASSWORD"),
        ("SET_POLL_ENABLE", "SET_POLL_ENABLED"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_warned_of(
    caplog: pytest.LogCaptureFixture, name: str, meant: str
) -> None:
    with caplog.at_level("WARNING"):
        Settings.from_env({name: "hush"})
        Settings.from_env({name: "hush", "LOGLEVEL": "ERROR"})

    assert [record.getMessage() for record in caplog.records] == [
        f"{name} is not a setting and has no effect; did you mean {meant}?"
    ]


@pytest.mark.parametrize("stem", ["PAGE_SIZE", "WORKERS", "BASE_PATH", "PORT", "SET_SIGNING_KEY_FILES"])
def test_a_file_for_what_is_no_secret_is_warned_of(caplog: pytest.LogCaptureFixture, stem: str) -> None:
    with caplog.at_level("WARNING"):
        Settings.from_env({f"{stem}_FILE": "/run/value"})

    assert [record.getMessage() for record in caplog.records] == [
        f"{stem}_FILE is not a setting and has no effect: set {stem}, which is read from no file"
    ]


def test_a_misspelt_variable_is_named_beside_the_problem_that_it_causes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("WARNING"), pytest.raises(SettingsError, match="JUMPCLOUD_KEY: is required"):
        Settings.from_env({"JUMPCLOUD_URL": "https://h", "JUMPCLOUD_KEYS": "hush"})

    assert "JUMPCLOUD_KEYS is not a setting" in caplog.text


@pytest.mark.parametrize(
    ("value", "host"),
    [("[::1]", "::1"), ("::", "::"), (" 127.0.0.1 ", "127.0.0.1"), ("scim.example", "scim.example")],
)
def test_an_address_may_be_written_as_in_a_url(value: str, host: str) -> None:
    assert Settings.from_env({"HOST": value}).host == host


# What shells, containers, Kubernetes, clouds and libraries set; all beside one that is warned of.
FOREIGN = """
    PATH HOME HOSTNAME PWD SHELL USER USERNAME LOGNAME LANG LC_ALL TERM SHLVL TZ TMPDIR PAGER MAIL GROUPS
    HOSTTYPE PROFILEREAD PYTHONPATH PYTHONUNBUFFERED PYTHON_VERSION VIRTUAL_ENV http_proxy NO_PROXY
    SSL_CERT_FILE REQUESTS_CA_BUNDLE SCIM_SERVICE_HOST SCIM_SERVICE_PORT SCIM_SERVICE_PORT_HTTP SCIM_PORT
    SCIM_PORT_80_TCP SCIM_PORT_80_TCP_PROTO SCIM_PORT_80_TCP_PORT SCIM_PORT_80_TCP_ADDR LDAP_SERVICE_HOST
    LDAP_SERVICE_PORT LDAP_PORT LDAP_PORT_389_TCP IRODS_SERVICE_HOST IRODS_PORT_1247_TCP_ADDR
    KUBERNETES_SERVICE_PORT_HTTPS PGHOST PGPORT PGPASSFILE LDAPTLS_CACERT LDAPCONF LDAPBASE LDAPURI
    CELERY_BROKER_READ_URL CELERY_BROKER_WRITE_URL CELERY_RESULT_BACKEND WEB_CONCURRENCY GUNICORN_CMD_ARGS
    UWSGI_WORKERS DYNO REDIS_URL FLASK_APP OTEL_SERVICE_NAME AWS_PROFILE WEBSITE_HOSTNAME
    K_SERVICE VCAP_SERVICES INVOCATION_ID NOTIFY_SOCKET GITHUB_TOKEN OMP_NUM_THREADS DEBIAN_FRONTEND
""".split()


def test_variables_of_the_platform_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    environ = {name: "tcp://10.0.0.1:80" for name in FOREIGN}

    with caplog.at_level("WARNING"):
        Settings.from_env({**environ, "PAGESIZE": "1"})

    assert [record.getMessage().split()[0] for record in caplog.records] == ["PAGESIZE"]


def test_what_kubernetes_sets_for_a_service_called_irods_is_no_setting() -> None:
    assert Settings.from_env({"IRODS_PORT": "tcp://10.0.0.1:1247"}).backends["irods"].irods_port == 1247


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({"LDAP_HOSTNAME": "h", "MONGO_DB": "mongodb://h", "DATA_PATH": "/d"}, "ldap"),
        ({"MONGO_DB": "mongodb://h", "DATABASE_URL": "sqlite:///x"}, "mongo"),
        ({"DATABASE_URL": "sqlite:///x", "JUMPCLOUD_URL": "https://h", "JUMPCLOUD_KEY": "k"}, "sql"),
        ({"JUMPCLOUD_URL": "https://h", "JUMPCLOUD_KEY": "k", "FORWARD_SCIM_URL": "http://h"}, "jumpcloud"),
        ({"SCIM_FORWARD_URL": "http://h/v2", "IRODS_HOST": "h"}, "forward"),
        ({"IRODS_HOST": "h", "DATA_PATH": "/d"}, "irods"),
        ({"DATA_PATH": "/d"}, "files"),
        ({}, "sql"),
    ],
)
def test_the_first_backend_that_has_a_setting_is_used(environ: dict[str, str], chosen: str) -> None:
    assert Settings.from_env(environ).backend[0] == chosen


def test_the_upstream_is_asked_with_its_own_key_or_ours() -> None:
    environ = {"FORWARD_SCIM_URL": "http://h", "API_KEY": "ours"}

    assert Settings.from_env(environ).backend[1].key == "ours"
    assert Settings.from_env({**environ, "FORWARD_SCIM_KEY": "theirs"}).backend[1].key == "theirs"


def test_what_must_survive_lies_beside_the_files() -> None:
    assert Settings.from_env({"DATA_PATH": "/d"}).state_url == "sqlite:////d/.state.db"
    assert Settings.from_env({"IRODS_HOST": "h"}).state_url == "sqlite:///data/state.db"
    given = {"IRODS_HOST": "h", "STATE_DATABASE_URL": "postgresql://h/db"}
    assert Settings.from_env(given).state_url == "postgresql://h/db"


def test_an_application_changes_no_level_of_the_log(tmp_path: Path) -> None:
    """Others in the process have theirs: the program that a process runs chooses it, not they."""
    before = logging.getLogger().level
    for number, level in enumerate(("DEBUG", "CRITICAL")):
        environ = {"LOGLEVEL": level, "DATABASE_URL": f"sqlite:///{tmp_path}/{number}.db"}
        app = create_app(Settings.from_env(environ))
        app.extensions["scim.storage"].close()

        assert logging.getLogger().level == before
