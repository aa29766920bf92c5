"""Figures for monitoring, in the text format of Prometheus.

The figures of events come from the state database, so any process may answer. A figure that a process
counts by itself has the id of the process as a label: one counter for several processes would go up and
down. Requests are in the log, a line each.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from app.protocol.patch import IgnoredPaths
from set_delivery.inventory import FeedState, Inventory, LogState, ReceiverState
from storage.errors import StorageError

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
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


def metrics_blueprint(
    inventory: Inventory,
    check_writable: Callable[[], object],
    ignored: IgnoredPaths,
    *,
    is_on: bool,
    keeps_history: bool,
) -> Blueprint:
    """Return the blueprint of /metrics; `is_on` says whether anybody receives events.

    `keeps_history` says whether there is a change log.

    `check_writable` raises a StorageError when the storage takes no changes.
    """
    blueprint = Blueprint("Metrics", __name__)

    @blueprint.route("/metrics")
    class Metrics(MethodView):
        init_every_request = False

        def get(self) -> Response:
            lines = _heads("scim_events_enabled", "gauge", "1 if events are switched on, else 0.")
            lines.append(f"scim_events_enabled {int(is_on)}")
            lines += _heads("scim_storage_writable", "gauge", "1 if the storage accepts changes, else 0.")
            lines.append(f"scim_storage_writable {int(_holds(check_writable))}")
            lines += _of_patches(ignored)
            if keeps_history:
                lines += _of_log(inventory.change_log())
            if is_on:
                lines += _of_events(inventory)
            return Response("\n".join(lines) + "\n", content_type=_TYPE)

    return blueprint


def _holds(check: Callable[[], object]) -> bool:
    try:
        check()
    except StorageError:
        return False
    return True


def _of_patches(ignored: IgnoredPaths) -> Iterator[str]:
    name = "scim_patch_ignored_operations_total"
    yield from _heads(name, "counter", "PATCH operations ignored for an unknown attribute, by process.")
    yield f'{name}{{process="{os.getpid()}"}} {ignored.operations}'


def _of_log(state: LogState) -> Iterator[str]:
    for name, (kind, text, figure) in _CHANGE_LOG.items():
        yield from _heads(name, kind, text)
        yield f"{name} {getattr(state, figure)}"


def _of_events(inventory: Inventory) -> Iterator[str]:
    yield from _heads("scim_events_waiting", "gauge", "Changes not yet turned into SETs.")
    yield f"scim_events_waiting {inventory.waiting()}"
    receivers = inventory.receivers()
    for name, (kind, text, figure) in _RECEIVER.items():
        yield from _heads(name, kind, text)
        yield from _samples(name, "receiver", ((r.name, r) for r in receivers), figure)
    feeds = inventory.configured_feeds()
    for name, (kind, text, figure) in _FEED.items():
        yield from _heads(name, kind, text)
        yield from _samples(name, "feed", ((f.feed, f) for f in feeds), figure)


def _heads(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _samples(
    name: str, label: str, states: Iterable[tuple[str, ReceiverState | FeedState]], figure: str
) -> Iterator[str]:
    for value, state in states:
        yield f'{name}{{{label}="{_escaped(value)}"}} {getattr(state, figure)}'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
