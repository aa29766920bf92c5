"""JWT access tokens of authorization servers (RFC 9068): who is calling, and with which scopes.

PyJWT verifies each token once. Verified tokens are remembered by their digest until they
expire, or until their issuer no longer publishes the key.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from app.auth.claims import ClaimRules, principal_of
from app.auth.issuer import Issuer
from app.auth.jwt_form import Jwt, read_jwt
from app.auth.known import Known
from app.auth.published_keys import PublishedKey
from app.protocol.errors import InvalidToken, Refusal
from storage.forks import in_child

# The tokens that a process remembers. The least recent one is forgotten first: only an issuer can add one.
_REMEMBERED: Final = 10_000
# A token that acts for a user is verified again after this time: the user may have changed.
_USER_S: Final = 60.0
# The times are compared with the clock of this class, which a test can set.
_OPTIONS: Final[Any] = {
    "require": ["exp", "aud", "iss"],
    **{"verify_exp": False, "verify_nbf": False, "verify_iat": False},
}
# A token without `kid` is tried with so many keys.
_TRIED_KEYS: Final = 8


@dataclass(frozen=True)
class TokenRules:
    """What an access token must be like: one of the audiences and algorithms, and the `typ` of RFC 9068.

    Clocks may differ by `clock_skew_s` seconds. `profile` names the tolerances of the clients.
    """

    audiences: Sequence[str]
    algorithms: frozenset[str]
    claims: ClaimRules
    clock_skew_s: int
    only_at_jwt: bool
    profile: str


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token that was verified: its client until a time, as long as its key is published."""

    known: Known
    until: float
    key: PublishedKey
    issuer: Issuer


class AccessTokens:
    """Knows the clients of the access tokens that some issuers signed. `now` is the time in seconds."""

    def __init__(
        self, rules: TokenRules, issuers: Sequence[Issuer], now: Callable[[], float] = time.time
    ) -> None:
        self._rules = rules
        self._issuers: Mapping[str, Issuer] = {issuer.url: issuer for issuer in issuers}
        self._now = now
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._begin()
        in_child(self._begin)

    def _begin(self) -> None:
        self._adding = threading.Lock()

    def known(self, token: str) -> Known | None:
        """Return the client that an access token belongs to, None for a token that is no JWT.

        Raises InvalidToken, which names the rule that failed, and Refusal 503 when the keys of the issuer
        are not known and cannot be fetched. Waits for one fetch at most.
        """
        # A digest is looked up, so that no time depends on how much of a token is right.
        digest = hashlib.sha256(token.encode("latin-1")).digest()
        verified = self._verified.get(digest)
        if verified is not None:
            verified.issuer.refresh_if_due()
            if verified.key.is_published and self._now() < verified.until:
                return verified.known
        read = read_jwt(token, only_at_jwt=self._rules.only_at_jwt)
        if read is None:
            return None
        verified = self._verify(token, read)
        self._remember(digest, verified)
        return verified.known

    def _verify(self, token: str, read: Jwt) -> _Verified:
        issuer = self._issuers.get(read.claims.get("iss", ""))
        if issuer is None:
            raise InvalidToken("iss: the access token is not from an issuer that the server trusts")
        algorithm = read.header["alg"]
        if algorithm not in self._rules.algorithms:
            raise InvalidToken("alg: the algorithm of the access token is not allowed")
        key = self._key_of(token, read, issuer)
        rules, now = self._rules, self._now()
        until = _end(read.claims, now, rules.clock_skew_s)
        known = Known(principal_of(read.claims, rules.claims), rules.profile)
        if rules.claims.user_claim:
            until = min(until, now + _USER_S)
        return _Verified(known, until, key, issuer)

    def _key_of(self, token: str, read: Jwt, issuer: Issuer) -> PublishedKey:
        """Return the key that a token is signed with; an unknown one makes the server fetch the keys."""
        kid, algorithm = read.header.get("kid"), read.header["alg"]
        issuer.refresh_if_due()
        keys = issuer.keys(kid, algorithm)
        found = self._signer(token, algorithm, keys, issuer)
        # With `kid`, a wrong signature is certain; without, the key may be a new one.
        if found is None and not (kid and keys):
            issuer.renew()
            keys = issuer.keys(kid, algorithm)
            found = self._signer(token, algorithm, keys, issuer)
        if found is not None:
            return found
        if keys:
            raise InvalidToken("the signature of the access token is not valid")
        if issuer.is_down:
            raise Refusal(503, f"the keys of the issuer {issuer.url} cannot be fetched; try again later")
        raise InvalidToken("kid, alg: the issuer publishes no key for this access token")

    def _signer(
        self, token: str, algorithm: str, keys: Sequence[PublishedKey], issuer: Issuer
    ) -> PublishedKey | None:
        """Return the key with which the signature of a token is valid. Raises InvalidToken for its claims."""
        for key in keys[:_TRIED_KEYS]:
            try:
                jwt.decode(
                    token,
                    key.public,
                    algorithms=[algorithm],
                    audience=self._rules.audiences,
                    issuer=issuer.url,
                    options=_OPTIONS,
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as exc:
                raise InvalidToken(_rule(exc)) from exc
            return key
        return None

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        with self._adding:
            self._verified[digest] = verified
            self._verified.move_to_end(digest)
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)


def _end(claims: Mapping[str, Any], now: float, skew_s: int) -> float:
    """Return the time from which a token is over. Raises InvalidToken if that is past, or if it is early."""
    end: float = claims["exp"] + skew_s
    if now >= end:
        raise InvalidToken("exp: the access token has expired")
    for name in ("nbf", "iat"):
        if claims.get(name, 0) > now + skew_s:
            raise InvalidToken(f"{name}: the access token is not valid yet")
    return end


def _rule(problem: jwt.PyJWTError) -> str:
    """Return the rule that a token breaks whose signature is valid."""
    match problem:
        case jwt.MissingRequiredClaimError():
            return f"{problem.claim}: the access token lacks this claim"
        case jwt.InvalidAudienceError():
            return "aud: the access token is for another audience"
    return "the access token is not valid"
