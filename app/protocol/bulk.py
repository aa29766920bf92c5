"""Carrying out Bulk (RFC 7644 section 3.7): many operations that may refer to each other by bulkId."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final

from app.protocol.bulk_message import (
    BulkRequest,
    endpoint_of,
    method_of,
    new_result,
    not_reached,
    version_of,
)
from app.protocol.bulk_references import BulkReferences, bulk_id_of
from app.protocol.bulk_run import UNDONE, BulkRun, Target, Undone, failure_of
from app.protocol.changes import external_id_of
from app.protocol.completions import outcome
from app.protocol.context import Context
from app.protocol.job import Job, LostJob
from app.protocol.jobs import Jobs
from app.protocol.preconditions import Conditions, entity_tag, versions_in
from app.protocol.profiles import profile_of
from app.protocol.resources import Resources
from schema.errors import InvalidSyntax, InvalidValue
from set_delivery.events import Subject
from storage.adapter import StoredResource
from storage.errors import Contention, OutcomeUnknown, StorageUnavailable

# Operations share a transaction for this long, in seconds: one wait for the disk serves many of
# them, and other writers do not wait longer than that.
_SHARE_S: Final = 0.2


class BulkOperations:
    """Carries out BulkRequests: each operation wholly or not at all, whatever the others do.

    `jobs` is None where no request is carried out later.
    """

    def __init__(
        self,
        resources: Resources,
        jobs: Jobs | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resources = resources
        self._jobs = jobs
        self._commit = resources.commit
        self._clock_s = clock_s

    def run(self, context: Context, request: BulkRequest) -> list[dict[str, Any]]:
        """Return the operations of the BulkResponse, in the order of the request.

        An operation that others refer to is carried out before them, wherever it stands. Where they refer
        to each other in a circle, the reference is made as soon as both exist; a resource that is to refer
        to what could not be created does not stay. With
        `fail_on_errors`, operations after that many errors are left out. The answer has every operation
        that was done, whatever became of the rest: an error ends the whole only where nothing was done.
        """
        run = self._begun(replace(context, origin="bulk"), request)
        while run.pending or run.incomplete:
            try:
                run = self._step(run)
            except Exception as problem:
                if not run.results:
                    raise
                run.break_off(problem)
        return [run.results[position] for position in sorted(run.results)]

    def run_job(
        self, context: Context, job: Job, request: BulkRequest
    ) -> list[tuple[dict[str, Any], Subject]]:
        """Carry out a request, of which attempts before this one may have done some operations.

        Each operation is kept with the job in the transaction that did it. Returns what became of each, and
        its subject, also of those that were not reached. Raises LostJob, and what ends the attempt.
        """
        run = self._begun(context, request, job)
        if job.attempts > 1:
            run.go_on_from(job.operations)
        while run.pending or run.incomplete:
            run = self._step(run)
        registry = self._resources.registry
        return [
            (run.results.get(position) or not_reached(operation), run.subject(registry, position))
            for position, operation in enumerate(request.operations)
        ]

    def _begun(self, context: Context, request: BulkRequest, job: Job | None = None) -> BulkRun:
        references = BulkReferences(request.operations)
        slow = (n for n, operation in enumerate(request.operations) if self._takes_long(operation))
        # Without transactions nobody waits for one.
        kept = frozenset(slow) if self._commit.has_transactions else frozenset()
        careful = not self._commit.undoes_all
        return BulkRun(context, request, references, list(references.order), kept, careful, job)

    def _takes_long(self, operation: Mapping[str, Any]) -> bool:
        resource_type = self._resources.registry.by_endpoint(f"/{endpoint_of(operation)}")
        data = operation.get("data")
        return resource_type is not None and self._resources.takes_long(resource_type, data)

    def _step(self, run: BulkRun) -> BulkRun:
        """Carry out what comes next: a share of the operations, or one that takes long."""
        if run.slow.intersection(run.following[:1]):
            return self._alone(run)
        if not run.is_careful:
            try:
                return self._commit.together(partial(self._share, run))
            except UNDONE:
                run = replace(run, is_careful=True)
        after = self._commit.together(partial(self._share, run))
        # Where one fails, the next ones often do.
        after.is_careful = after.errors > run.errors or not self._commit.undoes_all
        return after

    def _alone(self, before: BulkRun) -> BulkRun:
        """Carry out one operation, of which some take long, in a transaction of its own.

        One and no more: whatever ends the next one must not hide what became of this.
        """
        run = before.copy()
        run.is_alone = True
        self._do_next(run)
        run.is_alone = False
        self._note(run)
        return run

    def _share(self, before: BulkRun) -> BulkRun:
        """Carry out some of the pending operations; `before` stays as it is, for another try."""
        run = before.copy()
        with nullcontext() if run.is_careful else self._commit.pipelined():
            self._carry_out_some(run)
            self._note(run)
        return run

    def _carry_out_some(self, run: BulkRun) -> None:
        until = self._clock_s() + _SHARE_S
        while run.following and run.following[0] not in run.slow and self._clock_s() < until:
            self._do_next(run)
            if run.is_resuming:
                # What is found to be done is noted at once: nothing may wait beside it.
                break

    def _do_next(self, run: BulkRun) -> None:
        position = run.following[0]
        if position in run.incomplete:
            self._complete(run, position)
            return
        run.pending.remove(position)
        self._run_one(run, position)
        run.go_on_behind(position)

    def _note(self, run: BulkRun) -> None:
        """Keep what was done with the job: in the transaction that did it, or after that."""
        if run.job is None or not run.unnoted:
            return
        assert self._jobs is not None
        note = partial(self._jobs.note, run.job, dict(run.unnoted))
        run.unnoted.clear()
        self._commit.note(note)

    # -- one operation

    def _run_one(self, run: BulkRun, position: int) -> None:
        operation = run.request.operations[position]
        result = new_result(operation)
        run.results[position] = result
        try:
            with self._part(run):
                is_noted = self._carry_out(run, position, operation, result)
        except Exception as problem:
            self._let_pass(run, problem)
            run.take_back(position)
            result |= failure_of(problem)
            run.stop_at_limit(position)
            is_noted = False
        if not is_noted:
            run.unnoted[position] = run.state_of(position)
            if not self._commit.has_transactions:
                self._note(run)

    def _part(self, run: BulkRun) -> AbstractContextManager[None]:
        return self._commit.part() if run.is_careful and not run.is_alone else nullcontext()

    def _carry_out(
        self, run: BulkRun, position: int, operation: Mapping[str, Any], result: dict[str, Any]
    ) -> bool:
        """Carry out an operation, and return whether its write has noted it with the job."""
        profile = profile_of(run.context.profile)
        method = method_of(operation, profile)
        resource_type, resource_id = run.target(self._resources.registry, method, operation)
        if resource_id is not None:
            result["location"] = self._resources.location(run.context, resource_type.name, resource_id)
        conditions = Conditions(if_match=version_of(operation, profile))
        data: Any = None
        left: list[str] = []
        if method != "DELETE":
            data = operation.get("data")
            if not isinstance(data, Mapping):
                raise InvalidSyntax("data: must be an object")
            data, left = run.references.data(resource_type, position, run.ids)
            if left and method != "POST":
                # It was left out because of errors: circles consist of new resources.
                raise InvalidValue(f"bulkId:{left[0]} was not created")
        target = Target(method, resource_type, resource_id)
        context = run.context_of(position, target, self._commit.is_shared, waits=bool(left))
        found = self._commit.resume(context) if run.is_resuming else None
        stored = found.stored if found else self._write(context, target, data, conditions)
        kept_id = resource_id if stored is None else stored.id
        assert kept_id is not None
        location = self._resources.location(run.context, resource_type.name, kept_id)
        result |= outcome(method, location, stored)
        if stored is not None:
            run.external_ids[position] = external_id_of(stored)
        if stored is not None and method == "POST":
            run.ids.created[bulk_id_of(operation)] = stored.id
        if stored is not None and left:
            run.incomplete[position] = stored.id
        return context.job is not None

    def _write(
        self, context: Context, target: Target, data: Any, conditions: Conditions
    ) -> StoredResource | None:
        resource_type, resource_id = target.resource_type, target.resource_id
        if target.method == "POST":
            return self._resources.create(context, resource_type, data)
        assert resource_id is not None
        if target.method == "DELETE":
            self._resources.delete(context, resource_type, resource_id, conditions)
            return None
        change = self._resources.replace if target.method == "PUT" else self._resources.patch
        return change(context, resource_type, resource_id, data, conditions)

    def _complete(self, run: BulkRun, position: int) -> None:
        """Write a new resource again that could not yet refer to those that came later in a circle."""
        result = run.results[position]
        endpoint = endpoint_of(run.request.operations[position])
        resource_type, _ = run.target(self._resources.registry, "POST", {"path": endpoint})
        resource_id = run.incomplete.pop(position)
        if run.ready:
            run.ready.pop(0)
        context = run.context_of(position, Target("POST", resource_type, resource_id), self._commit.is_shared)
        # Nobody else's change is overwritten, or removed.
        unchanged = Conditions(if_match=versions_in(result["version"]))
        try:
            with self._part(run):
                data, left = run.references.data(resource_type, position, run.ids)
                if left:
                    raise InvalidValue(f"bulkId:{left[0]} was not created")
                again = Target("PUT", resource_type, resource_id)
                found = self._commit.resume(context) if run.is_resuming else None
                stored = found.stored if found else self._write(context, again, data, unchanged)
                if stored is not None:
                    result["version"] = entity_tag(stored.version)
        except Exception as problem:
            self._let_pass(run, problem)
            self._remove(run, position, Target("DELETE", resource_type, resource_id), unchanged)
            result |= failure_of(problem)
            run.stop_at_limit(position)
            context = run.context
        if context.job is None:
            run.unnoted[position] = run.state_of(position)

    def _remove(self, run: BulkRun, position: int, target: Target, unchanged: Conditions) -> None:
        """Remove a new resource that cannot be completed, unless somebody has changed it."""
        try:
            with self._part(run):
                self._write(run.context, target, None, unchanged)
        except Exception as problem:
            self._let_pass(run, problem)
            run.errors += 1
        else:
            run.take_back(position)

    def _let_pass(self, run: BulkRun, problem: Exception) -> None:
        """Raise what ends the whole; all else is the failure of one operation, of which the guard is told.

        A failure that ends the transaction is raised, and so is the loss of the job to another process.
        A job waits for an outcome that is not known. Unless the run is careful, any failure undoes the share.
        """
        if run.job is not None and isinstance(problem, OutcomeUnknown):
            raise problem
        ends: tuple[type[Exception], ...] = (LostJob,)
        if self._commit.has_transactions:
            ends = (StorageUnavailable, OutcomeUnknown, Contention, LostJob)
        if isinstance(problem, ends):
            raise problem
        if not (run.is_careful or run.is_alone):
            raise Undone from problem
        self._commit.close_guard(run.context, problem)
