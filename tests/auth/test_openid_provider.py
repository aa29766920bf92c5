"""Access tokens of Canaille, an OpenID provider: for clients (RFC 9068) and for users."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.auth.issuers import AUDIENCE, rsa_key
from tests.auth.provider import GROUP, Canaille
from tests.conftest import USER, ScimClient, Server, error_of

SCOPES = {
    "scim.read": ["scim.read"],
    "scim.write": ["scim.write"],
    GROUP: ["scim.read", "scim.write", "scim.events", "scim.admin"],
}


@pytest.fixture
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaille]:
    started = Canaille(tmp_path_factory.mktemp("canaille"), rsa_key("first"))
    yield started
    started.stop()


def settings_for(provider: Canaille) -> dict[str, str]:
    return {
        "OIDC_ISSUER": provider.url,
        "OIDC_AUDIENCE": f"{AUDIENCE},{provider.client_id}",
        "OIDC_SCOPE_CLAIM": "scope,groups",
        "OIDC_SCOPES": json.dumps(SCOPES),
        "OIDC_USER_CLAIM": "sub",
        "OIDC_USER_ATTRIBUTE": "userName",
    }


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.sqlite
def test_a_client_reads_and_writes_with_the_scopes_that_it_got(
    make_scim: Callable[..., ScimClient], provider: Canaille
) -> None:
    scim = make_scim(**settings_for(provider))
    both, read = provider.token("scim.read scim.write"), provider.token("scim.read")

    created = scim("POST", "/Users", {"schemas": [USER], "userName": "a"}, headers=bearer(both))

    assert created.status_code == 201
    path = f"/Users/{created.json['id']}"
    assert scim("GET", path, headers=bearer(read)).json == created.json
    error_of(scim("DELETE", path, headers=bearer(read)), 403)
    error_of(scim("GET", "/Users", headers=bearer(provider.token("profile"))), 403)


@pytest.mark.sqlite
def test_a_user_acts_by_the_groups_of_the_user(
    make_scim: Callable[..., ScimClient], provider: Canaille
) -> None:
    scim = make_scim(**settings_for(provider))
    user, token = scim.user("bjensen"), provider.token_of_user()

    assert scim("DELETE", f"/Users/{scim.user('b')['id']}", headers=bearer(token)).status_code == 204
    assert scim("GET", "/Me", headers=bearer(token)).json == user
    error_of(scim("GET", "/Me", headers=bearer(provider.token("scim.read"))), 501)


@pytest.mark.sqlite
def test_a_server_goes_on_while_the_provider_is_down(
    serve: Callable[..., Server], provider: Canaille
) -> None:
    server = serve(**settings_for(provider), WORKERS="1")
    first, second = provider.token("scim.read"), provider.token("scim.read")
    assert server("GET", "/Users", headers=bearer(first)).status_code == 200

    provider.stop()

    assert server("GET", "/Users", headers=bearer(first)).status_code == 200
    assert server("GET", "/Users", headers=bearer(second)).status_code == 200


@pytest.mark.sqlite
def test_keys_of_the_provider_are_followed(
    make_scim: Callable[..., ScimClient], provider: Canaille, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.auth.issuer.FLOOR_S", 0.0)
    scim = make_scim(**settings_for(provider))

    def status(token: str) -> int:
        code: int = scim("GET", "/Users", headers=bearer(token)).status_code
        return code

    first = provider.token("scim.read")
    assert status(first) == 200

    provider.stop()
    provider.start(rsa_key("second", 1), rsa_key("first"))
    second = provider.token("scim.read")
    assert [status(second), status(first)] == [200, 200]

    provider.stop()
    provider.start(rsa_key("third", 2))
    third = provider.token("scim.read")
    assert [status(third), status(second), status(first)] == [200, 401, 401]
