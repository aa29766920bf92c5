"""What the tests of events share."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import ScimClient
from tests.events import POLL
from tests.receivers import HttpReceiver


@pytest.fixture
def polled(make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim(**POLL)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    listening = HttpReceiver()
    yield listening
    listening.stop()
