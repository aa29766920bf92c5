"""Settings of what the server shows of itself: its log, slow searches and its metrics."""

from dataclasses import dataclass

from app.configuration import types
from storage import option_types
from storage.options import secret, setting


@dataclass(frozen=True, repr=False)
class LogSettings:
    """The log."""

    loglevel: str = setting(
        "INFO",
        types.log_level,
        "The lowest level of the log lines that the server writes to standard error.",
        "Drivers log only warnings and errors at every level, because their other log lines contain hashes"
        " and addresses.",
    )
    log_format: str = setting(
        "text",
        option_types.one_of("text", "json"),
        "The form of a log line: `text`, or `json` for an object per line.",
        "See [Monitor](../how-to/monitor.md#the-log).",
    )
    log_values: bool = setting(
        False,
        option_types.flag,
        "`true`: log lines may hold what clients put into their requests, such as the path. `false`: they"
        " hold ids and names of attributes, and no values.",
        "See [Personal data](personal-data.md).",
    )


@dataclass(frozen=True, repr=False)
class SlowSearchSettings:
    """Slow searches."""

    slow_filter_ms: int = setting(
        1000,
        types.milliseconds,
        "A search that takes this time or longer, in milliseconds, is logged with its plan: the parts of the"
        " filter that the storage answered, those that the server evaluated, the number of resources read,"
        " and the attributes that `INDEXED_ATTRIBUTES` lacks.",
        "`0` logs every search. See [Slow filters](../how-to/slow-filters.md).",
    )


@dataclass(frozen=True, repr=False)
class MetricsSettings:
    """Metrics for Prometheus, and traces."""

    metrics_token: str = secret(
        "",
        types.long_token,
        "A bearer token that opens `/metrics` and nothing else.",
        "Without it, `/metrics` needs an API key. A token with fewer than 16 characters stops the start.",
    )
    metrics_port: int | None = setting(
        None,
        option_types.port,
        "The port on which `scim worker` answers with its metrics, at any path and without credentials.",
        "Without it, `scim worker` does not listen. A port that another program has stops the start.",
        shown="none",
    )
    metrics_host: str = setting(
        "127.0.0.1",
        types.host,
        "The address for `METRICS_PORT`. Anybody who reaches it can read the metrics.",
    )
    tracing: bool = setting(
        False,
        option_types.flag,
        "`true`: the server sends traces by OTLP over HTTP, and continues those of clients that send"
        " `traceparent`. The variables of OpenTelemetry, such as `OTEL_EXPORTER_OTLP_ENDPOINT` and"
        " `OTEL_TRACES_SAMPLER`, say where to and how many.",
        "It needs the extra `tracing`; without it, the start stops. See"
        " [Monitor](../how-to/monitor.md#traces).",
    )
