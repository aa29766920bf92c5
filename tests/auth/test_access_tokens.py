"""Access tokens of an issuer: which ones open, and the rule that each hostile one breaks (RFC 8725)."""

import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from app.auth.jwt_form import MAX_LENGTH
from tests.auth.issuers import (
    AUDIENCE,
    HttpIssuer,
    SigningKey,
    encoded,
    header_of,
    rsa_key,
)
from tests.conftest import USER, ScimClient, error_of

Hostile = Callable[[HttpIssuer], str]
ATTACKER = rsa_key("k1", number=1)


@pytest.fixture
def scim(make_scim: Callable[..., ScimClient], issuer: HttpIssuer) -> ScimClient:
    return make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.sqlite
def test_an_access_token_opens_and_creates(scim: ScimClient, issuer: HttpIssuer) -> None:
    headers = bearer(issuer.token())

    created = scim("POST", "/Users", {"schemas": [USER], "userName": "a"}, headers=headers)

    assert created.status_code == 201
    assert scim("GET", f"/Users/{created.json['id']}", headers=headers).status_code == 200


def signed(
    key: SigningKey | None = None, header: dict[str, Any] | None = None, **claims: Any
) -> Hostile:
    """Return what makes a token with other claims or members of its header."""

    def make(issuer: HttpIssuer) -> str:
        signer = key or issuer.keys[0]
        return signer.sign(header_of(signer, **(header or {})), issuer.claims(**claims))

    return make


def texts(header: str | None, claims: str) -> Hostile:
    """Return what makes a token with a text for its claims, in which ... are the good ones."""

    def make(issuer: HttpIssuer) -> str:
        good = json.dumps(issuer.claims())[1:-1]
        return issuer.keys[0].sign(header or header_of(issuer.keys[0]), claims.replace("...", good))

    return make


def unsigned(issuer: HttpIssuer) -> str:
    parts = [{"alg": "none", "typ": "at+jwt", "kid": "k1"}, issuer.claims()]
    return ".".join(encoded(json.dumps(part)) for part in parts) + "."


def stripped(issuer: HttpIssuer) -> str:
    return issuer.token().rpartition(".")[0] + "."


