"""Whatever is killed at whatever moment: what was answered is stored and told, and nothing else is told."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import KEY, Server
from tests.receivers import HttpReceiver
from tests.storm import Storm


# What several processes can do on the others is tested with their adapters.
@pytest.mark.on("sqlite", "postgresql", "mariadb", "files", "mongodb", "lines")
def test_events_and_store_agree_after_twenty_kills(
    serve: Callable[..., Server], receiver: HttpReceiver
) -> None:
    settings: dict[str, Any] = {"SET_PUSH_URL": receiver.url, "WORKERS": "2", "LOGLEVEL": "CRITICAL"}
    server = serve(**settings)
    storm = Storm(server, server.environ, receiver)
    try:
        storm.run(kills=20)
        storm.settle(60)
        figures = storm.check()
    finally:
        storm.close()

    assert figures["kills"] == 20
    assert figures["answered creates"] > 20
    assert KEY not in str(receiver.claims)
