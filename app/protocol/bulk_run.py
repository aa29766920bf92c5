"""How far one Bulk request is: the results so far, and what is still to be done."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote

import orjson

from app.protocol.bulk_message import BulkRequest, new_result
from app.protocol.bulk_references import BulkReferences, Ids, bulk_id_of, creates
from app.protocol.changes import uri_of
from app.protocol.context import Context, JobPart
from app.protocol.errors import Refusal, error_body, error_json, status_of
from app.protocol.job import Job, OperationState
from schema.errors import InvalidSyntax, InvalidValue, ScimError
from schema.registry import Registry
from schema.resource_type import ResourceType
from set_delivery.events import Subject
from storage.errors import (
    OutcomeUnknown,
    StorageError,
    StorageUnavailable,
    UniquenessConflict,
    ValueRefused,
)

_LOG = logging.getLogger(__name__)


class Undone(Exception):
    """An operation has failed, and with it those that share its transaction: each is carried out again."""


UNDONE: Final = (Undone, UniquenessConflict, ValueRefused)
"""What undoes a share of the operations: also what `pipelined` of the storage raises at its end."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an operation asks for; POST has no id."""

    method: str
    resource_type: ResourceType
    resource_id: str | None


@dataclass
class BulkRun:
    """What is known while the operations of one request are carried out; all of it by position.

    `incomplete` are the ids of new resources that could not yet refer to all that they refer to, and `ready`
    are those among them that can now. `slow` are operations that take long: they have transactions of their
    own, and `is_alone` says that one is carried out now. In a run that `is_careful`, each operation can fail
    alone, which takes a savepoint. Elsewhere, a failure undoes all operations that share the transaction.
    `job` is there for a request that is carried out later; `unnoted` are the operations that it does not have
    yet, and `is_resuming` says that an attempt before this one may have got somewhere.
    """

    context: Context
    request: BulkRequest
    references: BulkReferences
    pending: list[int]
    slow: frozenset[int]
    is_careful: bool
    job: Job | None = None
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    ids: Ids = field(default_factory=Ids)
    incomplete: dict[int, str] = field(default_factory=dict)
    ready: list[int] = field(default_factory=list)
    external_ids: dict[int, str | None] = field(default_factory=dict)
    unnoted: dict[int, OperationState] = field(default_factory=dict)
    errors: int = 0
    is_alone: bool = False
    is_resuming: bool = False

    def copy(self) -> "BulkRun":
        """Return a run that can go on without changing this one."""
        return replace(
            self,
            results={position: dict(result) for position, result in self.results.items()},
            ids=Ids(dict(self.ids.created), set(self.ids.failed)),
            incomplete=dict(self.incomplete),
            ready=list(self.ready),
            external_ids=dict(self.external_ids),
            unnoted=dict(self.unnoted),
            pending=list(self.pending),
        )

    def go_on_from(self, operations: Mapping[int, OperationState]) -> None:
        """Take up what attempts before this one have done."""
        self.is_resuming = True
        for position, state in operations.items():
            self.results[position] = dict(state.result)
            self.external_ids[position] = state.external_id
            operation, has_failed = self.request.operations[position], int(state.result["status"]) >= 400
            self.errors += has_failed
            if creates(operation) and has_failed:
                self.ids.failed.add(bulk_id_of(operation))
            elif creates(operation) and state.resource_id is not None:
                self.ids.created[bulk_id_of(operation)] = state.resource_id
            if state.waits and state.resource_id is not None:
                self.incomplete[position] = state.resource_id
        done = [position for position in self.references.order if position in self.results]
        self.pending = [position for position in self.pending if position not in self.results]
        for position in done:
            self.go_on_behind(position)
        if done:
            self.stop_at_limit(done[-1])

    @property
    def following(self) -> Sequence[int]:
        """What comes next is the first of these: what can be completed, before anything changes it."""
        # In the end, what refers to operations that were left out.
        return self.ready or self.pending or list(self.incomplete)

    def go_on_behind(self, position: int) -> None:
        """Note what can be completed now that an operation is done, whatever became of it."""
        self.ready += [one for one in self.references.closed_by(position) if one in self.incomplete]

    def stop_at_limit(self, last: int) -> None:
        """Once there were too many errors, leave out all but what refers to the `last` operation."""
        limit = self.request.fail_on_errors
        if limit is not None and self.errors >= limit:
            self.pending = [p for p in self.pending if self.references.waits(p, last)]

    def context_of(
        self, position: int, target: Target, is_shared: bool, waits: bool = False
    ) -> Context:
        """Return the context of one operation.

        Its job is completed by Bulk where they commit together, in a transaction that `is_shared`.
        """
        if self.job is None:
            return self.context
        txn = f"{self.job.txn}:{position}"
        if is_shared and not self.is_alone:
            return replace(self.context, txn=txn)
        request = {
            "method": target.method,
            "resource_type": target.resource_type.name,
            "resource_id": target.resource_id or "",
            "result": dict(self.results[position]),
        }
        return replace(self.context, txn=txn, job=JobPart(self.job, request, position, waits))

    def take_back(self, position: int) -> None:
        """Take back what an operation had done when its transaction failed, and count the error."""
        operation, result = self.request.operations[position], self.results[position]
        self.errors += 1
        self.incomplete.pop(position, None)
        self.external_ids.pop(position, None)
        if creates(operation):
            self.ids.failed.add(bulk_id_of(operation))
            self.ids.created.pop(bulk_id_of(operation), None)
            if "status" in result:
                result.pop("location", None)
        result.pop("version", None)

    def break_off(self, problem: Exception) -> None:
        """Let every operation that is left fail for one reason: what was done before is to be told."""
        if isinstance(problem, StorageUnavailable | OutcomeUnknown):
            _LOG.error("%s", problem)
        failure = failure_of(problem)
        for position in (*self.pending, *self.incomplete):
            result = self.results.get(position) or new_result(self.request.operations[position])
            self.results[position] = {**result, **failure}
        self.pending.clear()
        self.incomplete.clear()
        self.ready.clear()

    def state_of(self, position: int) -> OperationState:
        """Return what is kept of an operation that is done."""
        result = self.results[position]
        created = self.ids.created.get(result.get("bulkId", ""))
        resource_id = self.incomplete.get(position, created)
        external_id = self.external_ids.get(position)
        return OperationState(dict(result), resource_id, position in self.incomplete, external_id)

    def subject(self, registry: Registry, position: int) -> Subject:
        """Return what an operation is about: the resource, or what its path names while there is none."""
        operation = self.request.operations[position]
        path = operation.get("path")
        endpoint, _, resource_id = path.strip("/").partition("/") if isinstance(path, str) else ("", "", "")
        resource_type = registry.by_endpoint(f"/{endpoint}")
        if resource_type is None or "/" in resource_id:
            return Subject("/Bulk")
        location = self.results.get(position, {}).get("location", "")
        if location:
            resource_id = unquote(location.rpartition("/")[2])
        elif not resource_id:
            return Subject(resource_type.endpoint)
        else:
            try:
                resource_id = self.references.path(resource_id, self.ids)
            except InvalidValue:
                # The resource that the path refers to was not created.
                return Subject(uri_of(resource_type, resource_id))
        return Subject(uri_of(resource_type, resource_id), resource_id, self.external_ids.get(position))

    def target(
        self, registry: Registry, method: str, operation: Mapping[str, Any]
    ) -> tuple[ResourceType, str | None]:
        """Return the type and the id of the resource of an operation; POST has no id. Raises a refusal."""
        path = operation.get("path")
        if not isinstance(path, str):
            raise InvalidSyntax("path: is required")
        endpoint, _, resource_id = path.strip("/").partition("/")
        resource_type = registry.by_endpoint(f"/{endpoint}")
        if resource_type is None or "/" in resource_id:
            raise Refusal(404, f"path: there is no endpoint {path[:200]}")
        if method == "POST":
            if resource_id:
                raise Refusal(405, f"path: POST is not supported at {path[:200]}")
            if not bulk_id_of(operation) and "method" in operation:
                raise InvalidValue("bulkId: is required with POST")
            if bulk_id_of(operation) in self.ids.created:
                raise InvalidValue("bulkId: another operation of this request has the same bulkId")
            return resource_type, None
        if not resource_id:
            raise Refusal(405, f"path: {method} is not supported at {path[:200]}")
        return resource_type, self.references.path(resource_id, self.ids)


def failure_of(problem: Exception) -> dict[str, Any]:
    """Return what the result of an operation says of the reason it failed; unexpected ones are logged."""
    if isinstance(problem, (ScimError, Refusal, StorageError)):
        status, body = status_of(problem), error_body(problem)
    else:
        _LOG.error("an operation of a Bulk request failed", exc_info=problem)
        status = 500
        body = error_json(status, "an unexpected error; the log of the server has the details")
    return {"status": str(status), "response": orjson.loads(body)}
