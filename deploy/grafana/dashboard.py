"""Write scim.json, the dashboard for Grafana: `python deploy/grafana/dashboard.py`.

Each panel asks Prometheus for metrics of docs/reference/metrics.md. Needs grafana-foundation-sdk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FILE: Final = Path(__file__).with_name("scim.json")
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
# In each query, the metrics of one installation: a job of Prometheus.
_JOB: Final = 'job=~"$job"'
_RATE: Final = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A panel: its title, what it says, the unit of Grafana, and its queries by their legend."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    is_figure: bool = field(default=False, kw_only=True)


def rate(metric: str, by: str, labels: str = "") -> str:
    """Return the query for how often a counter grows in a second, by labels."""
    return f"sum by ({by}) (rate({metric}{{{_selector(labels)}}}{_RATE}))"


def greatest(metric: str, by: str = "job") -> str:
    """Return the query for a figure of the database, which each process answers the same."""
    return f"max by ({by}) ({metric}{{{_JOB}}})"


def quantile(share: float, metric: str, by: str) -> str:
    """Return the query for the time within which a share of what a histogram counts was done."""
    buckets = f"sum by (le, {by}) (rate({metric}_bucket{{{_JOB}}}{_RATE}))"
    return f"histogram_quantile({share}, {buckets})"


def _selector(labels: str) -> str:
    return f"{_JOB},{labels}" if labels else _JOB


_FAILED: Final = 'status=~"5..",status!="501"'
_REFUSED: Final = 'status="401"'
_ERRORS: Final = f"{rate('scim_requests_total', 'job', _FAILED)} / {rate('scim_requests_total', 'job')}"
_MEAN_STORE: Final = (
    f"{rate('scim_store_call_duration_seconds_sum', 'call')}"
    f" / {rate('scim_store_call_duration_seconds_count', 'call')}"
)
_MEAN_READ: Final = (
    f"{rate('scim_filter_resources_read_total', 'plan')} / {rate('scim_filter_plans_total', 'plan')}"
)

ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Health": (
        Panel(
            "Processes that answer",
            "0: Prometheus reaches no process, or its token is not valid.",
            "none",
            {"": f"sum by (job) (up{{{_JOB}}})"},
            is_figure=True,
        ),
        Panel(
            "Writable",
            "1: the storage takes changes.",
            "none",
            {"": f"min by (job) (scim_storage_writable{{{_JOB}}})"},
            is_figure=True,
        ),
        Panel(
            "Errors of the server",
            "The share of requests that are answered with a status of 500 or more, except 501.",
            "percentunit",
            {"": _ERRORS},
            is_figure=True,
        ),
        Panel(
            "Oldest undelivered event",
            "The age of the oldest SET that a receiver has not taken.",
            "s",
            {"": greatest("scim_events_oldest_pending_seconds")},
            is_figure=True,
        ),
    ),
    "Requests": (
        Panel(
            "Requests by status",
            "401: no valid credentials. 409: a unique value is taken.",
            "reqps",
            {"{{status}}": rate("scim_requests_total", "status")},
        ),
        Panel(
            "Requests by client",
            "A request without valid credentials has no client.",
            "reqps",
            {"{{principal}}": rate("scim_requests_total", "principal")},
        ),
        Panel(
            "Time of 95 % of the requests",
            "From the request to the last byte of its answer.",
            "s",
            {
                "{{method}} {{route}}": quantile(
                    0.95, "scim_request_duration_seconds", "method, route"
                )
            },
        ),
        Panel(
            "Refused credentials",
            "A client with a wrong key, or somebody who is guessing.",
            "reqps",
            {"{{route}}": rate("scim_requests_total", "route", _REFUSED)},
        ),
    ),
    "Storage": (
        Panel(
            "Calls of the storage",
            "commit is the end of a transaction.",
            "ops",
            {"{{call}}": rate("scim_store_call_duration_seconds_count", "call")},
        ),
        Panel(
            "Mean time of a call",
            "The share of the storage in a request.",
            "s",
            {"{{call}}": _MEAN_STORE},
        ),
        Panel(
            "Errors of the storage",
            "Calls that raised an error. ResourceNotFound is the 404 of a client.",
            "ops",
            {"{{call}} {{error}}": rate("scim_store_errors_total", "call, error")},
        ),
        Panel(
            "Connections in use",
            "Connections to a database server that threads use at the same time. SQLite has no pool.",
            "none",
            {"{{pool}}": f"sum by (pool) (scim_pool_connections_in_use{{{_JOB}}})"},
        ),
    ),
    "Filters": (
        Panel(
            "Searches by plan",
            "native: the storage answered. residual: the server evaluated a part of the filter or sorted."
            " scan: the server read every resource of the type.",
            "ops",
            {"{{plan}}": rate("scim_filter_plans_total", "plan")},
        ),
        Panel(
            "Resources read for a search",
            "Many resources for one page: see the lines \"slow search\" in the log, and scim explain.",
            "none",
            {"{{plan}}": _MEAN_READ},
        ),
        Panel(
            "Slow searches by client",
            "Searches that took SLOW_FILTER_MS milliseconds or more.",
            "ops",
            {"{{principal}}": rate("scim_slow_searches_total", "principal")},
        ),
    ),
    "Clients": (
        Panel(
            "Ignored operations",
            "PATCH operations for attributes that no schema has: a wrong mapping at the client.",
            "ops",
            {"{{principal}}": rate("scim_patch_ignored_operations_total", "principal")},
        ),
        Panel(
            "Tolerated deviations",
            "Values and operations that deviate from the RFCs and were accepted.",
            "ops",
            {"{{principal}} {{tolerance}}": rate("scim_tolerances_total", "principal, tolerance")},
        ),
        Panel(
            "Cursors",
            "expired: a client took longer than CURSOR_TIMEOUT from page to page.",
            "ops",
            {"{{outcome}}": rate("scim_cursors_total", "outcome")},
        ),
    ),
    "Events": (
        Panel(
            "Age of the oldest undelivered event",
            "It grows while a receiver is down.",
            "s",
            {"{{receiver}}": greatest("scim_events_oldest_pending_seconds", "receiver")},
        ),
        Panel(
            "Undelivered and refused events",
            "Refused events stay until scim events retry or drop.",
            "none",
            {
                "{{receiver}} undelivered": greatest("scim_events_pending", "receiver"),
                "{{receiver}} refused": greatest("scim_events_dead", "receiver"),
            },
        ),
        Panel(
            "Delivered events",
            "SETs that a receiver has taken.",
            "ops",
            {
                "{{receiver}}": f"max by (receiver) (rate(scim_events_delivered_total{{{_JOB}}}{_RATE}))",
            },
        ),
        Panel(
            "Time of 95 % of the deliveries",
            "failed: the receiver did not answer, or not with a status of success.",
            "s",
            {"{{receiver}} {{outcome}}": quantile(0.95, "scim_push_duration_seconds", "receiver, outcome")},
        ),
        Panel(
            "Events in feeds",
            "Events that a reader has not acknowledged.",
            "none",
            {"{{feed}}": greatest("scim_feed_unacknowledged", "feed")},
        ),
    ),
    "Change log and asynchronous requests": (
        Panel(
            "Lag of the dispatcher",
            "The age of the oldest change without a position.",
            "s",
            {"": greatest("scim_change_log_lag_seconds")},
        ),
        Panel(
            "Disk use of the change log",
            "On SQLite, of the whole database. CHANGE_RETENTION limits the age of the log.",
            "bytes",
            {"": greatest("scim_change_log_bytes")},
        ),
        Panel(
            "Lag of the audit export",
            "The age of the oldest row that the collector lacks. Empty without AUDIT_EXPORT_URL.",
            "s",
            {"": greatest("scim_audit_export_lag_seconds")},
        ),
        Panel(
            "Asynchronous requests that wait",
            "Requests without a result.",
            "none",
            {"": greatest("scim_jobs_waiting")},
        ),
        Panel(
            "Age of the oldest asynchronous request",
            "It grows while no worker runs.",
            "s",
            {"": greatest("scim_jobs_oldest_waiting_seconds")},
        ),
    ),
}


def text() -> str:
    """Return the dashboard as JSON."""
    whole = (
        dashboard.Dashboard("SCIM")
        .uid("scim-gateway")
        .description("Requests, storage, filters, clients, events and jobs of scim-gateway.")
        .tags(["scim"])
        .refresh("1m")
        .time("now-6h", "now")
        .timezone("browser")
        .editable()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("job")
            .label("Job")
            .datasource(_SOURCE)
            .query("label_values(scim_storage_writable, job)")
            .include_all(True)
            .all_value(".*")
        )
    )
    ids = count(1)
    for title, panels in ROWS.items():
        whole = whole.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            made = _figure(panel) if panel.is_figure else _graph(panel)
            whole = whole.with_panel(made.id(next(ids)))
    return JSONEncoder(sort_keys=True, indent=2).encode(whole.build()) + "\n"


def _graph(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().title(panel.title).description(panel.description).unit(panel.unit)
    return made.datasource(_SOURCE).span(8).height(8).min(0).fill_opacity(10).targets(_targets(panel))


def _figure(panel: Panel) -> stat.Panel:
    made = stat.Panel().title(panel.title).description(panel.description).unit(panel.unit)
    return made.datasource(_SOURCE).span(6).height(4).targets(_targets(panel))


def _targets(panel: Panel) -> list[Builder[Dataquery]]:
    queries = enumerate(panel.queries.items())
    return [
        prometheus.Dataquery().expr(query).legend_format(legend).ref_id("ABCDEF"[number])
        for number, (legend, query) in queries
    ]


if __name__ == "__main__":
    FILE.write_text(text())
