"""Requests that are carried out after they were answered (RFC 9967 section 2.5.1)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid4, uuid5

import orjson

from app.protocol.bulk import BulkOperations
from app.protocol.bulk_message import BulkRequest
from app.protocol.changes import uri_of
from app.protocol.clients import working_for
from app.protocol.errors import Refusal, error_body, status_of
from app.protocol.jobs import EVERYTHING, Job, Jobs, LostJob
from app.protocol.patch import check_operations, plan_patch, read_operations
from app.protocol.preconditions import entity_tag, versions_in
from app.protocol.recording import NoRecorder
from app.protocol.resources import Conditions, ResourceOperations
from app.protocol.tolerance import PROFILES
from schema.errors import ScimError
from schema.projection import make_projection
from schema.registry import Registry
from schema.resource_type import ResourceType
from set_delivery.events import ASYNC_RESPONSE, Change, Event, Set, Subject
from set_delivery.outbox import now_ms
from set_delivery.streams import Publishing
from storage.adapter import StorageAdapter, StoredResource
from storage.errors import Contention, StorageError, StorageUnavailable

_LOG = logging.getLogger(__name__)
_GONE: Final = 410
# How often a request is tried that fails for a reason nobody foresaw.
_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class AsyncRequest:
    """One request to a resource or an endpoint, as it is kept until it is carried out."""

    method: str
    resource_type: str
    resource_id: str
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    if_match: Sequence[str] | None = None
    if_none_match: Sequence[str] | None = None
    profile: str = "default"
    attributes: Sequence[str] = ()
    excluded_attributes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what `AsyncRequest(**…)` takes."""
        return {**vars(self)}


