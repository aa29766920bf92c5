"""From the claims of an access token to a principal and its scopes (RFC 9068 sections 2.2 and 5)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from app.protocol.context import Principal
from app.protocol.errors import InvalidToken

KIND: Final = "access-token"
"""The kind of principals that came with an access token."""

# The claims that name the client where there is no subject: RFC 9068, OpenID, Okta, Entra ID.
_CLIENTS: Final = ("client_id", "azp", "cid", "appid")
# The column of a principal has so many characters.
_LONGEST_ID: Final = 255
_LONGEST_CREDENTIAL: Final = 100


@dataclass(frozen=True)
class ClaimRules:
    """What is read from claims. A claim is named as it is, or by the dotted path to it inside other claims.

    The first claim of `scope_claims` that a token has names its scopes; `scopes` has the scopes of this
    server for each of them. `principal_claim` names the principal; without it, that is `sub` or the client.
    `user_claim` names the User that the client acts for, and `find_user` returns the id for its value.
    """

    scope_claims: Sequence[str]
    scopes: Mapping[str, frozenset[str]]
    principal_claim: str = ""
    user_claim: str = ""
    find_user: Callable[[str], str | None] = field(default=lambda value: value)


def principal_of(claims: Mapping[str, Any], rules: ClaimRules) -> Principal:
    """Return the principal of an access token whose claims are verified. Raises InvalidToken.

    Its id is `issuer|name`: no two issuers share principals.
    """
    name = _principal_name(claims, rules.principal_claim)
    principal_id = f"{claims['iss']}|{name}"
    if len(principal_id) > _LONGEST_ID:
        raise InvalidToken(f"the issuer and the principal have more than {_LONGEST_ID} characters")
    user = _text(claims, rules.user_claim) if rules.user_claim else None
    return Principal(
        principal_id,
        name,
        KIND,
        _scopes(claims, rules),
        f"{KIND} {claims['jti']}"[:_LONGEST_CREDENTIAL] if _text(claims, "jti") else KIND,
        None if user is None else rules.find_user(user),
    )


def _principal_name(claims: Mapping[str, Any], chosen: str) -> str:
    names = (chosen,) if chosen else ("sub", *_CLIENTS)
    found = next((text for name in names if (text := _text(claims, name))), None)
    if found is None:
        raise InvalidToken(f"{chosen or 'sub, client_id'}: the access token names no principal")
    return found


def _scopes(claims: Mapping[str, Any], rules: ClaimRules) -> frozenset[str]:
    granted: set[str] = set()
    for name in rules.scope_claims:
        value = _value(claims, name)
        if value is None:
            continue
        # Text with spaces (RFC 9068 section 2.2.3), or a list (Entra ID, Okta, Auth0).
        texts = value.split(" ") if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InvalidToken(f"{name}: the claim is neither a string nor a list of strings")
        for text in texts:
            granted |= rules.scopes.get(text, frozenset())
        break
    return frozenset(granted)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    """Return the text of a claim, None without it. Raises InvalidToken for another value."""
    value = _value(claims, name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable():
        # Lone surrogates and control characters cannot be stored everywhere.
        raise InvalidToken(f"{name}: the claim is not printable text")
    return value


def _value(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value
