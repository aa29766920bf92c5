"""Settings: read once, checked whole."""

import pytest

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
        "LDAP_HOSTNAME": "ldap.example.org",
        "ASYNC_REQUEST": "request",
        "DATABASE_URL": "oracle://x",
    }

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)

    assert sorted(problem.split(":")[0] for problem in caught.value.problems) == sorted(environ)


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
    settings = Settings.from_env({"API_KEY": "hush", "DATABASE_URL": "sqlite:///hush.db"})

    assert "hush" not in settings.shown()
