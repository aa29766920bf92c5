"""What the ServiceProviderConfig says of each kind of credentials (RFC 7643 section 5)."""

from collections.abc import Mapping
from typing import Final

_BEARER: Final = {
    "type": "oauthbearertoken",
    "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
    "documentationUri": "https://www.rfc-editor.org/rfc/rfc7644#section-2",
}
API_KEYS: Final[Mapping[str, str]] = {
    **_BEARER,
    "name": "API key",
    "description": "The API key as bearer token: `Authorization: Bearer <key>`, or as the header "
    "`x-api-key: <key>`. It includes all scopes.",
}
NAMED_TOKENS: Final[Mapping[str, str]] = {
    **_BEARER,
    "name": "Token",
    "description": "A token that the operator has created, as bearer token: `Authorization: Bearer <token>`, "
    "or as the header `x-api-key: <token>`. It includes some of the scopes scim.read, scim.write, "
    "scim.events and scim.admin; the first two also for single resource types, as in scim.read:User.",
}
ACCESS_TOKENS: Final[Mapping[str, str]] = {
    **_BEARER,
    "name": "Access token",
    "description": "A JWT access token (RFC 9068) of an authorization server that the server trusts, as "
    "bearer token: `Authorization: Bearer <token>`.",
}
