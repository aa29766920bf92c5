"""Who may come in (RFC 7644 section 2)."""

from collections.abc import Callable

import pytest

from tests.conftest import KEY, ScimClient, error_of

NOBODY = {"Authorization": ""}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
        {**NOBODY, "x-api-key": KEY},
    ],
)
def test_the_key_opens_as_bearer_token_and_as_x_api_key(scim: ScimClient, headers: dict[str, str]) -> None:
    assert scim("GET", "/Users", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        NOBODY,
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {**NOBODY, "x-api-key": "wrong"},
        {**NOBODY, "x-api-key": " "},
        {"Authorization": "Bearer \u00e9\u00ff"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/Users"), ("POST", "/Users"), ("PUT", "/Users/x"), ("DELETE", "/Groups/x")]
)
def test_anything_else_is_told_how_to_come_in(
    scim: ScimClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = scim(method, path, headers=headers, data="{}")

    error_of(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        (NOBODY, 'Bearer realm="SCIM"'),
        ({"Authorization": "Bearer"}, 'Bearer realm="SCIM"'),
        ({"Authorization": "Bearer wrong"}, 'Bearer realm="SCIM", error="invalid_token"'),
        ({**NOBODY, "x-api-key": "wrong"}, 'Bearer realm="SCIM", error="invalid_token"'),
    ],
)
def test_only_a_token_is_called_invalid(scim: ScimClient, headers: dict[str, str], challenge: str) -> None:
    """RFC 6750 section 3: a request without credentials is told no error."""
    answer = scim("GET", "/Users", headers=headers)

    error_of(answer, 401)
    assert answer.headers["WWW-Authenticate"] == challenge


def test_an_empty_key_opens_to_nobody(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(API_KEY="")

    for headers in (NOBODY, {"Authorization": "Bearer "}, {"Authorization": "Bearer secret"}):
        error_of(scim("GET", "/Users", headers=headers), 401)


def test_each_of_several_keys_opens(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(API_KEY="one,two, d\u00e9j\u00e0")

    for key in ("one", "two", "d\u00e9j\u00e0".encode().decode("latin-1")):
        assert scim("GET", "/Users", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_the_default_key_is_warned_of(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    make_scim(API_KEY="secret", LOGLEVEL="WARNING")

    assert "API_KEY IS THE PUBLISHED DEFAULT" in caplog.text


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/health", "/health/ready", "/Schemas"])
def test_what_everybody_may_see(scim: ScimClient, path: str) -> None:
    assert scim("GET", path, headers=NOBODY).status_code == 200
