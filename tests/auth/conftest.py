"""What the tests of credentials share."""

from collections.abc import Iterator

import pytest

from tests.auth.issuers import HttpIssuer, rsa_key


@pytest.fixture
def issuer() -> Iterator[HttpIssuer]:
    listening = HttpIssuer(rsa_key("k1"), path="/realms/main")
    yield listening
    listening.stop()
