"""Figures for monitoring, in the text format of Prometheus.

The figures of requests come from all processes that count into one folder (`telemetry.metrics`), else
from this one. Those of events, jobs and the change log come from the state database, so any process may
answer.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.responses import Response
from app.protocol.jobs import Jobs
from set_delivery.audit_export import AuditExport
from set_delivery.deprovisions import DeprovisionTable
from set_delivery.inventory import Inventory
from storage.errors import StorageError
from telemetry.metrics import CONTENT_TYPE, exposition, figures

_LOG = logging.getLogger(__name__)

_RECEIVER: Final = {
    "scim_events_pending": ("gauge", "SETs not yet delivered to the receiver.", "pending"),
    "scim_events_delivered_total": ("counter", "SETs delivered to the receiver.", "delivered"),
    "scim_events_dead": ("gauge", "Permanently refused SETs that are still stored.", "dead"),
    "scim_events_refused_total": ("counter", "SETs permanently refused by the receiver.", "refused"),
    "scim_events_dropped_total": ("counter", "SETs dropped undelivered after SET_RETENTION.", "dropped"),
    "scim_events_failures": ("gauge", "Failed delivery attempts in a row.", "attempts"),
    "scim_events_oldest_pending_seconds": ("gauge", "Age of the oldest SET not yet delivered.", "oldest_s"),
}
_FEED: Final = {
    "scim_feed_held": ("gauge", "SETs in the feed.", "held"),
    "scim_feed_unacknowledged": ("gauge", "SETs in the feed that are not acknowledged.", "unacknowledged"),
    "scim_feed_dropped_total": ("counter", "SETs dropped from the feed unacknowledged.", "dropped"),
}
_CHANGE_LOG: Final = {
    "scim_change_log_rows": ("gauge", "Rows of the change log that have a position.", "rows"),
    "scim_change_log_bytes": (
        "gauge",
        "Bytes of the tables of the change log; on SQLite, of the whole database.",
        "size_bytes",
    ),
    "scim_change_log_lag_seconds": ("gauge", "Age of the oldest change without a position.", "lag_s"),
}
_EXPORT: Final = {
    "scim_audit_export_lag_seconds": (
        "gauge",
        "Age of the oldest row of the change log that the collector has not taken.",
        "lag_s",
    ),
    "scim_audit_export_failures": ("gauge", "Failed attempts of the audit export in a row.", "attempts"),
}
_JOBS: Final = {
    "scim_jobs_waiting": ("gauge", "Asynchronous requests without a result.", "waiting"),
    "scim_jobs_oldest_waiting_seconds": (
        "gauge",
        "Age of the oldest asynchronous request without a result.",
        "oldest_s",
    ),
}


@dataclass(frozen=True)
class StateFigures:
    """The collector of the figures that are the same in all processes.

    `has_events` says whether anybody receives events, `has_log` whether there is a change log,
    `has_default_key` whether the published default of API_KEY opens this server. `jobs` are None without
    asynchronous requests, `guard` is None without DEPROVISION_LIMIT, and `export` is None without
    AUDIT_EXPORT_URL. `check_writable` raises a StorageError when the storage takes no changes.
    """

    inventory: Inventory
    check_writable: Callable[[], object]
    jobs: Jobs | None
    has_events: bool
    has_log: bool
    has_default_key: bool
    guard: DeprovisionTable | None = None
    export: AuditExport | None = None

    def collect(self) -> Iterator[Any]:
        """Yield the metrics. A state database that does not answer is a figure, too."""
        release = [(version("scim-gateway"), 1.0)]
        yield figures("gauge", "scim_build_info", "The release of the server.", release, "version")
        yield _single("gauge", "scim_events_enabled", "1 if events are switched on, else 0.", self.has_events)
        text = "1 if the storage accepts changes, else 0."
        yield _single("gauge", "scim_storage_writable", text, _holds(self.check_writable))
        text = "1 if the published API_KEY is valid, else 0."
        yield _single("gauge", "scim_default_api_key", text, self.has_default_key)
        found: list[Any] = []
        try:
            found += self._of_database()
        except StorageError as problem:
            _LOG.warning("the metrics of the state database are missing: %s", problem)
        is_readable = found or not (self.has_events or self.has_log or self.jobs or self.guard)
        text = "1 if the state database answers or is not needed, else 0."
        yield _single("gauge", "scim_state_readable", text, bool(is_readable))
        yield from found

    def _of_database(self) -> Iterator[Any]:
        if self.has_log:
            yield from _singles(_CHANGE_LOG, self.inventory.change_log())
        if self.export is not None:
            yield from _singles(_EXPORT, self.export.backlog())
        if self.jobs is not None:
            yield from _singles(_JOBS, self.jobs.backlog())
        if self.guard is not None:
            text = "1 if the deprovisioning guard has stopped the client, else 0."
            closed: dict[str, float] = {}
            for window in self.guard.windows():
                is_closed = window.closed_at is not None
                closed[window.principal] = max(closed.get(window.principal, 0.0), float(is_closed))
            yield figures("gauge", "scim_guard_closed", text, closed.items(), "principal")
        if self.has_events:
            text, waiting = "Changes not yet turned into SETs.", self.inventory.waiting()
            yield _single("gauge", "scim_events_waiting", text, waiting)
            yield from _labelled(_RECEIVER, "receiver", [(r.name, r) for r in self.inventory.receivers()])
            yield from _labelled(_FEED, "feed", [(f.feed, f) for f in self.inventory.configured_feeds()])


def metrics_blueprint(state: StateFigures) -> Blueprint:
    """Return the blueprint of /metrics."""
    blueprint = Blueprint("Metrics", __name__)

    @blueprint.route("/metrics")
    class Metrics(MethodView):
        init_every_request = False

        def get(self) -> Response:
            return Response(exposition([state]), content_type=CONTENT_TYPE)

    return blueprint


def _holds(check: Callable[[], object]) -> bool:
    try:
        check()
    except StorageError:
        return False
    return True


def _single(kind: str, name: str, text: str, value: float) -> Any:
    return figures(kind, name, text, [("", float(value))])


def _singles(metrics: dict[str, tuple[str, str, str]], state: Any) -> Iterator[Any]:
    for name, (kind, text, figure) in metrics.items():
        yield _single(kind, name, text, getattr(state, figure))


def _labelled(
    metrics: dict[str, tuple[str, str, str]], label: str, states: Iterable[tuple[str, Any]]
) -> Iterator[Any]:
    for name, (kind, text, figure) in metrics.items():
        found = [(value, float(getattr(state, figure))) for value, state in states]
        yield figures(kind, name, text, found, label)
