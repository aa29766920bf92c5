"""The question of a search, and the answer of a backend; adapters import these from `storage.adapter`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from schema.resource_type import AttributePath
from scim_filter.nodes import Node
from scim_filter.plan import Plan
from storage.resource import StoredResource

Explain = Callable[[], Plan]

NATIVE: Final = "native"
RESIDUAL: Final = "residual"
SCAN: Final = "scan"


@dataclass(frozen=True)
class Sort:
    """Order by one path; resources without a value come last when ascending, first otherwise."""

    path: AttributePath
    descending: bool = False


@dataclass(frozen=True)
class Position:
    """A resource's position in an order: what comes next can be found though the resource is gone.

    Without sort, only `place` counts; with it, the sort key (`storage.search.sort_key`; None when the
    resource has no value) and then the place. Neither is longer than 330 characters.
    """

    place: str
    key: str | None = None

    def order(self, sort: Sort | None) -> tuple[Any, ...]:
        """Return what positions compare by in ascending order under `sort`."""
        if sort is None:
            return (self.place,)
        return (self.key is None, self.key or "", self.place)


@dataclass(frozen=True)
class Selection:
    """Which resources of a type are wanted, in which order, and which page of them.

    `offset` counts from 0. `limit` is None for all. Without `sort` the order is that of `scan`;
    with it, ties are broken by that order. With `after`, the page begins behind that position; with
    `before`, it ends ahead of it.
    """

    filter: Node | None = None
    sort: Sort | None = None
    offset: int = 0
    limit: int | None = None
    after: Position | None = None
    before: Position | None = None


@dataclass(frozen=True)
class Found:
    """What a backend found for a Selection, and how much of the work it has done.

    All that match are among `resources`, and those of them that match `residual` do: None is for a
    filter that the backend has judged. They come in the order of `scan`. A backend that has judged,
    sorted and cut says so by `is_page`; `total` is then how many match in all, counted at that instant
    or at another. `read` returns whole resources for some of `resources` where these hold only what
    the selection is judged and sorted by; it leaves out what has gone.

    For logs and metrics: `is_narrowed` says that the backend has chosen `resources` by a part of the filter
    that `residual` repeats. `explain` returns what became of each part of the filter; it may ask the backend
    again, and raise StorageError.
    """

    resources: Iterable[StoredResource]
    residual: Node | None = None
    is_page: bool = False
    total: int = 0
    read: Callable[[Sequence[StoredResource]], Sequence[StoredResource]] | None = None
    is_narrowed: bool = False
    explain: Explain | None = None

    def seen_as(
        self,
        shown: Callable[[StoredResource], StoredResource],
        given: Callable[[StoredResource], StoredResource] = lambda stored: stored,
    ) -> "Found":
        """Return the same with each resource as `shown` returns it; `given` is the inverse."""
        read = self.read
        return replace(
            self,
            resources=map(shown, self.resources),
            read=None if read is None else lambda page: [*map(shown, read([*map(given, page)]))],
        )


@dataclass(frozen=True)
class Work:
    """How a page was found, for logs and metrics.

    With `plan` NATIVE the backend judged, sorted and cut; with RESIDUAL it chose resources by a part of the
    filter, and the server judged and sorted these; with SCAN the server did all on every resource of the
    type. `read` is the number of resources that the server got from the backend. `explain` is that of Found.
    """

    plan: str
    read: int
    explain: Explain | None = None


@dataclass(frozen=True)
class Page:
    """Part of an answer: its resources and the number of resources in the whole answer."""

    resources: Sequence[StoredResource]
    total: int
    work: Work | None = None
