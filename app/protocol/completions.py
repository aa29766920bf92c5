"""The results of asynchronous requests, and the events that tell them (RFC 9967 section 2.5.1)."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from app.protocol.authorization import is_allowed
from app.protocol.changes import external_id_of, subject_of, uri_of
from app.protocol.context import Context, JobPart
from app.protocol.errors import Refusal, error_body, status_of
from app.protocol.job import Job, JobStatus, OperationState
from app.protocol.jobs import Jobs
from app.protocol.preconditions import entity_tag
from app.protocol.profiles import profile_of
from app.protocol.view import Views
from schema.projection import make_projection
from schema.registry import Registry
from schema.resource_type import ResourceType
from set_delivery.change_log import ChangeEntry, ChangeLog
from set_delivery.clock import now_ms
from set_delivery.events import ASYNC_RESPONSE, ChangeEvents, Event, Set, Subject
from set_delivery.streams import Publishing
from storage.adapter import StoredResource

Completion = tuple[str, Subject, Mapping[str, Any]]
"""The name of a transaction, what it was about, and its result."""


class Completions:
    """Keeps the results of jobs, and tells of them through `log` where anybody receives events."""

    def __init__(
        self,
        registry: Registry,
        views: Views,
        jobs: Jobs,
        log: ChangeLog,
        publishing: Publishing,
    ) -> None:
        self._registry = registry
        self._views = views
        self._jobs = jobs
        self._log = log
        self._publishing = publishing

    def complete(self, context: Context, part: JobPart, stored: StoredResource | None) -> None:
        """Keep the result of a request, or of an operation of it, in the caller's transaction.

        `stored` is the resource as it is now, None if it was removed. Raises LostJob.
        """
        resource_type = self._type(part.request["resource_type"])
        if part.position is not None:
            result = {**part.request["result"], **self._outcome(context, part, stored)}
            resource_id = external_id = None
            if stored is not None:
                resource_id, external_id = stored.id, external_id_of(stored)
            state = OperationState(result, resource_id, part.waits, external_id)
            self._jobs.note(part.job, {part.position: state})
            return
        result = {"method": part.request["method"], **self._outcome(context, part, stored)}
        if stored is None:
            subject = Subject(uri_of(resource_type, part.request["resource_id"]), part.request["resource_id"])
        else:
            shown = self._shown(context, part, resource_type, stored)
            if shown is None:
                # A group that is too large to be repeated.
                result["status"] = "204"
            else:
                result["response"] = shown
            subject = subject_of(resource_type, stored)
        self._finish(part.job, result, [(part.job.txn, subject, result)])

    def fail(self, job: Job, problem: Exception, request: Mapping[str, Any] | None = None) -> None:
        """Keep why a request failed; `request` is None for a Bulk request. Raises LostJob."""
        result: dict[str, Any] = {"status": str(status_of(problem)), "response": error_document(problem)}
        if request is None:
            self._finish(job, {"method": "POST", **result}, [])
            return
        result = {"method": request["method"], **result}
        resource_type = self._type(request["resource_type"])
        subject = Subject(resource_type.endpoint)
        if request["method"] != "POST":
            whole = self._views.whole(request["profile"])
            result["location"] = whole.representation.location(resource_type.name, request["resource_id"])
            subject = Subject(uri_of(resource_type, request["resource_id"]), request["resource_id"])
        self._finish(job, result, [(job.txn, subject, result)])

    def lose(self, job: Job, problem: Exception) -> None:
        """Keep why a request that cannot be read any more was not carried out. Raises LostJob."""
        self._jobs.finish(job, {"status": str(status_of(problem)), "response": error_document(problem)})

    def finish_bulk(self, job: Job, results: Sequence[tuple[Mapping[str, Any], Subject]]) -> None:
        """Keep what became of each operation of a Bulk request, and its subject. Raises LostJob."""
        self._finish(
            job,
            {"method": "POST", "status": "200", "operations": [result for result, _ in results]},
            [(f"{job.txn}:{n}", subject, result) for n, (result, subject) in enumerate(results)],
        )

    def as_set(self, txn: str, status: JobStatus, position: int | None) -> Set:
        """Return the completion of a request that is done as a SET: the same whenever it is asked for.

        `position` is that of an operation of a Bulk request, which has it, None for the whole.
        """
        assert status.result is not None
        result = status.result if position is None else status.result["operations"][position]
        subject = _subject(result)
        if status.subjects and ("operations" not in status.result or position is not None):
            subject = status.subjects[position or 0]
        event = Event(ASYNC_RESPONSE, subject, payload=self._payload(result))
        feeds = [feed.id for feed in self._publishing.feeds]
        return Set(0, uuid5(NAMESPACE_URL, txn).hex, txn, status.done_at, event, feeds)

    def _finish(self, job: Job, result: Mapping[str, Any], completions: Sequence[Completion]) -> None:
        """Keep the result, and an event for each completion, in one transaction."""
        with self._jobs.transaction():
            for txn, subject, done in completions if self._publishing.is_on else ():
                event = Event(ASYNC_RESPONSE, subject, payload=self._payload(done))
                body = orjson.dumps(ChangeEvents(txn, [event]).as_json()).decode()
                self._log.append(self._entry(job, txn, subject, done), body)
            self._jobs.finish(job, result, [subject for _, subject, _ in completions])

    def _entry(self, job: Job, txn: str, subject: Subject, result: Mapping[str, Any]) -> ChangeEntry:
        """Return the row of the log for a request that is done; it is no change of the resource."""
        return ChangeEntry(
            now_ms(),
            self._registry.name_in(subject.uri),
            subject.resource_id or "",
            subject.external_id,
            "completion",
            result.get("version"),
            "[]",
            job.principal,
            None,
            None,
            "async",
            txn,
            None,
        )

    def _outcome(
        self, context: Context, part: JobPart, stored: StoredResource | None
    ) -> dict[str, Any]:
        resource_id = part.request["resource_id"] if stored is None else stored.id
        location = self._views.location(context, part.request["resource_type"], resource_id)
        return outcome(part.request["method"], location, stored)

    def _shown(
        self, context: Context, part: JobPart, resource_type: ResourceType, stored: StoredResource
    ) -> Any:
        """Return the resource as the response would have it, None for a group that is not repeated."""
        representation, request = self._views.of(context).representation, part.request
        profile = profile_of(context.profile)
        if request["method"] != "POST" and not (request["attributes"] or request["excluded_attributes"]):
            is_patch = request["method"] == "PATCH"
            if is_patch and profile.answers_without_content(resource_type):
                return None
            if representation.is_large(resource_type, stored):
                return None
        asked_for = tuple(request["attributes"]), tuple(request["excluded_attributes"])
        if not is_allowed(context, "read", resource_type):
            asked_for = ("id",), ()
        projection = make_projection(resource_type, *asked_for, profile.resources)
        text = representation.chunks(resource_type, self._views.seen(context, stored), projection)
        return orjson.loads(text if isinstance(text, str) else b"".join(text))

    def _payload(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payload of a completion: errors in any case, resources where anybody may see them.

        `Event.events_claim` leaves a resource out of what a receiver of notices gets.
        """
        failed = int(result["status"]) >= 400
        left_out = () if failed or self._publishing.needs_data else ("response",)
        return {name: value for name, value in result.items() if name not in left_out}

    def _type(self, name: str) -> ResourceType:
        resource_type = self._registry.resource_type(name)
        if resource_type is None:
            raise Refusal(404, f"there is no resource type {name}")
        return resource_type


def outcome(method: str, location: str, stored: StoredResource | None) -> dict[str, str]:
    """Return what a result says of a request that was carried out, without the resource itself."""
    status = {"POST": "201", "DELETE": "204"}.get(method, "200")
    version = {"version": entity_tag(stored.version)} if stored is not None else {}
    return {"status": status, "location": location, **version}


def error_document(problem: Exception) -> Any:
    """Return the SCIM error for a problem, parsed."""
    return orjson.loads(error_body(problem))


def _subject(result: Mapping[str, Any]) -> Subject:
    """Return the subject of a Bulk request, or of a result of an earlier release."""
    location = result.get("location")
    if not location:
        return Subject("/Bulk")
    endpoint, _, resource_id = location.rpartition("/")
    name = endpoint.rpartition("/")[2]
    return Subject(f"/{name}/{resource_id}", resource_id)
