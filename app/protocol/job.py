"""An asynchronous request while it is carried out, and how far it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from set_delivery.events import Subject


@dataclass(frozen=True)
class OperationState:
    """The outcome of one operation of a Bulk request.

    `resource_id` is the id of the written resource, and `external_id` its externalId.
    `waits` says that the resource is written again, once the resources that it refers to exist.
    """

    result: Mapping[str, Any] = field(repr=False)
    resource_id: str | None = None
    waits: bool = False
    external_id: str | None = None

    def as_json(self) -> list[Any]:
        """Return the arguments of the constructor."""
        return [dict(self.result), self.resource_id, self.waits, self.external_id]


@dataclass(frozen=True)
class Job:
    """A request that is being carried out; `operations` are what attempts before this one have done."""

    txn: str
    principal: str
    request: Mapping[str, Any] = field(repr=False)
    owner: str
    accepted_at: int
    attempts: int
    operations: Mapping[int, OperationState] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Backlog:
    """How many requests have no result, and the age of the oldest of them in seconds."""

    waiting: int
    oldest_s: float


@dataclass(frozen=True)
class JobStatus:
    """How far a request is; `result` is None while it is not done.

    `done_at` is the time of its end, in milliseconds since 1970. `subjects` are the subjects of its
    completions: of the request, or of each operation of a Bulk request. They are empty for a result of
    an earlier release.
    """

    txn: str
    done: int
    total: int
    result: Mapping[str, Any] | None
    done_at: int = 0
    subjects: Sequence[Subject] = ()


class LostJob(Exception):
    """Another process has taken the job over, or it was withdrawn: nothing may come of this attempt."""