def confused(issuer: HttpIssuer) -> str:
    """Return a token that is signed with the public key as if it was a shared one."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(issuer.keys[0].private.public_key())
    secret = SigningKey("k1", "HS256", public.encode())
    return secret.sign(header_of(secret), issuer.claims())


def changed(issuer: HttpIssuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{encoded(json.dumps(issuer.claims(scope='scim.admin')))}.{signature}"


def with_own_key(issuer: HttpIssuer) -> str:
    return signed(ATTACKER, {"jwk": ATTACKER.jwk(), "jku": "https://attacker.example/jwks"})(issuer)


def encrypted(issuer: HttpIssuer) -> str:
    header = encoded(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM", "typ": "at+jwt", "kid": "k1"}))
    return f"{header}.AAAA.AAAA.AAAA.AAAA"


NOW = int(time.time())
HOSTILE: dict[str, tuple[Hostile, str]] = {
    "alg none": (unsigned, "alg: "),
    "no signature": (stripped, "the signature "),
    "RS/HS confusion": (confused, "alg: "),
    "alg in other letters": (signed(header={"alg": "rs256"}), "alg: "),
    "alg that is not allowed": (signed(header={"alg": "RS512"}), "alg: "),
    "alg of another kind of key": (signed(header={"alg": "ES256"}), "kid, alg: "),
    "alg that is no text": (signed(header={"alg": ["RS256"]}), "alg: "),
    "changed claims": (changed, "the signature "),
    "key of an attacker": (signed(ATTACKER), "the signature "),
    "key of an attacker in the header": (with_own_key, "the signature "),
    "kid that is a path": (signed(header={"kid": "../../../../dev/null"}), "kid, alg: "),
    "kid that is SQL": (signed(header={"kid": "k1' OR '1'='1"}), "kid, alg: "),
    "empty kid": (signed(header={"kid": ""}), "kid, alg: "),
    "kid that is a number": (signed(header={"kid": 1}), "kid: "),
    "crit": (signed(header={"crit": ["exp"]}), "crit: "),
    "payload that is not encoded": (signed(header={"b64": False}), "b64: "),
    "nested": (signed(header={"cty": "JWT"}), "cty: "),
    "encrypted": (encrypted, "enc: "),
    "SET": (signed(header={"typ": "secevent+jwt"}), "typ: "),
    "typ that is no text": (signed(header={"typ": ["at+jwt"]}), "typ: "),
    "ID token": (signed(header={"typ": "JWT"}, at_hash="x"), "at_hash: "),
    "ID token of Keycloak": (signed(header={"typ": "JWT"}, typ="ID"), "typ: "),
    "logout token": (signed(header={"typ": "JWT"}, events={}), "events: "),
    "bound to a key": (signed(cnf={"jkt": "x"}), "cnf: "),
    "another issuer": (signed(iss="https://login.example.org"), "iss: "),
    "issuer with a slash": (lambda issuer: signed(iss=issuer.url + "/")(issuer), "iss: "),
    "no issuer": (signed(iss=None), "iss: "),
    "issuer that is a list": (lambda issuer: signed(iss=[issuer.url])(issuer), "iss: "),
    "another audience": (signed(aud="https://other.example.com"), "aud: "),
    "part of the audience": (signed(aud=AUDIENCE[:-1]), "aud: "),
    "no audience": (signed(aud=None), "aud: "),
    "no audiences": (signed(aud=[]), "aud: "),
    "audience that is an object": (signed(aud={AUDIENCE: 1}), "aud: "),
    "audiences that are numbers": (signed(aud=[AUDIENCE, 1]), "aud: "),
    "expired": (signed(exp=NOW - 3600), "exp: "),
    "no end": (signed(exp=None), "exp: "),
    "end that is a text": (signed(exp=str(NOW + 600)), "exp: "),
    "end that is true": (signed(exp=True), "exp: "),
    "end that is huge": (signed(exp=10**400), "exp: "),
    "end that is null": (texts(None, '{..., "exp": null}'), "exp: "),
    "end without end": (texts(None, '{"exp": 1e999}'), "the claims "),
    "not a number": (texts(None, '{"exp": NaN}'), "the claims "),
    "not valid yet": (signed(nbf=NOW + 36000), "nbf: "),
    "from the future": (signed(iat=NOW + 36000), "iat: "),
    "nobody": (signed(sub=None, client_id=None), "sub, client_id: "),
    "subject that is empty": (signed(sub="", client_id=None), "sub, client_id: "),
    "subject that is a number": (signed(sub=1), "sub: "),
    "subject with a control character": (signed(sub="a\u0000b"), "sub: "),
    "subject with half a character": (texts(None, '{..., "sub": "\\ud800"}'), "sub: "),
    "subject that is too long": (signed(sub="x" * 300), "the issuer and the principal "),
    "scopes that are a number": (signed(scope=1), "scope: "),
    "scopes that are objects": (signed(scope=[{}]), "scope: "),
    "duplicate claim": (texts(None, '{..., "sub": "admin"}'), "sub: "),
    "duplicate header": (texts('{"alg": "none", "alg": "RS256", "kid": "k1"}', "{...}"), "alg: "),
    "duplicate inside a claim": (texts(None, '{..., "x": {"y": 1, "y": 2}}'), "y: "),
    "claims that are a list": (texts(None, "[...]".replace("...", "1")), "the claims "),
    "claims that are no JSON": (texts(None, "{...} x"), "the claims "),
    "header that is no JSON": (texts('{"alg": "RS256"', "{...}"), "the header "),
    "deep claims": (texts(None, "[" * 6000), "the claims "),
    "huge": (signed(x="y" * MAX_LENGTH), "the access token has more than "),
    "line break": (lambda issuer: issuer.token()[:-4] + "\u00a0aaa", "the access token has characters "),
}


@pytest.mark.sqlite
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused_by_the_rule_that_it_breaks(
    scim: ScimClient, issuer: HttpIssuer, name: str
) -> None:
    make, rule = HOSTILE[name]

    answer = scim("GET", "/Users", headers=bearer(make(issuer)))

    assert error_of(answer, 401).startswith(rule)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["good", "changed claims", "expired", "duplicate claim", "huge"])
def test_no_token_is_in_logs_metrics_and_errors(
    make_scim: Callable[..., ScimClient],
    issuer: HttpIssuer,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    caplog.set_level("DEBUG")
    # What is planted: its parts must not be anywhere but in the request.
    token = issuer.token(sub="a", planted="tr4v3ll3r") if name == "good" else HOSTILE[name][0](issuer)
    scim = make_scim(OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=AUDIENCE, LOGLEVEL="DEBUG")

    answers = [scim("GET", path, headers=bearer(token)) for path in ("/Users", "/Users/x", "/Bulk")]
    issuer.stop()
    answers.append(scim("GET", "/Users", headers=bearer(token + "A")))
    answers.append(scim("GET", "/metrics"))

    texts = [answer.text + str(answer.headers) for answer in answers]
    texts.append(caplog.text)
    for part in token.split(".")[1:]:
        assert not [text for text in texts if part[:40] in text]
    assert not [text for text in texts if "tr4v3ll3r" in text]


@pytest.mark.sqlite
def test_the_configuration_names_access_tokens_where_they_are_accepted(
    scim: ScimClient, make_scim: Callable[..., ScimClient]
) -> None:
    def names(asked: ScimClient) -> list[str]:
        schemes = asked("GET", "/ServiceProviderConfig").json["authenticationSchemes"]
        assert [scheme["primary"] for scheme in schemes] == [True, *[False] * (len(schemes) - 1)]
        return [scheme["name"] for scheme in schemes]

    assert names(scim) == [*names(make_scim()), "Access token"]
