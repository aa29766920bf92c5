"""From claims to principals and scopes: the tokens of real issuers, by their documentation."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from app.auth.claims import ClaimRules, principal_of
from app.edge.guard import current_context
from app.protocol.context import Principal
from app.protocol.errors import InvalidToken
from tests.auth.issuers import AUDIENCE, HttpIssuer
from tests.conftest import USER, ScimClient, error_of

ISSUER = "https://login.example.com"
SAME = {scope: frozenset({scope}) for scope in ("scim.read", "scim.write", "scim.read:User")}
CLAIMS = ("scope", "scp", "roles", "permissions")

# Claims of tokens as the issuers document them, and the name and scopes of their principals.
REAL: dict[str, tuple[Mapping[str, Any], str, set[str]]] = {
    "RFC 9068": (
        {"sub": "5ba552d67", "client_id": "s6BhdRkqt3", "scope": "openid scim.read scim.write"},
        "5ba552d67",
        {"scim.read", "scim.write"},
    ),
    "Entra ID, application": (
        {"sub": "0b0c", "oid": "0b0c", "azp": "11aa", "roles": ["scim.read", "Other.All"], "ver": "2.0"},
        "0b0c",
        {"scim.read"},
    ),
    "Entra ID, user": (
        {"sub": "AAAA", "oid": "77cc", "azp": "11aa", "scp": "scim.read:User", "roles": ["scim.write"]},
        "AAAA",
        {"scim.read:User"},
    ),
    "Keycloak": (
        {"sub": "5f6d", "azp": "prov", "typ": "Bearer", "scope": "profile email scim.read", "acr": "1"},
        "5f6d",
        {"scim.read"},
    ),
    "Okta": ({"sub": "0oa1", "cid": "0oa1", "scp": ["scim.read", "x"]}, "0oa1", {"scim.read"}),
    "Okta without a subject": ({"cid": "0oa1", "scp": ["scim.read"]}, "0oa1", {"scim.read"}),
    "Auth0": ({"sub": "x@clients", "azp": "x", "permissions": ["scim.read"]}, "x@clients", {"scim.read"}),
    "no scopes": ({"sub": "a"}, "a", set()),
    "an empty scope": ({"sub": "a", "scope": "", "roles": ["scim.write"]}, "a", set()),
}


@pytest.mark.parametrize("name", REAL)
def test_tokens_of_real_issuers(name: str) -> None:
    claims, principal, scopes = REAL[name]

    found = principal_of({"iss": ISSUER, **claims}, ClaimRules(CLAIMS, SAME))

    assert found == Principal(
        f"{ISSUER}|{principal}", principal, "access-token", frozenset(scopes), "access-token"
    )


def test_scopes_of_the_issuer_are_mapped() -> None:
    scopes = {"prov": frozenset({"scim.read", "scim.write"}), "help": frozenset({"scim.read:User"})}
    claims = {"iss": ISSUER, "sub": "a", "realm_access": {"roles": ["prov", "help", "scim.admin", "x"]}}

    found = principal_of(claims, ClaimRules(("realm_access.roles",), scopes))

    assert found.scopes == {"scim.read", "scim.write", "scim.read:User"}


def test_a_claim_with_dots_in_its_name_comes_before_a_path() -> None:
    name = "https://example.com/roles"
    claims = {"iss": ISSUER, "sub": "a", name: ["scim.read"], "a.b": "scim.write", "a": {"b": "x"}}

    assert principal_of(claims, ClaimRules((name,), SAME)).scopes == {"scim.read"}
    assert principal_of(claims, ClaimRules(("a.b",), SAME)).scopes == {"scim.write"}


def test_the_credential_is_the_id_of_the_token_at_a_bounded_length() -> None:
    claims = {"iss": ISSUER, "sub": "a", "jti": "x" * 500}

    assert principal_of(claims, ClaimRules(CLAIMS, SAME)).credential == "access-token " + "x" * 87


def test_the_principal_can_be_in_another_claim() -> None:
    rules = ClaimRules(CLAIMS, SAME, principal_claim="azp")

    assert principal_of({"iss": ISSUER, "sub": "a", "azp": "b"}, rules).id == f"{ISSUER}|b"
    with pytest.raises(InvalidToken, match="^azp: "):
        principal_of({"iss": ISSUER, "sub": "a"}, rules)


@pytest.mark.parametrize("value", [1, ["a"], {"b": 1}, "a\nb", "\ud800"])
def test_a_principal_is_printable_text(value: Any) -> None:
    with pytest.raises(InvalidToken, match="^azp: "):
        principal_of({"iss": ISSUER, "azp": value}, ClaimRules(CLAIMS, SAME, principal_claim="azp"))


# -- over HTTP


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.sqlite
def test_scopes_bound_what_a_token_may_do(
    make_scim: Callable[..., ScimClient], issuer: HttpIssuer
) -> None:
    scopes = '{"look": ["scim.read:User"]}'
    scim = make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE, OIDC_SCOPES=scopes)
    headers = bearer(issuer.token(scope="look scim.write"))

    assert scim("GET", "/Users", headers=headers).status_code == 200
    error_of(scim("GET", "/Groups", headers=headers), 403)
    error_of(scim("DELETE", "/Users/x", headers=headers), 403)


@pytest.mark.sqlite
def test_the_principal_of_a_token_is_in_the_change_log(
    make_scim: Callable[..., ScimClient], issuer: HttpIssuer
) -> None:
    scim = make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE)
    body = {"schemas": [USER], "userName": "a"}

    assert scim("POST", "/Users", body, headers=bearer(issuer.token())).status_code == 201

    database = scim.app.extensions["scim.delivery"].database
    rows = database.rows("SELECT principal, credential FROM scim_change")
    assert [tuple(row) for row in rows] == [(f"{issuer.url}|client-1", "access-token t-1")]


@pytest.mark.sqlite
def test_a_request_is_carried_out_without_the_token_for_the_principal_of_it(
    make_scim: Callable[..., ScimClient], issuer: HttpIssuer
) -> None:
    """The token may expire between both; a process that does the work knows no issuer."""
    later = {"ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
    scim = make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE, **later)
    headers = {**bearer(issuer.token()), "Prefer": "respond-async"}
    body = {"schemas": [USER], "userName": "a"}
    location = scim("POST", "/Users", body, headers=headers).headers["Location"]

    make_scim(**later).work()

    result = scim("GET", location, headers=bearer(issuer.token(jti="t-2")))
    assert result.status_code == 200
    assert scim.names('userName eq "a"') == ["a"]
    error_of(scim("GET", location, headers=bearer(issuer.token(sub="client-2"))), 404)


# -- users


def user_of(scim: ScimClient, token: str) -> str | None:
    """Return the id of the user that a request with a token acts for."""
    with scim.app.test_request_context("/Users", headers=bearer(token)):
        scim.app.preprocess_request()
        return current_context().principal.user


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("attribute", "value"), [("externalId", "ext-1"), ("userName", "bjensen"), ("userName", "BJensen")]
)
def test_a_token_acts_for_the_user_with_the_value(
    make_scim: Callable[..., ScimClient], issuer: HttpIssuer, attribute: str, value: str
) -> None:
    scim = make_scim(
        OIDC_ISSUER=issuer.url,
        OIDC_AUDIENCE=AUDIENCE,
        OIDC_USER_CLAIM="person",
        OIDC_USER_ATTRIBUTE=attribute,
    )
    user = scim.user("bjensen", externalId="ext-1")

    assert user_of(scim, issuer.token(person=value)) == user["id"]
    assert user_of(scim, issuer.token(person="nobody")) is None
    assert user_of(scim, issuer.token()) is None
    error_of(scim("GET", "/Users", headers=bearer(issuer.token(person=7))), 401)


@pytest.mark.sqlite
def test_a_token_with_the_id_of_a_user_needs_no_search(
    make_scim: Callable[..., ScimClient], issuer: HttpIssuer
) -> None:
    environ = {"OIDC_USER_CLAIM": "sub", "OIDC_USER_ATTRIBUTE": "id"}
    scim = make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE, **environ)
    user = scim.user("bjensen")

    assert user_of(scim, issuer.token(sub=user["id"])) == user["id"]


@pytest.mark.sqlite
def test_a_token_acts_for_neither_of_two_users(
    make_scim: Callable[..., ScimClient], issuer: HttpIssuer
) -> None:
    environ = {"OIDC_USER_CLAIM": "sub", "UNIQUE_EXTERNAL_ID": "false"}
    scim = make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE, **environ)
    scim.user("a", externalId="same")
    scim.user("b", externalId="same")

    assert user_of(scim, issuer.token(sub="same")) is None


@pytest.mark.sqlite
def test_no_token_acts_for_a_user_unless_a_claim_is_chosen(
    make_scim: Callable[..., ScimClient], issuer: HttpIssuer
) -> None:
    scim = make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE)
    scim.user("a", externalId="client-1")

    assert user_of(scim, issuer.token()) is None
