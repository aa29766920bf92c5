"""The keys that an issuer publishes: from a JWK Set to what verifies signatures (RFC 7517)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from app.protocol.trust import ALGORITHMS

_LOG = logging.getLogger(__name__)

# RFC 7518 section 3.3.
_LEAST_RSA_BITS: Final = 2048
_OF_CURVES: Final = {
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    "Ed25519": "EdDSA",
    "Ed448": "EdDSA",
}
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


@dataclass(slots=True, eq=False)
class PublishedKey:
    """A public key, with the algorithms that it may be used with: a token cannot choose another one.

    `is_published` becomes false once the issuer does not publish the key any more.
    """

    document: Mapping[str, Any]
    public: Any
    algorithms: frozenset[str]
    is_published: bool = True

    @property
    def kid(self) -> str | None:
        """The id that the issuer gave to the key."""
        return self.document.get("kid")


def read_keys(documents: Sequence[Any], known: Sequence[PublishedKey]) -> tuple[PublishedKey, ...]:
    """Return the keys in a JWK Set that verify signatures; one that is in `known` stays the same object."""
    found = []
    for document in documents:
        same = next((key for key in known if key.document == document), None)
        key = same or _read(document)
        if key is not None:
            found.append(key)
    return tuple(found)


def _read(document: Any) -> PublishedKey | None:
    """Return a key, None for one of another kind or use: a JWK Set may hold those too."""
    if not isinstance(document, dict) or not isinstance(document.get("kid", ""), str):
        return None
    algorithms = _algorithms(document)
    reader = _READERS.get(str(document.get("kty")))
    # A key with "d" is private: everybody could have signed with it.
    if reader is None or not algorithms or "d" in document:
        return None
    try:
        public = reader(document)
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        _LOG.warning("a key of an issuer of access tokens cannot be used: %s", type(exc).__name__)
        return None
    if document["kty"] == "RSA" and public.key_size < _LEAST_RSA_BITS:
        _LOG.warning("a key of an issuer of access tokens has fewer than %d bits", _LEAST_RSA_BITS)
        return None
    return PublishedKey(document, public, algorithms)


def _algorithms(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the algorithms of a JWK: by its kind and curve, and by `alg`, `use` and `key_ops`, if any."""
    if document.get("use", "sig") != "sig":
        return frozenset()
    operations = document.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return frozenset()
    if document.get("kty") == "RSA":
        possible = frozenset(name for name in ALGORITHMS if name.startswith(("RS", "PS")))
    else:
        possible = frozenset({_OF_CURVES.get(str(document.get("crv")), "")}) - {""}
    return possible & {str(document["alg"])} if "alg" in document else possible
