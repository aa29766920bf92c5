"""What the tests of events and traces share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from telemetry import tracing
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


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        tracing.use(provider)

    def named(self, name: str) -> list[Any]:
        """Return the spans of this name, in the order of their ends, and forget none."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def all(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def spans() -> Iterator[Spans]:
    yield Spans()
    tracing.use(None)
