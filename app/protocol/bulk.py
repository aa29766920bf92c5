"""Carrying out Bulk (RFC 7644 section 3.7): many operations that may refer to each other by bulkId."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import orjson

from app.protocol.attempts import in_transaction
from app.protocol.bulk_message import (
    BulkRequest,
    endpoint_of,
    method_of,
    new_result,
    not_reached,
    version_of,
)
from app.protocol.bulk_references import BulkReferences, Ids, bulk_id_of, creates
from app.protocol.errors import Refusal, error_body, error_json, status_of
from app.protocol.jobs import LostJob
from app.protocol.preconditions import entity_tag
from app.protocol.recording import NoRecorder
from app.protocol.representation import Representation
from app.protocol.resources import Conditions, ResourceOperations
from app.protocol.tolerance import PROFILES
from schema.errors import InvalidSyntax, InvalidValue, ScimError
from schema.registry import Registry
from schema.resource_type import ResourceType
from storage.adapter import StorageAdapter, StoredResource
from storage.errors import Contention, StorageError, StorageUnavailable

_LOG = logging.getLogger(__name__)

# Operations share a transaction for this long, in seconds: one wait for the disk serves many of
# them, and other writers do not wait longer than that.
_SHARE_S: Final = 0.2

Note = Callable[[int, Any], object]
"""Keeps how many operations are done, and what is needed to go on from there."""


@dataclass
class _Run:
    """What is known while the operations of one request are carried out."""

    request: BulkRequest
    profile: str
    references: BulkReferences
    pending: list[int]
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    ids: Ids = field(default_factory=Ids)
    # By position, the ids of what could not yet refer to all that it refers to.
    incomplete: dict[int, str] = field(default_factory=dict)
    errors: int = 0
    # Those that take long, and are carried out in transactions of their own; whether one is now.
    slow: frozenset[int] = frozenset()
    alone: bool = False
    # Of a request that is carried out later: its transaction, what keeps its progress, and whether
    # an attempt before this one may have got somewhere.
    txn: str | None = None
    note: Note | None = None
    resuming: bool = False

    def copy(self) -> "_Run":
        """Return a run that can go on without changing this one."""
        return replace(
            self,
            results={position: dict(result) for position, result in self.results.items()},
            ids=Ids(dict(self.ids.created), set(self.ids.failed)),
            incomplete=dict(self.incomplete),
            pending=list(self.pending),
        )

    def as_json(self) -> dict[str, Any]:
        """Return what is needed to go on from here."""
        done = {p: result for p, result in self.results.items() if "status" in result}
        return {
            "results": sorted(done.items()),
            "ids": self.ids.created,
            "failed_ids": sorted(self.ids.failed),
            "incomplete": sorted(self.incomplete.items()),
            "errors": self.errors,
        }

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Take up what `as_json` returned."""
        self.results = dict(map(tuple, state["results"]))
        self.ids = Ids(dict(state["ids"]), set(state["failed_ids"]))
        self.incomplete = dict(map(tuple, state["incomplete"]))
        self.errors = state["errors"]
        done = [position for position in self.references.order if position in self.results]
        self.pending = [position for position in self.pending if position not in self.results]
        if done:
            self.stop_at_limit(done[-1])

    def stop_at_limit(self, last: int) -> None:
        """Once there were too many errors, leave out all but what refers to the `last` operation."""
        limit = self.request.fail_on_errors
        if limit is not None and self.errors >= limit:
            self.pending = [p for p in self.pending if self.references.waits(p, last)]


