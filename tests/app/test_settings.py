"""Settings: read once, checked whole."""

import logging
from pathlib import Path

import pytest

from app import create_app
from app.settings import Settings, SettingsError
from storage.database_url import parse_database_url


def test_defaults_need_no_variable() -> None:
    settings = Settings.from_env({})

    assert settings == Settings()
    assert settings.storage[1]["url"] == "sqlite:///data/scim.db"


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


def test_api_keys_are_separated_by_commas() -> None:
    assert Settings.from_env({"API_KEY": "a, b"}).api_key == ("a", "b", "a, b")
    assert Settings.from_env({"API_KEY": ""}).api_key == ()


@pytest.mark.parametrize(
    ("url", "file"), [("sqlite:///a/b.db", "a/b.db"), ("sqlite:////a/b.db?timeout=1", "/a/b.db")]
)
def test_sqlite_urls(url: str, file: str) -> None:
    assert parse_database_url(Settings.from_env({"DATABASE_URL": url}).database_url).name == file


def test_secrets_are_not_shown() -> None:
    secrets = {
        "API_KEY": "hush",
        "DATABASE_URL": "sqlite:///hush.db",
        "MONGO_DB": "mongodb://u:hush@h/db",
        "LDAP_PASSWORD": "hush",
        "JUMPCLOUD_KEY": "hush",
        "SCIM_FORWARD_KEY": "hush",
        "IRODS_ADMIN_PASSWORD": "hush",
        "SET_PUSH_TOKEN": "hush",
        "SET_SIGNING_SECRET": "hush",
        "SET_RECEIVERS": '[{"url": "http://x/", "token": "hush"}]',
    }

    settings = Settings.from_env(secrets)

    assert "hush" not in settings.shown()
    assert "hush" not in repr(settings.publishing)


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
    assert Settings.from_env(environ).storage[0] == chosen


def test_the_upstream_is_asked_with_its_own_key_or_ours() -> None:
    environ = {"FORWARD_SCIM_URL": "http://h", "API_KEY": "ours"}

    assert Settings.from_env(environ).storage[1]["key"] == "ours"
    assert Settings.from_env({**environ, "FORWARD_SCIM_KEY": "theirs"}).storage[1]["key"] == "theirs"


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
