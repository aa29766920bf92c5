"""SETs as they travel: signed (RFC 7515, RFC 8417 section 2.3) or as plain JSON, and the public keys."""

import hashlib
import os
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt import api_jws
from jwt.algorithms import get_default_algorithms
from jwt.utils import base64url_encode

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
# Algorithms whose signature takes so long, 0.15 ms and more, that threads gain more than they cost.
# `cryptography` releases the interpreter lock while it signs.
_SLOW: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512")
# How many SETs a thread signs at once, and how many threads sign at the most.
_CHUNK: Final = 4
_THREADS: Final = min(4, os.cpu_count() or 1)

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class SigningKey:
    """A key to sign SETs with, prepared once.

    `head` is the first part of every token with its dot: the header is the same in all of them. `sign`
    returns the signature of bytes. `public` is the JWK to be published, None for a shared secret. `weakness`
    says that the key is short for its algorithm, as RFC 7518 sees it.
    """

    algorithm: str
    head: bytes
    sign: Callable[[bytes], bytes] = field(repr=False)
    key_id: str | None = None
    public: Mapping[str, Any] | None = None
    weakness: str | None = None


def shared_key(secret: str, algorithm: str) -> SigningKey:
    """Return a key that the receiver has as well. Raises ValueError for another algorithm."""
    if algorithm not in SHARED:
        raise ValueError(f"a secret signs with {', '.join(SHARED)}; {algorithm} needs a private key")
    return _prepared(algorithm, secret)


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
        public = dict(maker.to_jwk(maker.prepare_key(pem).public_key(), as_dict=True))
        key_id = _thumbprint(public)
        public = {**public, "kid": key_id, "alg": algorithm, "use": "sig"}
        public.pop("key_ops", None)
        return _prepared(algorithm, key, key_id, public)
    except (jwt.InvalidKeyError, ValueError, TypeError, AttributeError) as exc:
        raise ValueError(f"the key does not fit {algorithm}") from exc


def _prepared(
    algorithm: str, key: Any, key_id: str | None = None, public: Mapping[str, Any] | None = None
) -> SigningKey:
    headers = {"typ": "secevent+jwt", **({"kid": key_id} if key_id else {})}
    # The library also checks here that it can sign with the key. Its warning of a short one is `weakness`.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The (HMAC|RSA) key is ")
        head = api_jws.encode(b"", key, algorithm, headers).partition(".")[0]
    maker: Any = get_default_algorithms()[algorithm]
    prepared = maker.prepare_key(key)
    # Versions of the library before 2.11 do not look at the length.
    check = getattr(maker, "check_key_length", None)
    weakness = check(prepared) if check is not None and algorithm != "none" else None
    return SigningKey(
        algorithm, f"{head}.".encode(), partial(maker.sign, key=prepared), key_id, public, weakness
    )


# An unsecured JWT (RFC 7519 section 6), where the protocol demands a JWT and there is no key.
UNSECURED: Final = _prepared("none", "")


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
    signed = key.head + base64url_encode(orjson.dumps(claims))
    return b".".join((signed, base64url_encode(key.sign(signed)))).decode(), SECEVENT_JWT


def encoded(
    items: Sequence[_Item], claims_of: Callable[[_Item], Mapping[str, Any]], key: SigningKey | None
) -> Generator[tuple[str, str], None, None]:
    """Yield what `encode` returns for the claims of each of `items`, in their order.

    Where a signature takes long, threads sign ahead of the caller. Close the generator to end that early.
    Raises what `claims_of` does, in the place of the item.
    """

    def attempt(some: Sequence[_Item]) -> list[tuple[str, str] | Exception]:
        tokens: list[tuple[str, str] | Exception] = []
        for one in some:
            try:
                tokens.append(encode(claims_of(one), key))
            except Exception as exc:
                # The caller gets those before it first.
                tokens.append(exc)
        return tokens

    if key is None or key.algorithm not in _SLOW or len(items) <= _CHUNK:
        for one in items:
            yield encode(claims_of(one), key)
        return
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    # Threads of this call: none is left behind at the end of the process, and none is missing after a fork.
    with ThreadPoolExecutor(_THREADS, "scim signatures") as threads:
        for tokens in threads.map(attempt, chunks):
            for token in tokens:
                if isinstance(token, Exception):
                    raise token
                yield token


def published(keys: Sequence[SigningKey]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the JWK Set (RFC 7517 section 5) of the keys that have a public half."""
    return {"keys": [key.public for key in keys if key.public is not None]}
