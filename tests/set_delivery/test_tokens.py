"""Signed SETs, verified by another JWT library, and the keys that are published."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet, OctKey

from set_delivery.tokens import encode, private_key, published, shared_key, unsecured

CLAIMS = {"iss": "scim", "jti": "1", "iat": 1, "events": {}}
SECRET = "a secret that is long enough for any of the three: 64 characters!"
RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "RS256": RSA,
    "RS512": RSA,
    "PS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(key: Any, *, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return written


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_another_library_verifies_what_a_secret_has_signed(algorithm: str) -> None:
    text, media_type = encode(CLAIMS, shared_key(SECRET, algorithm))

    token = jwt.decode(text, OctKey.import_key(SECRET), algorithms=[algorithm])

    assert media_type == "application/secevent+jwt"
    assert token.claims == CLAIMS
    assert token.header == {"typ": "secevent+jwt", "alg": algorithm}


# RFC 9864 has new names for it; receivers know the old one.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_another_library_verifies_with_the_published_key(algorithm: str) -> None:
    key = private_key(pem(KEYS[algorithm]), algorithm)
    key_set = KeySet.import_key_set(json.loads(json.dumps(published([key]))))

    text, media_type = encode(CLAIMS, key)
    token = jwt.decode(text, key_set, algorithms=[algorithm])

    assert media_type == "application/secevent+jwt"
    assert token.claims == CLAIMS
    assert token.header == {"typ": "secevent+jwt", "alg": algorithm, "kid": key.key_id}


def test_a_changed_token_is_not_verified() -> None:
    key = private_key(pem(KEYS["ES256"]), "ES256")
    text, _ = encode(CLAIMS, key)
    head, _, signature = text.split(".")
    forged = f"{head}.{encode({**CLAIMS, 'iss': 'x'}, key)[0].split('.')[1]}.{signature}"

    with pytest.raises(BadSignatureError):
        jwt.decode(forged, KeySet.import_key_set({**published([key])}), algorithms=["ES256"])


def test_only_public_halves_are_published() -> None:
    keys = [private_key(pem(key), algorithm) for algorithm, key in KEYS.items()]

    shown = published([*keys, shared_key(SECRET, "HS256")])

    assert len(shown["keys"]) == len(keys)
    for jwk in shown["keys"]:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk)
        assert {"kty", "kid", "alg", "use"} <= set(jwk)
    assert SECRET not in json.dumps(shown)


def test_a_key_has_the_same_name_in_every_process() -> None:
    written = pem(KEYS["ES256"])

    assert private_key(written, "ES256").key_id == private_key(written, "ES256").key_id
    assert private_key(pem(KEYS["RS256"]), "RS256").key_id == private_key(pem(RSA), "PS256").key_id


@pytest.mark.parametrize(
    "algorithm, key",
    [
        ("RS256", KEYS["ES256"]),
        ("ES256", RSA),
        ("ES256", KEYS["ES384"]),
        ("EdDSA", RSA),
        ("ES384", KEYS["EdDSA"]),
    ],
)
def test_a_key_that_does_not_fit_is_refused(algorithm: str, key: Any) -> None:
    with pytest.raises(ValueError, match=f"does not fit {algorithm}"):
        private_key(pem(key), algorithm)


def test_what_is_no_private_key_is_refused_without_being_quoted() -> None:
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (b"", b"secret words", public, pem(RSA, password=b"x"), b"\x00\xff"):
        with pytest.raises(ValueError) as refusal:
            private_key(content, "RS256")
        assert "secret words" not in str(refusal.value)


def test_secrets_and_private_keys_are_not_mixed_up() -> None:
    with pytest.raises(ValueError, match="needs a private key"):
        shared_key(SECRET, "RS256")
    with pytest.raises(ValueError, match="cannot sign with HS256"):
        private_key(pem(RSA), "HS256")


def test_keys_do_not_show_themselves() -> None:
    assert SECRET not in repr(shared_key(SECRET, "HS256"))


def test_without_a_key_a_set_is_json_or_where_it_must_be_an_unsecured_jwt() -> None:
    text, media_type = encode(CLAIMS, None)
    assert (json.loads(text), media_type) == (CLAIMS, "application/json")

    head, body, signature = unsecured(CLAIMS).split(".")
    assert signature == ""
    headers = jws.extract_compact(f"{head}.{body}.x".encode()).headers()
    assert headers == {"alg": "none", "typ": "secevent+jwt"}