class BulkOperations:
    """Carries out BulkRequests: each operation wholly or not at all, whatever the others do."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        operations: ResourceOperations,
        representation: Representation,
        recorder: NoRecorder | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._adapter = adapter
        self._operations = operations
        self._representation = representation
        self._recorder = recorder or NoRecorder()
        self._transactions = adapter.capabilities.transactions
        self._clock_s = clock_s

    def run(self, request: BulkRequest, profile: str) -> list[dict[str, Any]]:
        """Return the operations of the BulkResponse, in the order of the request.

        An operation that others refer to is carried out before them, wherever it stands; where
        they refer to each other in a circle, the reference is made once both exist. With
        `fail_on_errors`, operations after that many errors are left out. The answer has every operation
        that was done, whatever became of the rest: an error ends the whole only where nothing was done.
        """
        run = self._begun(request, profile)
        while run.pending or run.incomplete:
            try:
                run = self._step(run)
            except Exception as problem:
                if not run.results:
                    raise
                _break_off(run, problem)
        return [run.results[position] for position in sorted(run.results)]

    def run_job(
        self,
        request: BulkRequest,
        profile: str,
        txn: str,
        state: Any,
        note: Note,
        finish: Callable[[list[dict[str, Any]]], object],
    ) -> None:
        """Carry out a request of which `state` is done already, None for nothing at all.

        `note` is told how many operations are done, and the state, in the transaction that did them;
        `finish` what became of each operation, of those that were not reached too.
        """
        run = replace(self._begun(request, profile), txn=txn, note=note)
        if state is not None:
            run.go_on_from(state["run"])
            run.resuming = True
        else:
            note(0, {"run": run.as_json()})
        while run.pending or run.incomplete:
            run = self._step(run)
        operations = enumerate(request.operations)
        finish([run.results.get(position) or not_reached(operation) for position, operation in operations])

    def _begun(self, request: BulkRequest, profile: str) -> "_Run":
        references = BulkReferences(request.operations)
        slow = (n for n, operation in enumerate(request.operations) if self._takes_long(operation))
        # Without transactions nobody waits for one.
        kept = frozenset(slow) if self._transactions else frozenset()
        return _Run(request, profile, references, list(references.order), slow=kept)

    def _takes_long(self, operation: Mapping[str, Any]) -> bool:
        resource_type = self._registry.by_endpoint(f"/{endpoint_of(operation)}")
        data = operation.get("data")
        return resource_type is not None and self._operations.takes_long(resource_type, data)

    def _step(self, run: "_Run") -> "_Run":
        """Carry out what comes next: a share of the operations, or one that takes long."""
        if run.slow.intersection(run.pending[:1] or run.incomplete):
            return self._alone(run)
        return in_transaction(self._adapter, partial(self._share, run))

    def _alone(self, before: "_Run") -> "_Run":
        """Carry out one operation, of which some take long, in a transaction of its own.

        One and no more: whatever ends the next one must not hide what became of this.
        """
        run = before.copy()
        run.alone = True
        if run.pending:
            self._run_one(run, run.pending.pop(0))
        else:
            self._complete(run, next(iter(run.incomplete)))
        run.alone = False
        if run.note is not None:
            with self._adapter.transaction():
                self._note_progress(run)
        return run

    def _part(self, run: "_Run") -> AbstractContextManager[None]:
        return nullcontext() if run.alone else self._adapter.savepoint()

    def _share(self, before: "_Run") -> "_Run":
        """Carry out some of the pending operations; `before` stays as it is, for another try."""
        run = before.copy()
        until = self._clock_s() + _SHARE_S
        while run.pending and run.pending[0] not in run.slow and self._clock_s() < until:
            self._run_one(run, run.pending.pop(0))
            if run.resuming:
                # What is found to be done is noted at once: nothing may wait beside it.
                break
        if not run.pending and not run.slow.intersection(run.incomplete):
            for position in tuple(run.incomplete):
                self._complete(run, position)
        note = partial(self._note_progress, run)
        if self._recorder.is_transactional:
            note()
        else:
            # Not before what was done is there.
            self._adapter.when_committed(note)
        return run

    @staticmethod
    def _note_progress(run: "_Run") -> None:
        if run.note is not None:
            state = run.as_json()
            run.note(len(state["results"]), {"run": state})

    # -- one operation

    def _run_one(self, run: _Run, position: int) -> None:
        operation = run.request.operations[position]
        result = new_result(operation)
        run.results[position] = result
        try:
            with self._part(run):
                self._carry_out(run, position, operation, result)
        except Exception as problem:
            self._let_pass(problem)
            run.errors += 1
            if creates(operation):
                run.ids.failed.add(bulk_id_of(operation))
            if "status" in result:
                # A transaction of its own has failed when all else was done.
                run.ids.created.pop(bulk_id_of(operation), None)
                run.incomplete.pop(position, None)
                result.pop("version", None)
                if creates(operation):
                    result.pop("location", None)
            result |= _failure(problem)
            run.stop_at_limit(position)
        if not self._transactions:
            self._note_progress(run)

    def _carry_out(
        self, run: _Run, position: int, operation: Mapping[str, Any], result: dict[str, Any]
    ) -> None:
        method = method_of(operation, PROFILES[run.profile])
        resource_type, resource_id = self._target(run, method, operation)
        if resource_id is not None:
            result["location"] = self._representation.location(resource_type.name, resource_id)
        conditions = Conditions(if_match=version_of(operation, PROFILES[run.profile]))
        left: list[str] = []
        data: Any = None
        if method != "DELETE":
            data = operation.get("data")
            if not isinstance(data, Mapping):
                raise InvalidSyntax("data: must be an object")
            data, left = run.references.data(resource_type, position, run.ids)

        def done(stored: StoredResource | None) -> None:
            result["status"] = {"POST": "201", "DELETE": "204"}.get(method, "200")
            if stored is not None and method == "POST":
                run.ids.created[bulk_id_of(operation)] = stored.id
            if stored is not None and left:
                run.incomplete[position] = stored.id
            self._note(result, resource_type, stored)

        def settle(stored: StoredResource | None) -> None:
            done(stored)
            if run.alone or not self._recorder.is_transactional:
                self._note_progress(run)

        txn = f"{run.txn}:{position}" if run.txn else None
        if run.resuming and txn and self._recorder.resume(txn, settle):
            return
        stored = self._write(method, resource_type, resource_id, data, conditions, run.profile, txn, settle)
        # Those that come next in the transaction may refer to it; what waits for its end comes too late.
        done(stored)

    def _write(
        self,
        method: str,
        resource_type: ResourceType,
        resource_id: str | None,
        data: Mapping[str, Any],
        conditions: Conditions,
        profile: str,
        txn: str | None,
        done: Callable[[StoredResource | None], None],
    ) -> StoredResource | None:
        if method == "POST":
            return self._operations.create(resource_type, data, profile, txn, done)
        assert resource_id is not None
        if method == "DELETE":
            self._operations.delete(resource_type, resource_id, conditions, txn, done)
            return None
        change = self._operations.replace if method == "PUT" else self._operations.patch
        return change(resource_type, resource_id, data, conditions, profile, txn, done)

    def _note(
        self, result: dict[str, Any], resource_type: ResourceType, stored: StoredResource | None
    ) -> None:
        if stored is None:
            return
        result["location"] = self._representation.location(resource_type.name, stored.id)
        result["version"] = entity_tag(stored.version)

    def _complete(self, run: _Run, position: int) -> None:
        """Write again what could not yet refer to resources that came later in a circle."""
        operation, result = run.request.operations[position], run.results[position]
        resource_type, _ = self._target(run, "POST", {"path": endpoint_of(operation)})
        resource_id = run.incomplete.pop(position)
        try:
            with self._part(run):
                data, left = run.references.data(resource_type, position, run.ids)
                if left:
                    raise InvalidValue(f"bulkId:{left[0]} was not created")
                method = "PATCH" if method_of(operation, PROFILES[run.profile]) == "PATCH" else "PUT"
                txn = f"{run.txn}:{position}" if run.txn else None
                done = partial(self._note, result, resource_type)
                self._write(method, resource_type, resource_id, data, Conditions(), run.profile, txn, done)
        except Exception as problem:
            self._let_pass(problem)
            result |= _failure(problem)

    def _let_pass(self, problem: Exception) -> None:
        """Raise what ends the whole; all else is the failure of one operation.

        What ends a transaction does, where there is one, and so does a job that is another's by now.
        """
        ends = (StorageUnavailable, Contention, LostJob) if self._transactions else LostJob
        if isinstance(problem, ends):
            raise problem

    # -- what an operation refers to

    def _target(
        self, run: _Run, method: str, operation: Mapping[str, Any]
    ) -> tuple[ResourceType, str | None]:
        path = operation.get("path")
        if not isinstance(path, str):
            raise InvalidSyntax("path: is required")
        endpoint, _, resource_id = path.strip("/").partition("/")
        resource_type = self._registry.by_endpoint(f"/{endpoint}")
        if resource_type is None or "/" in resource_id:
            raise Refusal(404, f"path: there is no endpoint {path[:200]}")
        if method == "POST":
            if resource_id:
                raise Refusal(405, f"path: POST is not supported at {path[:200]}")
            if not bulk_id_of(operation) and "method" in operation:
                raise InvalidValue("bulkId: is required with POST")
            if bulk_id_of(operation) in run.ids.created:
                raise InvalidValue("bulkId: another operation of this request has the same bulkId")
            return resource_type, None
        if not resource_id:
            raise Refusal(405, f"path: {method} is not supported at {path[:200]}")
        return resource_type, run.references.path(resource_id, run.ids)


def _failure(problem: Exception) -> dict[str, Any]:
    """Return what the result of an operation says of the reason it failed; unexpected ones are logged."""
    if isinstance(problem, (ScimError, Refusal, StorageError)):
        status, body = status_of(problem), error_body(problem)
    else:
        _LOG.error("an operation of a Bulk request failed", exc_info=problem)
        status = 500
        body = error_json(status, "an unexpected error; the log of the server has the details")
    return {"status": str(status), "response": orjson.loads(body)}


def _break_off(run: _Run, problem: Exception) -> None:
    """Let every operation that is left fail for one reason: what was done before is to be told."""
    if isinstance(problem, StorageUnavailable):
        _LOG.error("%s", problem)
    failure = _failure(problem)
    for position in (*run.pending, *run.incomplete):
        result = run.results.get(position) or new_result(run.request.operations[position])
        run.results[position] = {**result, **failure}
    run.pending.clear()
    run.incomplete.clear()
