"""What can be trusted of an issuer of access tokens: the algorithms of signatures, and addresses."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""The algorithms that signatures can have: the asymmetric ones of RFC 7518 and RFC 8037.

`none` proves nothing. With HS256 and its like, the server could sign tokens as well, and a public key that
is taken for a shared one would let everybody sign (RFC 8725 section 2.1).
"""


def is_protected(url: str) -> bool:
    """Return whether nobody on the way can change what `url` answers: by `https`, or on this machine."""
    try:
        parts = urlsplit(url)
        host, scheme = parts.hostname or "", parts.scheme
    except ValueError:
        return False
    if scheme == "https":
        return host != ""
    return scheme == "http" and (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
