"""The keys of an issuer: where they are found, when they are fetched, and what happens while it is down."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.auth.access_tokens import AccessTokens, TokenRules
from app.auth.claims import ClaimRules
from app.auth.issuer import FLOOR_S, REFRESH_S, Issuer
from app.auth.issuer_documents import IssuerDocuments, Unusable
from app.protocol.errors import InvalidToken, Refusal
from tests.auth.issuers import (
    AUDIENCE,
    Behaviour,
    HttpIssuer,
    SigningKey,
    bytes_answer,
    header_of,
    json_answer,
    rsa_key,
)
from tests.receivers import make_certificate

MAX_AGE_S = 3600.0
TIMEOUT_S = 20.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trusted(issuer: HttpIssuer, clock: Clock) -> Issuer:
    return Issuer(IssuerDocuments(issuer.url, TIMEOUT_S), MAX_AGE_S, clock)


def accepting(
    *issuers: Issuer,
    only_at_jwt: bool = False,
    algorithms: str = "RS256",
    skew_s: int = 0,
    user_claim: str = "",
    find_user: Callable[[str], str | None] = str,
    now: Callable[[], float] = time.time,
) -> AccessTokens:
    scopes = {"scim.read": frozenset({"scim.read"})}
    claims = ClaimRules(("scope",), scopes, user_claim=user_claim, find_user=find_user)
    rules = TokenRules((AUDIENCE,), frozenset(algorithms.split()), claims, skew_s, only_at_jwt, "default")
    return AccessTokens(rules, issuers, now)


@pytest.fixture
def tokens(trusted: Issuer) -> AccessTokens:
    return accepting(trusted)


def is_known(tokens: AccessTokens, token: str) -> bool:
    known = tokens.known(token)
    return known is not None and known.principal.scopes == {"scim.read"}


def await_thread(issuer: HttpIssuer) -> None:
    """Wait until no thread fetches keys of an issuer."""
    for thread in threading.enumerate():
        if thread.name == f"keys of {issuer.url}":
            thread.join(30)


# -- finding them


def test_keys_are_found_by_openid_discovery(tokens: AccessTokens, issuer: HttpIssuer) -> None:
    assert is_known(tokens, issuer.token())
    assert issuer.requests == ["/realms/main/.well-known/openid-configuration", "/jwks"]


def test_keys_are_found_by_the_metadata_of_oauth(tokens: AccessTokens, issuer: HttpIssuer) -> None:
    issuer.metadata_path = "/.well-known/oauth-authorization-server/realms/main"

    assert is_known(tokens, issuer.token())


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"])
def test_each_algorithm_works(issuer: HttpIssuer, trusted: Issuer, algorithm: str) -> None:
    key = rsa_key("k1", 0, algorithm) if algorithm[0] in "RP" else SigningKey("k1", algorithm)
    issuer.keys = [key]

    assert is_known(accepting(trusted, algorithms=algorithm), issuer.token())


@pytest.mark.parametrize("kind", ["at+jwt", "application/at+jwt", "AT+JWT", "JWT", None])
def test_each_usual_type_is_accepted(tokens: AccessTokens, issuer: HttpIssuer, kind: str | None) -> None:
    key = issuer.keys[0]

    assert is_known(tokens, key.sign(header_of(key, typ=kind), issuer.claims()))


@pytest.mark.parametrize("kind", ["JWT", None])
def test_other_types_can_be_refused(issuer: HttpIssuer, trusted: Issuer, kind: str | None) -> None:
    tokens, key = accepting(trusted, only_at_jwt=True), issuer.keys[0]

    assert is_known(tokens, issuer.token())
    with pytest.raises(InvalidToken, match="typ: "):
        tokens.known(key.sign(header_of(key, typ=kind), issuer.claims()))


@pytest.mark.parametrize("token", ["", "secret", "a.b.c", "eyJhbGciOiJSUzI1NiJ9", "\u00e9", "scim_x.y.z"])
def test_a_token_that_is_no_jwt_is_of_another_kind(
    tokens: AccessTokens, issuer: HttpIssuer, token: str
) -> None:
    assert tokens.known(token) is None
    assert issuer.requests == []


# -- documents that cannot be used


def metadata(**members: object) -> Callable[[HttpIssuer], Behaviour]:
    return lambda issuer: json_answer({**issuer.metadata, **members})


METADATA = "/realms/main/.well-known/openid-configuration"
BAD: dict[str, tuple[str, Callable[[HttpIssuer], Behaviour], str]] = {
    "another issuer": (METADATA, metadata(issuer="https://other.example.com"), "name another issuer"),
    "no issuer": (METADATA, metadata(issuer=None), "name another issuer"),
    "no address": (METADATA, metadata(jwks_uri=None), "jwks_uri is not an https URL"),
    "address of another scheme": (METADATA, metadata(jwks_uri="file:///etc/passwd"), "not an https URL"),
    "address with a line break": (METADATA, metadata(jwks_uri="https://x/\n"), "not an https URL"),
    "address without TLS": (METADATA, metadata(jwks_uri="http://192.0.2.1/jwks"), "not an https URL"),
    "a list": (METADATA, lambda issuer: json_answer([]), "is not a JSON object"),
    "no JSON": (METADATA, lambda issuer: bytes_answer(b"<html>"), "is not JSON"),
    "an error": (METADATA, lambda issuer: json_answer({}, 500), "answered with status 500"),
    "a redirect": (
        METADATA,
        lambda issuer: bytes_answer(b"", 302, Location=f"{issuer.host}/elsewhere"),
        "answered with status 302",
    ),
    "keys that are missing": ("/jwks", lambda issuer: json_answer({}, 404), "answered with status 404"),
    "keys that are no list": ("/jwks", lambda issuer: json_answer({"keys": {}}), "has no list of keys"),
    "keys without end": ("/jwks", lambda issuer: bytes_answer(b" " * (1 << 21)), "has more than"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_documents_are_a_503_and_a_line_in_the_log(
    tokens: AccessTokens, issuer: HttpIssuer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path, behaviour, problem = BAD[name]
    issuer.instead[path] = behaviour(issuer)

    with pytest.raises(Refusal) as refused:
        tokens.known(issuer.token())

    assert refused.value.status == 503
    assert f"the keys of the issuer {issuer.url} cannot be fetched: " in caplog.text
    assert problem in caplog.text
    assert "/elsewhere" not in issuer.requests


def test_documents_have_a_deadline(issuer: HttpIssuer) -> None:
    with issuer.held(), pytest.raises(Unusable, match="did not answer in time"):
        IssuerDocuments(issuer.url, timeout_s=0.5).fetch_keys()


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
        {"kty": "RSA", "kid": "x", "n": "!!", "e": "AQAB"},
        {"kty": "RSA", "kid": "x", "n": 5, "e": "AQAB"},
        {"kty": "RSA", "kid": "x"},
        {"kty": "EC", "kid": "x", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "OKP", "kid": "x", "crv": "Ed25519", "x": 7},
        {"kty": ["RSA"], "kid": "x"},
        {**rsa_key("x", 1).jwk(), "kid": 7},
        {**rsa_key("x", 1).jwk(), "key_ops": "verify"},
    ],
)
def test_a_bad_key_does_not_hide_the_others(
    tokens: AccessTokens, issuer: HttpIssuer, document: object
) -> None:
    issuer.extra_keys = [document]

    assert is_known(tokens, issuer.token())


@pytest.mark.parametrize(
    "members", [{"use": "enc"}, {"alg": "RS512"}, {"key_ops": ["sign"]}, {"d": "AQAB"}, {"alg": 1}]
)
def test_a_key_of_another_use_verifies_nothing(
    tokens: AccessTokens, issuer: HttpIssuer, members: dict[str, object]
) -> None:
    other = rsa_key("other", 1)
    issuer.extra_keys = [other.jwk(**members)]

    with pytest.raises(InvalidToken, match="the issuer publishes no key"):
        tokens.known(issuer.token(other))


def test_a_short_key_verifies_nothing(tokens: AccessTokens, issuer: HttpIssuer) -> None:
    issuer.keys = [rsa_key("short", 3, bits=1024)]

    with pytest.raises(InvalidToken, match="the issuer publishes no key"):
        tokens.known(issuer.token())


def test_the_certificate_of_an_issuer_is_verified(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context, certificate = make_certificate(tmp_path)
    issuer = HttpIssuer(rsa_key("k1"), tls=context)
    tokens = accepting(Issuer(IssuerDocuments(issuer.url, TIMEOUT_S), MAX_AGE_S, clock))

    with pytest.raises(Refusal):
        tokens.known(issuer.token())
    assert "the certificate is not trusted" in caplog.text
    assert issuer.requests == []

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    clock.now += FLOOR_S
    assert is_known(tokens, issuer.token())
    issuer.stop()


# -- several keys, several issuers


def test_a_token_without_kid_is_tried_with_each_key(tokens: AccessTokens, issuer: HttpIssuer) -> None:
    issuer.keys = [rsa_key("k1"), rsa_key("k2", 1)]
    unnamed = rsa_key(None, 1)

    assert is_known(tokens, issuer.token(unnamed))
    with pytest.raises(InvalidToken, match="signature"):
        tokens.known(issuer.token(rsa_key(None, 2)))


def test_a_key_without_kid_serves_tokens_without_kid(tokens: AccessTokens, issuer: HttpIssuer) -> None:
    issuer.keys = [rsa_key(None)]

    assert is_known(tokens, issuer.token())


@pytest.fixture
def other_issuer() -> Iterator[HttpIssuer]:
    listening = HttpIssuer(rsa_key("k1", 1))
    yield listening
    listening.stop()


def test_an_issuer_cannot_sign_for_another_one(
    issuer: HttpIssuer, other_issuer: HttpIssuer, clock: Clock
) -> None:
    both = [Issuer(IssuerDocuments(one.url), MAX_AGE_S, clock) for one in (issuer, other_issuer)]
    tokens = accepting(*both)

    mine, theirs = tokens.known(issuer.token()), tokens.known(other_issuer.token())

    assert mine is not None and theirs is not None
    # The same subject is another principal.
    assert mine.principal.id == f"{issuer.url}|client-1" != theirs.principal.id
    with pytest.raises(InvalidToken, match="signature"):
        tokens.known(other_issuer.token(iss=issuer.url))


# -- when they are fetched


def test_a_token_costs_no_request_and_no_signature_once_it_is_known(
    tokens: AccessTokens, issuer: HttpIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token()
    first = tokens.known(token)
    monkeypatch.setattr("jwt.decode", None)

    assert all(tokens.known(token) is first for _ in range(100))
    assert issuer.fetches == 1


def test_a_new_key_is_fetched_when_a_token_comes_with_it(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock
) -> None:
    assert is_known(tokens, issuer.token())
    issuer.keys.append(rsa_key("k2", 1))
    clock.now += FLOOR_S

    assert is_known(tokens, issuer.token(issuer.keys[1]))
    assert is_known(tokens, issuer.token())
    assert issuer.fetches == 2


def test_a_new_key_without_kid_is_fetched_too(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock
) -> None:
    assert is_known(tokens, issuer.token())
    issuer.keys = [rsa_key(None, 1)]
    clock.now += FLOOR_S

    assert is_known(tokens, issuer.token())


def test_unknown_keys_make_no_fetch_within_the_floor(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock
) -> None:
    for number in range(20):
        with pytest.raises(InvalidToken, match="kid, alg: "):
            tokens.known(issuer.token(rsa_key(f"unknown-{number}", 1)))
        clock.now += FLOOR_S / 100

    assert issuer.fetches == 1


def test_requests_at_the_same_time_share_one_fetch(tokens: AccessTokens, issuer: HttpIssuer) -> None:
    token = issuer.token()

    with ThreadPoolExecutor(8) as pool:
        with issuer.held():
            asked = [pool.submit(is_known, tokens, token) for _ in range(8)]
        assert all(one.result(60) for one in asked)

    assert issuer.fetches == 1


def test_known_keys_serve_while_another_request_fetches(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock
) -> None:
    assert is_known(tokens, issuer.token())
    clock.now += FLOOR_S

    with ThreadPoolExecutor(1) as pool, issuer.held():
        waiting = pool.submit(tokens.known, issuer.token(rsa_key("unknown", 1)))
        # A token that was not seen yet, with a known key.
        assert is_known(tokens, issuer.token(jti="t-2"))
        assert not waiting.done()


def test_keys_are_refreshed_without_making_a_request_wait(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock
) -> None:
    token = issuer.token()
    assert is_known(tokens, token)
    clock.now += REFRESH_S
    issuer.keys = [rsa_key("k2", 1)]

    with issuer.held():
        assert is_known(tokens, token)
    await_thread(issuer)

    assert issuer.fetches == 2
    # The token was remembered, and its key is no longer published.
    with pytest.raises(InvalidToken, match="kid, alg: "):
        tokens.known(token)
    assert is_known(tokens, issuer.token())


def test_a_key_that_stays_published_keeps_its_tokens(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token()
    assert is_known(tokens, token)
    clock.now += REFRESH_S
    assert is_known(tokens, token)
    await_thread(issuer)
    monkeypatch.setattr("jwt.decode", None)

    assert is_known(tokens, token)


# -- what is remembered


@pytest.mark.parametrize("skew_s", [0, 30])
def test_a_remembered_token_ends_when_it_says_so(
    issuer: HttpIssuer, trusted: Issuer, skew_s: int
) -> None:
    now = Clock()
    tokens = accepting(trusted, skew_s=skew_s, now=now)
    token = issuer.token(iat=1000, exp=1600)
    assert is_known(tokens, token)

    now.now = 1599.0 + skew_s
    assert is_known(tokens, token)
    now.now = 1600.0 + skew_s
    for _ in range(2):
        with pytest.raises(InvalidToken, match="^exp: "):
            tokens.known(token)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_begins_when_it_says_so_but_for_the_skew(
    issuer: HttpIssuer, trusted: Issuer, claim: str
) -> None:
    now = Clock()
    tokens = accepting(trusted, skew_s=30, now=now)
    token = issuer.token(**{"iat": 1000, claim: 1031, "exp": 1600})

    with pytest.raises(InvalidToken, match=f"^{claim}: "):
        tokens.known(token)
    now.now = 1001.0
    assert is_known(tokens, token)


def test_the_user_of_a_remembered_token_is_looked_up_once_a_minute(
    issuer: HttpIssuer, trusted: Issuer
) -> None:
    now, asked = Clock(), list[str]()
    users = {"client-1": "id-1"}

    def find(value: str) -> str | None:
        asked.append(value)
        return users.get(value)

    tokens = accepting(trusted, user_claim="sub", find_user=find, now=now)
    token = issuer.token(iat=1000, exp=2000)

    def user() -> str | None:
        known = tokens.known(token)
        assert known is not None
        return known.principal.user

    assert [user(), user()] == ["id-1", "id-1"]
    users.clear()
    now.now += 59.0
    assert user() == "id-1"
    now.now += 1.0
    assert [user(), user()] == [None, None]
    assert asked == ["client-1", "client-1"]


def test_the_number_of_remembered_tokens_is_bounded(
    tokens: AccessTokens, issuer: HttpIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.auth.access_tokens._REMEMBERED", 3)
    made = [issuer.token(jti=f"t-{number}") for number in range(5)]
    for token in made:
        assert is_known(tokens, token)
    monkeypatch.setattr("jwt.decode", None)

    assert all(is_known(tokens, token) for token in made[2:])
    for token in made[:2]:
        with pytest.raises(TypeError):
            tokens.known(token)


def test_no_token_is_in_the_texts_of_objects(
    tokens: AccessTokens, trusted: Issuer, issuer: HttpIssuer
) -> None:
    token = issuer.token()
    assert is_known(tokens, token)

    shown = repr([vars(tokens), vars(trusted), *tokens._verified.values()])

    assert "client-1" in shown
    assert not [part for part in token.split(".") if part[:40] in shown]


# -- while it is down


def test_known_keys_are_used_while_the_issuer_is_down(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock
) -> None:
    token, second = issuer.token(), issuer.token(jti="t-2")
    assert is_known(tokens, token)
    issuer.stop()
    clock.now += REFRESH_S

    assert is_known(tokens, token)
    await_thread(issuer)
    assert is_known(tokens, token)
    assert is_known(tokens, second)
    with pytest.raises(Refusal) as refused:
        tokens.known(issuer.token(rsa_key("k2", 1)))
    assert refused.value.status == 503


def test_keys_that_are_too_old_are_not_used(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    token = issuer.token()
    assert is_known(tokens, token)
    issuer.stop()
    clock.now += MAX_AGE_S + 1

    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            tokens.known(token)
        assert refused.value.status == 503
    assert "are too old" in caplog.text


def test_an_issuer_that_comes_back_is_used_again(
    tokens: AccessTokens, issuer: HttpIssuer, clock: Clock
) -> None:
    token = issuer.token()
    issuer.instead["/jwks"] = json_answer({}, 503)
    with pytest.raises(Refusal):
        tokens.known(token)
    issuer.instead.clear()
    with pytest.raises(Refusal):
        tokens.known(token)
    clock.now += FLOOR_S

    assert is_known(tokens, token)
