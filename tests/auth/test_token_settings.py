"""The settings of access tokens: what stops the start, and what it says."""

import json
from pathlib import Path

import pytest

from app.configuration.settings import Settings, SettingsError
from app.wiring.base import load_types

GOOD = {"OIDC_ISSUER": "https://login.example.com", "OIDC_AUDIENCE": "scim"}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("OIDC_ISSUER", "http://login.example.com", "must be https"),
        ("OIDC_ISSUER", "https://", "must be https"),
        ("OIDC_ISSUER", "https://a.example.com,ftp://b.example.com", "must be https"),
        ("OIDC_ISSUER", "https://user:password@login.example.com", "must be https"),
        ("OIDC_ISSUER", "https://login.example.com?x=1", "must be https"),
        ("OIDC_ISSUER", "http://127.0.0.1.example.com", "must be https"),
        ("OIDC_ISSUER", "https://[::1", "must be https"),
        ("OIDC_ALGORITHMS", "none", "must be asymmetric"),
        ("OIDC_ALGORITHMS", "RS256,HS256", "must be asymmetric"),
        ("OIDC_ALGORITHMS", ",", "must be asymmetric"),
        ("OIDC_CLOCK_SKEW", "601", "from 0 to 600"),
        ("OIDC_KEYS_MAX_AGE", "3599", "from 3600 to 2592000"),
        ("OIDC_REQUIRE_AT_JWT", "perhaps", "true or false"),
        ("OIDC_SCOPES", "[]", "must be a JSON object"),
        ("OIDC_SCOPES", '{"x": "scim.read"}', "'x': must be a list"),
        ("OIDC_SCOPES", '{"x": ["scim.read", "scim.delete"]}', "'x': each scope must be"),
        ("OIDC_SCOPES", '{"x": ["scim.read:"]}', "'x': each scope must be"),
        ("OIDC_SCOPES", '{"x": ["scim.events:User"]}', "'x': each scope must be"),
        ("OIDC_SCOPES", '{"x": [1]}', "'x': each scope must be"),
        ("OIDC_USER_ATTRIBUTE", "nickName", "must be one of"),
    ],
)
def test_a_setting_that_cannot_be_stops_the_start(name: str, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({**GOOD, name: text})

    assert [line for line in raised.value.problems if line.startswith(f"{name}: ") and problem in line]


@pytest.mark.parametrize("name", GOOD)
def test_an_issuer_and_an_audience_need_each_other(name: str) -> None:
    with pytest.raises(SettingsError, match="one of them needs the other"):
        Settings.from_env({name: GOOD[name]})


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/realms/x", "http://127.0.0.1:1", "http://[::1]:1", "https://x.example/a/"]
)
def test_an_issuer_is_kept_as_it_is_written(url: str) -> None:
    settings = Settings.from_env({**GOOD, "OIDC_ISSUER": url})

    assert settings.oidc_issuer == (url,)


def test_a_scope_of_an_unknown_resource_type_stops_the_start() -> None:
    settings = Settings.from_env({**GOOD, "OIDC_SCOPES": '{"x": ["scim.read:Printer"]}'})

    with pytest.raises(SettingsError, match="no resource type for the scope scim.read:Printer"):
        load_types(settings)


def test_a_user_claim_without_users_stops_the_start(tmp_path: Path) -> None:
    number = {"name": "number", "type": "string", "multiValued": False, "description": "The number"}
    badge = {"id": "urn:example:Badge", "name": "Badge", "description": "A badge", "attributes": [number]}
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "Badge.json").write_text(json.dumps(badge))
    settings = Settings.from_env({**GOOD, "SCHEMA_PATH": str(tmp_path), "OIDC_USER_CLAIM": "sub"})

    with pytest.raises(SettingsError, match="users do not have the attribute externalId"):
        load_types(settings)
