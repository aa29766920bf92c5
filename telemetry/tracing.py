"""Traces by OpenTelemetry, an extra: a span for each request, call of the storage, job and pushed SET.

A span belongs to the activity of a thread (`telemetry.current`) and not to the context of OpenTelemetry:
a request may go on in another thread. Attributes hold ids, routes and names of attributes, and neither
values of resources nor the texts of errors.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from telemetry.current import Activity, current

_SERVICE: Final = "scim"


class _State:
    """What makes spans in this process, None while it makes none."""

    tracer: Any = None
    provider: Any = None


def export_spans() -> None:
    """Send spans from now on by OTLP over HTTP, as the variables OTEL_… of OpenTelemetry say.

    Raises ImportError when the extra is not installed.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)


def use(provider: Any) -> None:
    """Make spans by a provider of OpenTelemetry from now on, none when it is None."""
    _State.provider = provider
    _State.tracer = provider.get_tracer("scim") if provider is not None else None


def flush() -> None:
    """Send the spans that wait, for a process that ends."""
    if _State.provider is not None:
        _State.provider.force_flush()


def is_on() -> bool:
    """Return whether this process makes spans."""
    return _State.tracer is not None


def begun(kind: str, name: str, parent: Any = None, attributes: Mapping[str, Any] | None = None) -> Any:
    """Return a new span, which the caller ends; `kind` is server, client, consumer or internal.

    `parent` is a span, or the traceparent of another process; "" and None are for a new trace.
    """
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = Context()
    if isinstance(parent, str):
        carrier = {"traceparent": parent}
        context = TraceContextTextMapPropagator().extract(carrier, context)
    elif parent is not None:
        context = trace.set_span_in_context(parent, context)
    return _State.tracer.start_span(name, context, trace.SpanKind[kind.upper()], attributes)


def traceparent_of(span: Any) -> str:
    """Return what tells another process of a span (W3C Trace Context)."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def note(name: str, value: str) -> None:
    """Give the span of what the thread is busy with an attribute."""
    activity = current.get()
    if activity is not None and activity.span is not None:
        activity.span.set_attribute(name, value)


@contextmanager
def traced(activity: Activity, kind: str, name: str, parent: str) -> Iterator[None]:
    """Give an activity a span in this context, where spans are made."""
    if not is_on():
        yield
        return
    attributes = {"scim.request_id": activity.request_id, "scim.principal": activity.principal}
    activity.span = begun(kind, name, parent, attributes)
    try:
        yield
    except BaseException as problem:
        activity.span.set_attribute("error.type", type(problem).__name__)
        raise
    finally:
        activity.span.end()
