"""SETs as they travel: signed (RFC 7515, RFC 8417 section 2.3) or as plain JSON, and the public keys."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import get_default_algorithms

SECEVENT_JWT: Final = "application/secevent+jwt"
JSON: Final = "application/json"
SHARED: Final = ("HS256", "HS384", "HS512")
ALGORITHMS: Final = (
    *SHARED,
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    "EdDSA",
)


@dataclass(frozen=True)
class SigningKey:
    """What SETs are signed with; `public` is the JWK to be published, None for a shared secret."""

    algorithm: str
    key: Any = field(repr=False)
    key_id: str | None = None
    public: Mapping[str, Any] | None = None


def shared_key(secret: str, algorithm: str) -> SigningKey:
    """Return a key that the receiver has as well. Raises ValueError for another algorithm."""
    if algorithm not in SHARED:
        raise ValueError(f"a secret signs with {', '.join(SHARED)}; {algorithm} needs a private key")
    return SigningKey(algorithm, secret)


def private_key(pem: bytes, algorithm: str) -> SigningKey:
    """Return the private key in `pem`. Raises ValueError when it does not fit the algorithm."""
    if algorithm in SHARED or algorithm not in ALGORITHMS:
        raise ValueError(f"a private key cannot sign with {algorithm}")
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        # The words of the library may quote the file.
        raise ValueError("is not a private key in PEM format without a password") from exc
    maker: Any = get_default_algorithms()[algorithm]
    try:
        prepared = maker.prepare_key(pem)
        public = dict(maker.to_jwk(prepared.public_key(), as_dict=True))
        jwt.encode({}, key, algorithm)  # type: ignore[arg-type]
    except (jwt.InvalidKeyError, ValueError, TypeError, AttributeError) as exc:
        raise ValueError(f"the key does not fit {algorithm}") from exc
    key_id = _thumbprint(public)
    public = {**public, "kid": key_id, "alg": algorithm, "use": "sig"}
    public.pop("key_ops", None)
    return SigningKey(algorithm, key, key_id, public)


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the thumbprint of a public key (RFC 7638): the same in every process."""
    required = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
    members = {name: jwk[name] for name in required[jwk["kty"]]}
    digest = hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
    return jwt.utils.base64url_encode(digest).decode()


def encode(claims: Mapping[str, Any], key: SigningKey | None) -> tuple[str, str]:
    """Return a SET and its media type: a JWS with `key`, JSON without."""
    if key is None:
        return orjson.dumps(claims).decode(), JSON
    headers = {"typ": "secevent+jwt", **({"kid": key.key_id} if key.key_id else {})}
    return jwt.encode(dict(claims), key.key, key.algorithm, headers=headers), SECEVENT_JWT


def unsecured(claims: Mapping[str, Any]) -> str:
    """Return a SET as an unsecured JWT (RFC 7519 section 6), where the protocol demands a JWT."""
    return jwt.encode(dict(claims), "", "none", headers={"typ": "secevent+jwt"})


def published(keys: Sequence[SigningKey]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the JWK Set (RFC 7517 section 5) of the keys that have a public half."""
    return {"keys": [key.public for key in keys if key.public is not None]}
