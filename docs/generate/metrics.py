"""docs/reference/metrics.md, from the declarations in `telemetry.catalogue` and an answer of /metrics."""

import re
from collections import defaultdict
from typing import Final

from docs.generate.example_server import ExampleServer
from docs.generate.markdown import code, document, table
from telemetry.catalogue import declared

_INTRO: Final = """
`GET /metrics` answers in the text format of Prometheus (version 0.0.4). The request needs `METRICS_TOKEN` or
credentials with the scope `scim.admin`, because the metrics name clients and the receivers of events.
[Monitor](../how-to/monitor.md) has a configuration for Prometheus and alerts.
[Personal data](personal-data.md) says what a label may hold.
"""
_PROCESSES: Final = """
Processes count these metrics. With `PROMETHEUS_MULTIPROC_DIR`, every process of that folder answers for all
of them; `scim serve` makes such a folder by itself. A metric appears when something is counted.

- `route` is the path with names in place of ids, and `-` where no endpoint is. `principal` is the name of the
  client, and empty without valid credentials. After 200 names, a process counts further ones as `other`.
- `call` is a method of the storage adapter, see [Write a backend](../writing-a-backend.md).
- `tolerance` is a deviation of a client that the [profile](profiles.md) accepts.
"""
_SECTIONS: Final = {
    "State": "These metrics come from the storage and the state database: every process answers the same.",
    "Events": "The server answers these metrics when it publishes events: when `SET_PUSH_URL` or"
    " `SET_RECEIVERS` is set, or `SET_POLL_ENABLED` is `true`.",
}
# Settings without which a metric is missing.
_MORE: Final = {"DEPROVISION_LIMIT": "50", "AUDIT_EXPORT_URL": "https://collector.example.com/"}
_HEAD: Final = re.compile(r"# HELP (\S+) (.*)\n# TYPE \S+ (\S+)")
_VERSION: Final = re.compile(r"(?<=version=\")[^\"]+")
_SAMPLE: Final = re.compile(r"^(\w+)\{(.*)\}", re.MULTILINE)


def page() -> str:
    """Return the page of metrics."""
    with ExampleServer(SET_POLL_ENABLED="false", SET_PUSH_URL="", CHANGE_LOG="on", **_MORE) as server:
        always = {name for name, _, _ in _HEAD.findall(_of_state(server.text("/metrics")))}
    with ExampleServer(**_MORE) as server:
        text = _VERSION.sub("1.0.0", server.settled(_of_state(server.text("/metrics"))))
    labels = defaultdict[str, list[str]](list)
    for name, found in _SAMPLE.findall(text):
        labels[name] = re.findall(r"(\w+)=", found)
    heads = ("metric", "type", "labels", "meaning")
    rows = [(f"`{one.name}`", one.kind, _shown(one.labels), one.text) for one in declared()]
    parts = ["## Processes", _PROCESSES, table(heads, rows)]
    for title, introduction in _SECTIONS.items():
        rows = [
            (f"`{name}`", kind, _shown(labels[name]), meaning)
            for name, meaning, kind in _HEAD.findall(text)
            if (name in always) == (title == "State")
        ]
        parts += [f"## {title}", introduction, table(heads, rows)]
    return document("Metrics", _INTRO, *parts, "## Example", code(text))


def _shown(labels: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _of_state(text: str) -> str:
    """Return the part about figures that no process counts: the others differ from run to run."""
    return text[text.index("# HELP scim_build_info") :]