class AsyncRequests:
    """Accepts requests, and carries them out exactly once, whoever dies meanwhile."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        operations: ResourceOperations,
        bulk: BulkOperations,
        jobs: Jobs,
        recorder: NoRecorder,
        publishing: Publishing,
    ) -> None:
        self._registry = registry
        self._adapter = adapter
        self._operations = operations
        self._bulk = bulk
        self.jobs = jobs
        self._recorder = recorder
        self._publishing = publishing

    # -- accepting

    def accept(self, principal: str, request: AsyncRequest) -> str:
        """Keep a request to carry it out later, and return the name of its transaction.

        Raises, as the operation would, for what is wrong with the request whatever is stored.
        """
        resource_type = self._type(request.resource_type)
        if request.method in ("POST", "PUT"):
            self._operations.check(resource_type, request.body, request.profile)
        elif request.method == "PATCH":
            profile = PROFILES[request.profile]
            operations = read_operations(request.body, profile)
            check_operations(plan_patch(resource_type, operations, profile))
        target = f"{resource_type.endpoint}/{request.resource_id}"
        return self.jobs.accept(principal, target, {"single": request.as_json()})

    def accept_bulk(self, principal: str, request: BulkRequest, profile: str) -> str:
        """Keep a Bulk request to carry it out later, and return the name of its transaction."""
        kept = {
            "operations": list(request.operations),
            "fail_on_errors": request.fail_on_errors,
            "profile": profile,
        }
        return self.jobs.accept(principal, EVERYTHING, {"bulk": kept}, len(request.operations))

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
            with self.jobs.kept(job), working_for(job.principal):
                self._run(job)
            count += 1
        return count

    def _run(self, job: Job) -> None:
        try:
            if "bulk" in job.request:
                self._run_bulk(job)
            elif "single" in job.request:
                self._run_single(job, AsyncRequest(**job.request["single"]))
            else:
                problem = Refusal(_GONE, "the API key has changed since the request: send the request again")
                self.jobs.finish(job, {"status": str(_GONE), "response": _error(problem)})
        except LostJob:
            _LOG.warning("the request %s was withdrawn, or another process continues it", job.txn)
        except (StorageUnavailable, Contention) as problem:
            if not self.jobs.put_back(job):
                self._fail(job, problem)
        except Exception:
            # One request that cannot be carried out must not hold up all that follow.
            _LOG.exception("the request %s failed", job.txn)
            if job.attempts >= _ATTEMPTS or not self.jobs.put_back(job):
                self._fail(job, Refusal(500, "the server could not carry out the request"))

    def _run_single(self, job: Job, request: AsyncRequest) -> None:
        resource_type = self._type(request.resource_type)
        finish = partial(self._finish_single, job, request, resource_type)
        if job.attempts > 1 and self._recorder.resume(job.txn, finish):
            # The attempt before this one took effect, and did not live to say so.
            return
        try:
            self._carry_out(job, request, resource_type, finish)
        except (StorageUnavailable, Contention):
            raise
        except (ScimError, Refusal, StorageError) as problem:
            self._fail(job, problem, request)

    def _carry_out(
        self,
        job: Job,
        request: AsyncRequest,
        resource_type: ResourceType,
        finish: Callable[[StoredResource | None], None],
    ) -> None:
        conditions = Conditions(_versions(request.if_match), _versions(request.if_none_match))
        resource_id, body, profile = request.resource_id, request.body, request.profile
        if request.method == "POST":
            self._operations.create(resource_type, body, profile, job.txn, finish, resource_id)
        elif request.method == "DELETE":
            self._operations.delete(resource_type, resource_id, conditions, job.txn, finish)
        else:
            put = request.method == "PUT"
            change = self._operations.replace if put else self._operations.patch
            change(resource_type, resource_id, body, conditions, profile, job.txn, finish)

    def _finish_single(
        self,
        job: Job,
        request: AsyncRequest,
        resource_type: ResourceType,
        stored: StoredResource | None,
    ) -> None:
        """Keep the result together with what was done; `stored` is None when it was removed."""
        result: dict[str, Any] = {"method": request.method}
        if stored is None:
            location = self._operations.representation.location(resource_type.name, request.resource_id)
            result |= {"status": "204", "location": location}
            subject = Subject(uri_of(resource_type, request.resource_id), request.resource_id)
        else:
            result["status"] = "201" if request.method == "POST" else "200"
            result["location"] = self._operations.representation.location(resource_type.name, stored.id)
            result["version"] = entity_tag(stored.version)
            shown = self._shown(request, resource_type, stored)
            if shown is None:
                # A group that is too large to be repeated.
                result["status"] = "204"
            else:
                result["response"] = shown
            external_id = stored.document.get("externalId")
            subject = Subject(uri_of(resource_type, stored.id), stored.id, external_id)
        self._complete(job, result, [(job.txn, subject, result)])

    def _shown(
        self, request: AsyncRequest, resource_type: ResourceType, stored: StoredResource
    ) -> Any:
        representation = self._operations.representation
        asked = bool(request.attributes or request.excluded_attributes)
        if request.method != "POST" and not asked and representation.is_large(resource_type, stored.id):
            return None
        projection = make_projection(
            resource_type,
            tuple(request.attributes),
            tuple(request.excluded_attributes),
            PROFILES[request.profile].resources,
        )
        text = representation.chunks(resource_type, stored, projection)
        return orjson.loads(text if isinstance(text, str) else b"".join(text))

    def _fail(self, job: Job, problem: Exception, request: AsyncRequest | None = None) -> None:
        result: dict[str, Any] = {"status": str(status_of(problem)), "response": _error(problem)}
        if request is None:
            self._complete(job, {"method": "POST", **result}, [])
            return
        result = {"method": request.method, **result}
        resource_type = self._type(request.resource_type)
        subject = Subject(resource_type.endpoint)
        if request.method != "POST":
            location = self._operations.representation.location(resource_type.name, request.resource_id)
            result["location"] = location
            subject = Subject(uri_of(resource_type, request.resource_id), request.resource_id)
        self._complete(job, result, [(job.txn, subject, result)])

    # -- Bulk

    def _run_bulk(self, job: Job) -> None:
        kept = job.request["bulk"]
        request = BulkRequest(tuple(kept["operations"]), kept["fail_on_errors"])

        def finish(results: Sequence[Mapping[str, Any]]) -> None:
            self._complete(
                job,
                {"method": "POST", "status": "200", "operations": list(results)},
                [
                    (f"{job.txn}:{position}", self._subject(result), result)
                    for position, result in enumerate(results)
                ],
            )

        self._bulk.run_job(request, kept["profile"], job.txn, job.state, partial(self.jobs.note, job), finish)

    def _subject(self, result: Mapping[str, Any]) -> Subject:
        location = result.get("location")
        if not location:
            return Subject("/Bulk")
        endpoint, _, resource_id = location.rpartition("/")
        name = endpoint.rpartition("/")[2]
        return Subject(f"/{name}/{resource_id}", resource_id)

    # -- the end

    def _complete(
        self,
        job: Job,
        result: Mapping[str, Any],
        completions: Sequence[tuple[str, Subject, Mapping[str, Any]]],
    ) -> None:
        """Keep the result, and an event for each completion, in one transaction."""
        events = [
            Change(txn, [Event(ASYNC_RESPONSE, subject, payload=self._payload(done))])
            for txn, subject, done in completions
        ]
        self._recorder.note(events, lambda: self.jobs.finish(job, result))

    def _payload(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payload of a completion: errors in any mode, resources in `full` mode."""
        failed = int(result["status"]) >= 400
        left_out = () if failed or self._publishing.mode == "full" else ("response",)
        return {name: value for name, value in result.items() if name not in left_out}

    def completion(self, txn: str, result: Mapping[str, Any]) -> Set:
        """Return the completion of a request as a SET: the same whenever it is asked for."""
        event = Event(ASYNC_RESPONSE, self._subject(result), payload=self._payload(result))
        feeds = [feed.id for feed in self._publishing.feeds]
        return Set(0, uuid5(NAMESPACE_URL, txn).hex, txn, now_ms(), event, feeds)

    def _type(self, name: str) -> ResourceType:
        resource_type = self._registry.resource_type(name)
        if resource_type is None:
            raise Refusal(404, f"there is no resource type {name}")
        return resource_type


def _versions(kept: Sequence[str] | None) -> Sequence[str] | None:
    # Requests that an earlier release accepted have the header as it came.
    return versions_in(kept) if isinstance(kept, str) else kept


def _error(problem: Exception) -> Any:
    return orjson.loads(error_body(problem))
