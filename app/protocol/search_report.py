"""What a search cost, and which part of its filter the storage answered: for the log, for operators."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scim_filter.nodes import Node
from scim_filter.plan import Part, Plan
from scim_filter.render import render, render_without_values
from storage.errors import StorageError
from storage.selection import NATIVE, Page, Selection, Work
from telemetry.catalogue import FILTER_PLANS, FILTER_READS, SLOW_SEARCHES
from telemetry.current import current
from telemetry.lines import Values, say_line
from telemetry.metrics import bounded

_LOG = logging.getLogger(__name__)
_NO_WORK = Work(NATIVE, 0)


@dataclass(frozen=True)
class SlowSearches:
    """Counts searches by plan, and logs those that take `limit_ms` milliseconds or more."""

    limit_ms: float

    def note(self, type_name: str, selection: Selection, page: Page, ms: float) -> None:
        """Count a search; log a slow one, without its plan where the storage does not answer again."""
        if page.work is not None:
            FILTER_PLANS.inc(type_name, page.work.plan)
            FILTER_READS.inc(type_name, page.work.plan, by=page.work.read)
        if ms < self.limit_ms:
            return
        activity = current.get()
        SLOW_SEARCHES.inc(bounded(activity.principal if activity is not None else ""))
        try:
            plan = plan_of(page)
        except StorageError as exc:
            _LOG.warning("the plan of a slow search cannot be told: %s", exc)
            plan = Plan()
        report = SearchReport(type_name, selection, page, ms, plan, Values.are_shown)
        if _LOG.isEnabledFor(logging.WARNING):
            text = f"slow search: {report.line()}"
            say_line(_LOG, logging.WARNING, text, lambda: {"message": "slow search", **report.facts()})


def plan_of(page: Page) -> Plan:
    """Return what became of each part of a filter. Raises StorageError."""
    explain = page.work.explain if page.work is not None else None
    return Plan() if explain is None else explain()


@dataclass(frozen=True)
class SearchReport:
    """A search that took `ms` milliseconds; with `shows_values` the report has the values of the filter."""

    type_name: str
    selection: Selection
    page: Page
    ms: float
    plan: Plan
    shows_values: bool = True

    @property
    def work(self) -> Work:
        """How the page was found."""
        return self.page.work or _NO_WORK

    @property
    def order(self) -> str | None:
        """The sort path and what sorts by it, None without one."""
        sort = self.selection.sort
        if sort is None:
            return None
        direction = " descending" if sort.descending else ""
        return f"{sort.path.text}{direction}, by the {'storage' if self.work.plan == NATIVE else 'server'}"

    def text(self, node: Node) -> str:
        """Return the text of a part of the filter; a client's value cannot break the line."""
        if not self.shows_values:
            return render_without_values(node)
        return "".join(map(_visible, render(node)))

    def line(self) -> str:
        """Return the report as one line."""
        node = self.selection.filter
        shown = f"filter {self.text(node)}" if node is not None else "no filter"
        parts = [f"{self.ms:.1f} ms", self.type_name, shown]
        if self.order is not None:
            parts.append(f"order {self.order}")
        parts.append(f"plan {self.work.plan}, {self.work.read} read, {self.page.total} found")
        parts += (f"{part.by}: {self.text(part.node)}{_aside(part)}" for part in self.plan.parts)
        if self.plan.missing:
            parts.append(f"INDEXED_ATTRIBUTES lacks {','.join(self.plan.missing)}")
        return "; ".join(parts)

    def facts(self) -> dict[str, Any]:
        """Return the report as an object for programs."""
        node = self.selection.filter
        return {
            "resourceType": self.type_name,
            "filter": None if node is None else self.text(node),
            "order": self.order,
            "plan": self.work.plan,
            "read": self.work.read,
            "found": self.page.total,
            "ms": round(self.ms, 1),
            "parts": self._objects(self.plan.parts),
            "missing": self.plan.missing,
        }

    def _objects(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        return [dict(self._object(part)) for part in parts]

    def _object(self, part: Part) -> Iterator[tuple[str, Any]]:
        yield "filter", self.text(part.node)
        yield "by", part.by
        for name in ("access", "reason", "unindexed"):
            if getattr(part, name):
                yield name, getattr(part, name)
        if self.shows_values and part.query:
            yield "query", part.query
        if part.parts:
            yield "parts", self._objects(part.parts)


def _visible(character: str) -> str:
    return character if character.isprintable() else f"\\u{ord(character):04x}"


def _aside(part: Part) -> str:
    """Return in parentheses how a part is found, or why the storage does not find it."""
    causes = [part.access or part.reason, *(f"{path} has no index" for path in part.missing())]
    return f" ({', '.join(dict.fromkeys(filter(None, causes)))})" if any(causes) else ""
