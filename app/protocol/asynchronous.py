"""Requests that are carried out after they were answered (RFC 9967 section 2.5.1)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

from app.protocol.bulk import BulkOperations
from app.protocol.bulk_message import BulkRequest
from app.protocol.completions import Completions
from app.protocol.context import SCOPES, Context, JobPart, Principal
from app.protocol.errors import Refusal
from app.protocol.job import Job, LostJob
from app.protocol.jobs import EVERYTHING, Jobs
from app.protocol.preconditions import Conditions, versions_in
from app.protocol.resources import Resources
from schema.errors import ScimError
from schema.resource_type import ResourceType
from storage.errors import Contention, OutcomeUnknown, StorageError, StorageUnavailable
from telemetry.current import Activity, busy_with
from telemetry.tracing import note, traced

_LOG = logging.getLogger(__name__)
_GONE: Final = 410
# How often a request is tried that fails for a reason nobody foresaw.
_ATTEMPTS: Final = 5
# How many attempts lie between two log lines about a request whose key is missing: about a minute.
_SAID_EVERY: Final = 20


@dataclass(frozen=True)
class AsyncRequest:
    """One request to a resource or an endpoint, as it is kept until it is carried out.

    `resource_id` of a POST is the id for the new resource, where the server chooses it.
    """

    method: str
    resource_type: str
    resource_id: str
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    if_match: Sequence[str] | None = None
    if_none_match: Sequence[str] | None = None
    attributes: Sequence[str] = ()
    excluded_attributes: Sequence[str] = ()


class AsyncRequests:
    """Accepts requests, and carries them out exactly once, whoever dies meanwhile.

    `principal_now` returns the principal of a request as it is when the request is carried out, and raises
    Refusal 403 if its credentials were revoked.
    """

    def __init__(
        self,
        resources: Resources,
        bulk: BulkOperations,
        jobs: Jobs,
        completions: Completions,
        principal_now: Callable[[Principal], Principal],
    ) -> None:
        self.jobs = jobs
        self.completions = completions
        self._resources = resources
        self._bulk = bulk
        self._principal_now = principal_now

    # -- accepting

    def accept(self, context: Context, request: AsyncRequest) -> str:
        """Keep a request to carry it out later, and return the name of its transaction.

        Raises, as the operation would, for what is wrong with the request whatever is stored.
        """
        resource_type = self._type(request.resource_type)
        self._resources.check(context, request.method, resource_type, request.body)
        target = f"{resource_type.endpoint}/{request.resource_id}"
        # Release 0.2.0 and earlier look for the profile here.
        kept = {**vars(request), "profile": context.profile}
        return self.jobs.accept(
            context.principal.id, target, {"single": kept, "context": context.as_json()}
        )

    def accept_bulk(self, context: Context, request: BulkRequest) -> str:
        """Keep a Bulk request to carry it out later, and return the name of its transaction."""
        kept = {
            "operations": list(request.operations),
            "fail_on_errors": request.fail_on_errors,
            "profile": context.profile,
        }
        return self.jobs.accept(
            context.principal.id,
            EVERYTHING,
            {"bulk": kept, "context": context.as_json()},
            len(request.operations),
        )

    # -- carrying out

    def run(self, until: Callable[[], bool] = lambda: False) -> int:
        """Carry out what is due and return how many requests that were.

        Ends after the one under way when `until` says so.
        """
        owner, count = uuid4().hex, 0
        while not until():
            job = self.jobs.claim(owner)
            if job is None:
                break
            with self.jobs.kept(job), busy_with(_activity(job)) as activity:
                with traced(activity, "consumer", "job", activity.traceparent):
                    note("scim.txn", job.txn)
                    self._run(job)
            count += 1
        return count

    def _run(self, job: Job) -> None:
        try:
            if "bulk" in job.request:
                self._run_bulk(job)
            elif "single" in job.request:
                self._run_single(job)
            else:
                self._leave(job)
        except LostJob:
            _LOG.warning("the request %s was withdrawn, or another process continues it", job.txn)
        except (StorageUnavailable, Contention, OutcomeUnknown) as problem:
            self._put_back(job, problem)
        except Exception:
            # One request that cannot be carried out must not hold up all that follow.
            _LOG.exception("the request %s failed", job.txn)
            unexpected = Refusal(500, "the server could not carry out the request")
            self._put_back(job, unexpected, job.attempts >= _ATTEMPTS)

    def _put_back(self, job: Job, problem: Exception, is_over: bool = False) -> None:
        """Let a job be tried again, or fail if it is over."""
        try:
            if is_over or not self.jobs.put_back(job):
                self._fail(job, problem)
        except LostJob:
            # A COMMIT that was not confirmed took effect, for one.
            _LOG.info("the request %s was completed, or another process continues it", job.txn)

    def _leave(self, job: Job) -> None:
        """Leave a request that no key of this process can decrypt to a process that has the key."""
        if job.attempts % _SAID_EVERY == 1:
            _LOG.error("the request %s waits for its key: put the key back into SECRET_KEYS", job.txn)
        if not self.jobs.put_back(job):
            problem = Refusal(_GONE, "the keys of the server have changed: send the request again")
            self.completions.lose(job, problem)

    def _run_single(self, job: Job) -> None:
        request = job.request["single"]
        context = replace(_context_of(job, request), txn=job.txn, job=JobPart(job, request))
        try:
            # The attempt before this one may have taken effect, and nobody said so.
            if job.attempts > 1 and self._resources.commit.resume(context) is not None:
                return
            principal = self._principal_now(context.principal)
            self._carry_out(replace(context, principal=principal), request)
        except (StorageUnavailable, Contention, OutcomeUnknown):
            raise
        except (ScimError, Refusal, StorageError) as problem:
            self._fail(job, problem)

    def _carry_out(self, context: Context, request: Mapping[str, Any]) -> None:
        resource_type = self._type(request["resource_type"])
        conditions = Conditions(_versions(request["if_match"]), _versions(request["if_none_match"]))
        resource_id, body, resources = request["resource_id"], request["body"], self._resources
        if request["method"] == "POST":
            resources.create(context, resource_type, body)
        elif request["method"] == "DELETE":
            resources.delete(context, resource_type, resource_id, conditions)
        else:
            change = resources.replace if request["method"] == "PUT" else resources.patch
            change(context, resource_type, resource_id, body, conditions)

    def _run_bulk(self, job: Job) -> None:
        kept = job.request["bulk"]
        request = BulkRequest(tuple(kept["operations"]), kept["fail_on_errors"])
        context = _context_of(job, kept)
        try:
            principal = self._principal_now(context.principal)
        except Refusal as problem:
            if not job.operations:
                self._fail(job, problem)
                return
            # The result tells of the operations that are done; no scope allows the others.
            principal = replace(context.principal, scopes=frozenset())
        context = replace(context, principal=principal)
        self.completions.finish_bulk(job, self._bulk.run_job(context, job, request))

    def _fail(self, job: Job, problem: Exception) -> None:
        self.completions.fail(job, problem, job.request.get("single"))

    def _type(self, name: str) -> ResourceType:
        resource_type = self._resources.registry.resource_type(name)
        if resource_type is None:
            raise Refusal(404, f"there is no resource type {name}")
        return resource_type


def _activity(job: Job) -> Activity:
    """Return what the log lines and counters of a job belong to: the request that was accepted."""
    kept = job.request.get("context")
    if kept is None:
        return Activity("", "job")
    activity = Activity("", "job", kept["request_id"], kept["principal"]["name"])
    activity.traceparent = kept.get("trace", "")
    return activity


def _context_of(job: Job, request: Mapping[str, Any]) -> Context:
    """Return who asks for a job, with which profile."""
    kept = job.request.get("context")
    if kept is not None:
        return Context.from_json(kept)
    # Release 0.2.0 and earlier knew API keys only, and kept the profile with the request.
    principal = Principal(job.principal, job.principal, "api-key", SCOPES, job.principal)
    return Context(principal, request["profile"], origin="async")


def _versions(kept: Sequence[str] | None) -> Sequence[str] | None:
    # Requests that an earlier release accepted have the header as it came.
    return versions_in(kept) if isinstance(kept, str) else kept
