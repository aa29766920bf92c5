"""docs/reference/metrics.md, from an answer of /metrics."""

import re
from collections import defaultdict
from typing import Final

from docs.generate.example_server import ExampleServer
from docs.generate.markdown import code, document, table

_INTRO: Final = """
`GET /metrics` answers in the text format of Prometheus (version 0.0.4). The request needs the API key,
because the metrics name the receivers of events. [Monitor](../how-to/monitor.md) has a configuration for
Prometheus and alerts.

The metrics of events come from the database, so every process answers the same. A metric with the label
`process` counts the requests of one process since its start: add the processes up. The server does not
count requests here; the log has one line for each request.
"""
_SECTIONS: Final = {
    "Always": "The server answers these metrics under all settings.",
    "Events": "The server answers these metrics when it publishes events: when `SET_PUSH_URL` or"
    " `SET_RECEIVERS` is set, or `SET_POLL_ENABLED` is `true`.",
}
_HEAD: Final = re.compile(r"# HELP (\S+) (.*)\n# TYPE \S+ (\S+)")
_SAMPLE: Final = re.compile(r"^(\w+)\{(.*)\}", re.MULTILINE)


def page() -> str:
    """Return the page of metrics."""
    with ExampleServer(SET_POLL_ENABLED="false", SET_PUSH_URL="") as server:
        always = {name for name, _, _ in _HEAD.findall(server.text("/metrics"))}
    with ExampleServer() as server:
        text = server.text("/metrics")
    labels = defaultdict[str, list[str]](list)
    for name, found in _SAMPLE.findall(text):
        labels[name] = re.findall(r"(\w+)=", found)
    parts = []
    for title, introduction in _SECTIONS.items():
        rows = [
            (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels[name]), meaning)
            for name, meaning, kind in _HEAD.findall(text)
            if (name in always) == (title == "Always")
        ]
        parts += [f"## {title}", introduction, table(("metric", "type", "labels", "meaning"), rows)]
    return document("Metrics", _INTRO, *parts, "## Example", code(server.settled(text)))
