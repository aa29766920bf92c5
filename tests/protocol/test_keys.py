"""Keys: one for each purpose, the same in every process with the same secrets."""

import hashlib
import hmac

import pytest

from app.protocol.keys import Keys, Purpose

A, B = b"a" * 32, b"b" * 32
CLIENTS = {"ann": "key-of-ann", "ben": "key-of-ben"}


def test_a_key_is_that_of_hkdf() -> None:
    # RFC 5869 sections 2.2 and 2.3, for one block, with a salt of zeros.
    extracted = hmac.new(bytes(32), A, hashlib.sha256).digest()
    expanded = hmac.new(extracted, b"scim jobs\x01", hashlib.sha256).digest()

    assert Keys([A], {}).derived(Purpose.JOBS) == (expanded,)


def test_each_purpose_and_each_secret_has_a_key_of_its_own() -> None:
    derived = [key for purpose in Purpose for key in Keys([A, B], {}).derived(purpose)]

    assert len(set(derived)) == 2 * len(Purpose) == 10
    assert {len(key) for key in derived} == {32}


@pytest.mark.parametrize("purpose", Purpose)
def test_the_first_secret_writes(purpose: Purpose) -> None:
    assert Keys([A, B], {}).derived(purpose) == tuple(reversed(Keys([B, A], {}).derived(purpose)))


def test_a_secret_that_is_added_leaves_every_key_among_those_that_read() -> None:
    for before in ([], [A]):
        for client in CLIENTS:
            former, now = Keys(before, CLIENTS).cursors(client), Keys([B, *before], CLIENTS).cursors(client)
            assert set(former) < set(now)
            assert now[0] not in former


@pytest.mark.parametrize("secrets", [[], [A]])
@pytest.mark.parametrize(
    "after", [{"ben": "key-of-ben"}, {**CLIENTS, "eve": "key-of-eve"}, {"eve": "e", "ben": "key-of-ben"}]
)
def test_other_api_keys_may_change_without_ending_cursors(
    secrets: list[bytes], after: dict[str, str]
) -> None:
    assert Keys(secrets, CLIENTS).cursors("ben")[0] in Keys(secrets, after).cursors("ben")


def test_without_secrets_each_client_has_a_key_that_no_other_client_can_make() -> None:
    keys = Keys([], CLIENTS)

    assert keys.cursors("ann")[0] not in keys.cursors("ben")
    assert keys.derived(Purpose.JOBS) == ()


def test_what_earlier_releases_signed_and_encrypted_is_read() -> None:
    cursors = hashlib.sha256(b"cursor 2\0key-of-ann\0key-of-ben").digest()
    jobs = [hashlib.sha256(b"scim job\0" + key).digest() for key in (b"key-of-ann", b"key-of-ben")]
    keys = Keys([A], CLIENTS)

    assert keys.cursors("ann")[-1] == keys.cursors("ben")[-1] == cursors
    assert keys.jobs() == (*keys.derived(Purpose.JOBS), *jobs)
