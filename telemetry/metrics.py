"""Metrics of processes, kept by prometheus-client: declared at import, made when something is counted.

prometheus-client decides at its import, by the variable PROMETHEUS_MULTIPROC_DIR, whether processes count
into files that each of them can read. It is imported with the first figure, so that `scim serve` can set
the variable. The metrics belong to the process: two applications in one process count together.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

from telemetry.writing import note, write

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder with the figures of all processes."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OTHER: Final = "other"
"""The label in place of a name when a process has met too many names."""

# Names in labels that an operator makes as many of as he likes, such as principals.
_MOST_NAMES: Final = 200
_making = Lock()
_names: set[str] = set()


class Metric:
    """A declared metric with the names of its labels; values of labels are given in their order.

    Each combination of values is kept for the life of the process: values must come from a small set.
    """

    kind = ""
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._family: Any = None
        self._cells: dict[tuple[str, ...], Any] = {}

    def _cell(self, values: tuple[str, ...]) -> Any:
        """Return that which counts for a combination of labels, made the first time."""
        with _making:
            if self._family is None:
                self._family = self._made()
            cell = self._family.labels(*values) if values else self._family
            return self._cells.setdefault(values, cell)

    def _made(self) -> Any:
        import prometheus_client

        kind = getattr(prometheus_client, self.kind.capitalize())
        return kind(self.name, self.text, self.labels, registry=_own_registry(), **self.options)


class Counter(Metric):
    """A number that only grows while the process lives."""

    kind = "counter"

    def inc(self, *values: str, by: float = 1) -> None:
        """Add to the counter of a combination of labels."""
        note(self._cells.get(values) or self._cell(values), by)


class Gauge(Metric):
    """A number that each live process has; the figure is the sum of them."""

    kind = "gauge"
    options = MappingProxyType({"multiprocess_mode": "livesum"})

    def set(self, value: float, *values: str) -> None:
        """Set the figure of this process for a combination of labels."""
        (self._cells.get(values) or self._cell(values)).set(value)


class Histogram(Metric):
    """A distribution of seconds."""

    kind = "histogram"

    def __init__(self, name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> None:
        super().__init__(name, text, *labels)
        self.options = {"buckets": buckets}

    def observe(self, value: float, *values: str) -> None:
        """Count a value for a combination of labels."""
        note(self._cells.get(values) or self._cell(values), value)


def bounded(name: str) -> str:
    """Return a name for a label: itself, or OTHER when this process has met too many names."""
    if name not in _names:
        if len(_names) >= _MOST_NAMES:
            return OTHER
        _names.add(name)
    return name


def exposition(collectors: Iterable[Any] = ()) -> bytes:
    """Return the metrics of all processes, and those of `collectors`, as Prometheus reads them."""
    from prometheus_client import CollectorRegistry, generate_latest

    text: bytes = generate_latest(process_registry())
    for collector in collectors:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        text += generate_latest(registry)
    return text


def label_sets(text: str, name: str) -> list[Mapping[str, str]]:
    """Return the labels of each sample of a metric in a text that Prometheus reads."""
    from prometheus_client.parser import text_string_to_metric_families

    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return [sample.labels for sample in samples if sample.name == name and sample.value > 0]


def process_registry() -> Any:
    """Return the registry of prometheus-client with the metrics of all processes, or else of this one."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    write()
    if not shares_figures():
        return _own_registry()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


def figures(kind: str, name: str, text: str, found: Iterable[tuple[str, float]], label: str = "") -> Any:
    """Return a metric that a collector has looked up: a figure for each value of its label, or just one.

    `kind` is gauge or counter.
    """
    from prometheus_client import metrics_core

    family = getattr(metrics_core, f"{kind.capitalize()}MetricFamily")
    metric = family(name, text, labels=[label] if label else ())
    for value, figure in found:
        metric.add_metric([value] if label else (), figure)
    return metric


@contextmanager
def served(host: str, port: int) -> Iterator[None]:
    """Answer GET with the metrics of processes, at any path and without credentials, in this context.

    Raises OSError when the port is taken.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(_Processes())
    server, thread = start_http_server(port, host, registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def shares_figures() -> bool:
    """Return whether this process counts into a folder that other processes read."""
    return FOLDER in os.environ


def forget_process(process: int) -> None:
    """Remove the figures of a process that has ended from the sums of live processes."""
    if shares_figures() and Path(os.environ[FOLDER]).is_dir():
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(process)


class _Processes:
    """The collector of what processes have counted by the time of a request."""

    def collect(self) -> Iterator[Any]:
        yield from process_registry().collect()


@cache
def _own_registry() -> Any:
    from prometheus_client import CollectorRegistry, disable_created_metrics

    # When a series began is of no use to the rules of Prometheus, and doubles the number of series.
    disable_created_metrics()
    return CollectorRegistry()
