"""Traces: the spans of a request, of what the storage does for it, of jobs and of pushed SETs."""

from collections.abc import Callable
from typing import Any

import pytest

from app import configure_tracing
from app.configuration.settings import Settings, SettingsError
from telemetry import tracing
from tests.app.conftest import Spans
from tests.conftest import ScimClient
from tests.events import pushes
from tests.receivers import HttpReceiver

# On forward, the upstream is in this process, and its spans have the same names.
pytestmark = pytest.mark.on("sqlite", "postgresql", "files", "mongodb", "ldap")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def trace_of(span: Any) -> str:
    return f"{span.context.trace_id:032x}"


def parent_of(span: Any) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def id_of(span: Any) -> str:
    return f"{span.context.span_id:016x}"


def test_a_request_continues_the_trace_of_its_client(scim: ScimClient, spans: Spans) -> None:
    user = scim.user("ann")

    answer = scim("GET", user["meta"]["location"], headers={**TRACEPARENT, "X-Request-ID": "r-1"})

    (span,) = spans.named("GET /Users/{resource_id}")
    assert (trace_of(span), parent_of(span), span.kind.name) == (TRACE, SPAN, "SERVER")
    assert answer.headers["traceparent"] == f"00-{TRACE}-{id_of(span)}-01"
    attributes = dict(span.attributes)
    assert attributes.pop("scim.principal").startswith("api-key ")
    assert attributes == {
        "http.request.method": "GET",
        "http.route": "/Users/{resource_id}",
        "http.response.status_code": 200,
        "scim.base": "default",
        "scim.request_id": "r-1",
    }
    calls = [one for one in spans.all() if trace_of(one) == TRACE and one is not span]
    assert {parent_of(one) for one in calls} == {id_of(span)}
    assert "storage get" in {one.name for one in calls}


def test_without_a_trace_of_the_client_a_request_begins_one(scim: ScimClient, spans: Spans) -> None:
    scim("GET", "/Users")
    scim("GET", "/Users")

    first, second = spans.named("GET /Users")
    assert parent_of(first) is None and trace_of(first) != trace_of(second)


def test_what_fails_says_so_and_not_why(scim: ScimClient, spans: Spans) -> None:
    assert scim("GET", "/Users/ann@example.org").status_code == 404

    (span,) = spans.named("GET /Users/{resource_id}")
    assert span.attributes["http.response.status_code"] == 404
    failed = [one for one in spans.all() if one.attributes and "error.type" in one.attributes]
    assert {one.attributes["error.type"] for one in failed} <= {"ResourceNotFound"}
    assert not any(one.events for one in spans.all())
    assert "ann@" not in str([one.to_json() for one in spans.all()])


@pytest.mark.sqlite
def test_an_asynchronous_request_is_carried_out_in_the_trace_that_it_came_in(
    make_scim: Callable[..., ScimClient], spans: Spans
) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann"}

    accepted = scim("POST", "/Users", body, headers={**TRACEPARENT, "Prefer": "respond-async"})
    scim.work()

    (request,), (job,) = spans.named("POST /Users"), spans.named("job")
    assert (trace_of(job), parent_of(job), job.kind.name) == (TRACE, id_of(request), "CONSUMER")
    assert job.attributes["scim.txn"] == accepted.headers["Set-Txn"]
    assert parent_of(spans.named("storage create")[0]) == id_of(job)


@pytest.mark.sqlite
def test_a_push_is_a_span_that_the_receiver_can_continue(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver, spans: Spans
) -> None:
    scim = pushes(make_scim, receiver)
    scim.user("ann")
    scim.work()

    (span,), (attempt,) = spans.named("push"), receiver.attempts
    assert attempt.headers["traceparent"].startswith(f"00-{trace_of(span)}-{id_of(span)}-")
    assert dict(span.attributes) == {
        "scim.receiver": "push",
        "scim.jti": attempt.claims["jti"],
        "scim.txn": attempt.claims["txn"],
        "scim.outcome": "taken",
    }
    (request,) = spans.named("POST /Users")
    assert request.attributes["scim.txn"] == attempt.claims["txn"]


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError(name="opentelemetry")

    monkeypatch.setattr(tracing, "export_spans", missing)
    with pytest.raises(SettingsError) as caught:
        configure_tracing(Settings(tracing=True))

    assert "TRACING: its driver (opentelemetry) is not installed" in str(caught.value)
    assert "[tracing]" in str(caught.value)
