"""Signed SETs, verified by another JWT library, and the keys that are published."""

import json
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
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

from set_delivery import tokens
from set_delivery.tokens import (
    UNSECURED,
    SigningKey,
    encode,
    encoded,
    private_key,
    published,
    shared_key,
)

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

    head, body, signature = encode(CLAIMS, UNSECURED)[0].split(".")
    assert signature == ""
    headers = jws.extract_compact(f"{head}.{body}.x".encode()).headers()
    assert headers == {"alg": "none", "typ": "secevent+jwt"}


def numbered(number: int) -> dict[str, Any]:
    return {**CLAIMS, "jti": str(number)}


def signing_by(key: SigningKey, sign: Callable[[bytes], None]) -> SigningKey:
    """Return a key that calls `sign` before each signature."""

    def signed(content: bytes) -> bytes:
        sign(content)
        return key.sign(content)

    return replace(key, sign=signed)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256", "ES256"])
def test_many_sets_are_encoded_in_their_order(algorithm: str) -> None:
    keys = {"none": UNSECURED, "HS256": shared_key(SECRET, "HS256")}
    key = keys.get(algorithm) or private_key(pem(KEYS[algorithm]), algorithm)

    many = list(encoded(range(50), numbered, key))

    heads = {text.rpartition(".")[0] for text, _ in many}
    assert [text.rpartition(".")[0] for text, _ in many] == [
        encode(numbered(number), key)[0].rpartition(".")[0] for number in range(50)
    ]
    assert len(heads) == 50
    if key.public:
        key_set = KeySet.import_key_set(json.loads(json.dumps(published([key]))))
        for number, (text, _) in enumerate(many):
            assert jwt.decode(text, key_set, algorithms=[algorithm]).claims == numbered(number)


def test_many_sets_without_a_key_are_json() -> None:
    assert [json.loads(text) for text, _ in encoded(range(50), numbered, None)] == [*map(numbered, range(50))]


def test_slow_signatures_are_made_by_several_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_THREADS", 2)
    # Each waits for the other: one thread alone would wait in vain.
    both = threading.Barrier(2)
    key = signing_by(private_key(pem(RSA), "RS256"), lambda content: both.wait(60) and None)

    assert len(list(encoded(range(8), numbered, key))) == 8


def test_fast_signatures_are_made_by_the_caller() -> None:
    signers: set[str] = set()
    key = private_key(pem(KEYS["ES256"]), "ES256")
    key = signing_by(key, lambda content: signers.add(threading.current_thread().name))

    assert len(list(encoded(range(50), numbered, key))) == 50

    assert signers == {threading.current_thread().name}


def test_no_thread_is_left_when_the_caller_ends_early() -> None:
    key = private_key(pem(RSA), "RS256")
    many = encoded(range(1000), numbered, key)

    next(many)
    assert any(thread.name.startswith("scim signatures") for thread in threading.enumerate())
    many.close()

    assert not any(thread.name.startswith("scim signatures") for thread in threading.enumerate())


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_claims_that_cannot_be_made_stop_in_their_place(algorithm: str) -> None:
    def claims_of(number: int) -> dict[str, Any]:
        return {"jti": str(number), "events": 1 // (number - 6)}

    taken = []
    with pytest.raises(ZeroDivisionError):
        for one in encoded(range(50), claims_of, private_key(pem(KEYS[algorithm]), algorithm)):
            taken.append(one)

    assert len(taken) == 6


def test_a_key_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    key = private_key(pem(RSA), "RS256")
    for name in ("encode", "get_algorithm_by_name"):
        monkeypatch.delattr(tokens.api_jws, name, raising=False)
    monkeypatch.delattr("jwt.algorithms.RSAAlgorithm.prepare_key")

    text, _ = encode(CLAIMS, key)

    key_set = KeySet.import_key_set(json.loads(json.dumps(published([key]))))
    monkeypatch.undo()
    assert jwt.decode(text, key_set, algorithms=["RS256"]).claims == CLAIMS


@pytest.mark.parametrize("algorithm", tokens.SHARED)
def test_a_short_secret_is_said_without_a_warning_of_python(algorithm: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short, long = shared_key("short", algorithm), shared_key("x" * 64, algorithm)

    assert short.weakness is not None and "5 bytes" in short.weakness
    assert long.weakness is None
