"""The text of a token: random, and recognisable."""

import re
from collections.abc import Callable
from zlib import crc32

import pytest

from app.auth.token_text import is_token, new_token


def test_a_token_is_recognisable_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(re.fullmatch("scim_[0-9A-Za-z]{46}", token) and is_token(token) for token in tokens)


def test_the_checksum_is_that_of_the_random_part() -> None:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = crc32(b"0" * 40)
    checksum = "".join(digits[number // 62**place % 62] for place in reversed(range(6)))

    assert is_token(f"scim_{'0' * 40}{checksum}")
    assert not is_token(f"scim_{'0' * 40}{checksum[::-1]}")


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: f"{token} ",
        lambda token: f"{token}\n",
        lambda token: token.upper(),
        lambda token: token.removeprefix("scim_"),
        lambda token: token[:10] + ("0" if token[10] != "0" else "1") + token[11:],
        lambda token: token[:10] + "\u00e9" + token[11:],
        lambda token: "",
    ],
)
def test_another_text_is_no_token(change: Callable[[str], str]) -> None:
    assert not is_token(change(new_token()))
