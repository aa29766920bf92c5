"""Every metric that processes count; those that are read from the database are beside the endpoint.

A label never holds a value of a resource, nor text from a client that has not proved who it is.
"""

from typing import Final

from telemetry.metrics import Counter, Gauge, Histogram, Metric

# Seconds. Reads by id take a tenth of a millisecond, remote backends and Bulk requests take seconds.
_REQUEST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STORE_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)

REQUESTS: Final = Counter(
    "scim_requests_total",
    "Requests, by the status that was answered. A request without valid credentials has no principal.",
    *("base", "route", "method", "status", "principal"),
)
REQUEST_SECONDS: Final = Histogram(
    "scim_request_duration_seconds",
    "Time from the request to the last byte of its answer.",
    *("base", "route", "method"),
    buckets=_REQUEST_S,
)
STORE_SECONDS: Final = Histogram(
    "scim_store_call_duration_seconds",
    "Time of the calls of the storage adapter; commit is the end of a transaction.",
    "call",
    buckets=_STORE_S,
)
STORE_ERRORS: Final = Counter(
    "scim_store_errors_total", "Calls of the storage adapter that raised an error.", "call", "error"
)
CONNECTIONS: Final = Gauge(
    "scim_pool_connections_in_use", "Connections of a pool to a database server that threads use.", "pool"
)
CONNECTION_WAITS: Final = Counter(
    "scim_pool_waits_total", "Calls that found all connections of a pool in use, and waited.", "pool"
)
CONFLICTS: Final = Counter(
    "scim_conflicts_total",
    "Changes that lost a race against another writer: retried, or given_up after the last attempt.",
    "outcome",
)
FILTER_PLANS: Final = Counter(
    "scim_filter_plans_total",
    "Searches, by plan: native (by the storage), residual (the server evaluated a part of the filter, or"
    " sorted) or scan (the server read every resource of the type).",
    *("type", "plan"),
)
FILTER_READS: Final = Counter(
    "scim_filter_resources_read_total",
    "Resources that searches read from the storage, by their plan.",
    *("type", "plan"),
)
SLOW_SEARCHES: Final = Counter(
    "scim_slow_searches_total", "Searches that took SLOW_FILTER_MS milliseconds or more.", "principal"
)
CURSORS: Final = Counter(
    "scim_cursors_total", "Cursors, by what became of them: made, accepted, expired or refused.", "outcome"
)
TOLERANCES: Final = Counter(
    "scim_tolerances_total",
    "Values and operations of clients that deviate from the RFCs and were accepted.",
    *("tolerance", "principal"),
)
IGNORED: Final = Counter(
    "scim_patch_ignored_operations_total", "PATCH operations ignored for an unknown attribute.", "principal"
)
JOBS: Final = Counter(
    "scim_jobs_total",
    "Asynchronous requests, by what became of them: accepted, done, failed or delayed.",
    "outcome",
)
PUSH_SECONDS: Final = Histogram(
    "scim_push_duration_seconds",
    "Time of the attempts to deliver a SET, by outcome: taken, refused or failed.",
    *("receiver", "outcome"),
    buckets=_REQUEST_S,
)


def declared() -> tuple[Metric, ...]:
    """Return every metric of this module, in its order."""
    return tuple(one for one in globals().values() if isinstance(one, Metric))
