"""The form of a JWT access token, before anybody trusts it (RFC 7515, RFC 7519, RFC 8725 section 3)."""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.protocol.errors import InvalidToken

MAX_LENGTH: Final = 16_384
"""The most characters of an access token."""

_PART: Final = re.compile(r"[A-Za-z0-9_-]*")
# A JOSE header is a JSON object, so its base64url form begins with one of these (`{"`, `{ `, `{\n`).
_BEGINNINGS: Final = ("eyJ", "eyA", "ewo", "ew0")
# The types of access tokens: of RFC 9068 section 4, and of issuers that are older than it.
_AT_JWT: Final = frozenset({"at+jwt", "application/at+jwt"})
_JWT: Final = frozenset({"", "jwt", "application/jwt"})
# Claims of other JWTs that an issuer signs with the same keys: ID tokens, logout tokens and SETs.
_OF_OTHERS: Final = ("at_hash", "c_hash", "events")
_DATES: Final = ("exp", "nbf", "iat")
_TEXTS: Final = ("iss", "sub", "jti", "client_id")
# Above this, a number of JSON is not exact everywhere (RFC 8259 section 6).
_MOST: Final = 2**53


@dataclass(frozen=True, slots=True)
class Jwt:
    """The header and the claims of a JWT whose signature nobody has checked yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def read_jwt(token: str, *, only_at_jwt: bool) -> Jwt | None:
    """Return what a token says of itself, None for a token that is no JWT.

    The header of the answer has a text as `alg`, and its `kid` is a text or absent. Raises InvalidToken for a
    JWT that cannot be an access token; with `only_at_jwt`, also for each `typ` but that of RFC 9068.
    """
    parts = token.split(".", 5)
    if not token.startswith(_BEGINNINGS) or len(parts) not in (3, 5):
        return None
    if len(token) > MAX_LENGTH:
        raise InvalidToken(f"the access token has more than {MAX_LENGTH} characters")
    header = _decoded(parts[0], "the header of the access token")
    if len(parts) == 5 or "enc" in header:
        raise InvalidToken("enc: encrypted access tokens (JWE) are not supported")
    if not all(_PART.fullmatch(part) for part in parts):
        raise InvalidToken("the access token has characters that are not of base64url")
    _check_header(header, only_at_jwt)
    claims = _decoded(parts[1], "the claims of the access token")
    _check_claims(claims)
    return Jwt(header, claims)


def _check_header(header: Mapping[str, Any], only_at_jwt: bool) -> None:
    for name in ("crit", "b64", "zip"):
        if name in header:
            raise InvalidToken(f"{name}: this header parameter is not supported")
    if not isinstance(header.get("alg"), str):
        raise InvalidToken("alg: the access token names no algorithm")
    if not isinstance(header.get("kid", ""), str):
        raise InvalidToken("kid: the id of the key is not a string")
    if "cty" in header:
        raise InvalidToken("cty: an access token inside another one is not supported")
    kind = header.get("typ", "")
    accepted = _AT_JWT if only_at_jwt else _AT_JWT | _JWT
    if not isinstance(kind, str) or kind.lower() not in accepted:
        raise InvalidToken("typ: the token is not of the type at+jwt, so it is no access token")


def _check_claims(claims: Mapping[str, Any]) -> None:
    for name in _DATES:
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= _MOST:
            raise InvalidToken(f"{name}: the claim is not a number of seconds")
    for name in _TEXTS:
        if not isinstance(claims.get(name, ""), str):
            raise InvalidToken(f"{name}: the claim is not a string")
    for name in _OF_OTHERS:
        if name in claims:
            raise InvalidToken(f"{name}: the claim belongs to another kind of token, such as an ID token")
    # Keycloak names the kind of its tokens in a claim.
    if claims.get("typ") in ("ID", "Refresh", "Offline", "Logout"):
        raise InvalidToken("typ: the claim belongs to another kind of token, such as an ID token")
    if "cnf" in claims:
        # RFC 9449 section 7.1: without its proof, such a token may have been stolen.
        raise InvalidToken("cnf: access tokens that are bound to a key are not supported")


def _decoded(part: str, what: str) -> Mapping[str, Any]:
    """Return the JSON object in a part of a JWT; a member that appears twice is refused (RFC 8725 2.6)."""
    try:
        text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_refused, parse_float=_finite
        )
    except _Twice as exc:
        raise InvalidToken(f"{exc}: {what} has this member twice") from None
    # Nesting without end, and bytes that are no base64, UTF-8 or JSON.
    except (ValueError, RecursionError):
        raise InvalidToken(f"{what} is not JSON in base64url") from None
    if not isinstance(value, dict):
        raise InvalidToken(f"{what} is not a JSON object")
    return value


class _Twice(ValueError):
    """A member of an object that appears twice."""


def _once(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise _Twice(name[:100].encode("utf-8", "replace").decode())
        found[name] = value
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("the number is too large")
    return value
