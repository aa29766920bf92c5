"""The durable queue of asynchronous requests (RFC 9967 section 2.5.1), shared by all processes."""

import base64
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from threading import Event, Thread
from typing import Any, Final
from uuid import uuid4

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.protocol.job import Backlog, Job, JobStatus, LostJob, OperationState
from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase, marks
from set_delivery.events import Subject
from storage.errors import StorageError
from telemetry.catalogue import JOBS

_LOG = logging.getLogger(__name__)

# A job whose process is gone is taken over after this long, in seconds; a process that lives renews it.
LEASE_S: Final = 8.0
_ALIVE_S: Final = 2.0
# A job that a backend is in the way of is tried again after this long.
_PAUSE_MS: Final = 3_000
# The target of a request that may concern any resource.
EVERYTHING: Final = "*"
# This member of a stored result has the subjects, which clients do not see there.
_SUBJECTS: Final = "subjects"
# Releases up to 0.2.0 cannot decrypt the requests of this one, and end what they cannot decrypt. They
# carry out a request once its `lease_until` has passed: this release sets it to a time that never comes, and
# keeps its own times in `due_at`, which is NULL in the rows of those releases.
_NEVER_MS: Final = 2**63 - 1
_DUE: Final = "done_at IS NULL AND COALESCE(due_at, lease_until) < ?"


class Jobs:
    """Keeps requests until they are done, and results until they expire.

    Requests are encrypted with the first of `keys`, and decrypted with any of them. Results
    are kept `ttl_s` seconds. `wake` is called when there is something to do. `lease_s` is longer than
    one call of the storage takes.
    """

    def __init__(
        self,
        database: StateDatabase,
        keys: Sequence[bytes],
        ttl_s: float,
        wake: Callable[[], object] = lambda: None,
        clock: Callable[[], int] = now_ms,
        lease_s: float = LEASE_S,
    ) -> None:
        self._lease_ms = int(lease_s * 1000)
        self._database = database
        self._keys = keys
        self._ttl_ms = int(ttl_s * 1000)
        self._wake = wake
        self._clock = clock

    # -- for who asks

    def accept(self, principal: str, target: str, request: Mapping[str, Any], total: int = 1) -> str:
        """Keep a request, durably, and return the name of its transaction."""
        txn = str(uuid4())
        body = self._cipher.encrypt(orjson.dumps(request)).decode()
        with self._database.transaction():
            self._database.run(
                "INSERT INTO scim_job (txn, principal, target, accepted_at, request, lease_until, due_at, "
                "attempts, done, total) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, ?)",
                (txn, principal, target[:250], self._clock(), body, _NEVER_MS, total),
            )
        JOBS.inc("accepted")
        self._wake()
        return txn

    def status(self, txn: str, principal: str) -> JobStatus | None:
        """Return how far a request of this principal is, None if there is none of that name."""
        # The sweep removes a result later than at its end.
        row = self._database.row(
            "SELECT done, total, done_at, result FROM scim_job WHERE txn = ? AND principal = ? "
            "AND (done_at IS NULL OR done_at >= ?)",
            (txn, principal, self._clock() - self._ttl_ms),
        )
        if row is None:
            return None
        done, total, done_at, text = row
        if done_at is None:
            return JobStatus(txn, done, total, None)
        result = orjson.loads(text)
        subjects = [Subject(*subject) for subject in result.pop(_SUBJECTS, ())]
        return JobStatus(txn, done, total, result, done_at, subjects)

    def forget(self, txn: str, principal: str) -> bool:
        """Forget a request that is done or has not begun; return False if it is being carried out."""
        with self._database.transaction():
            forgotten = self._database.run(
                "DELETE FROM scim_job WHERE txn = ? AND principal = ? "
                "AND (done_at IS NOT NULL OR attempts = 0)",
                (txn, principal),
            )
        return bool(forgotten.rowcount)

    # -- for who works

    def claim(self, owner: str) -> Job | None:
        """Take over the first request that may be carried out now.

        Requests of one principal to one resource are carried out in the order of acceptance. A process
        of release 0.2.0 or earlier leaves a request alone once it was claimed here.
        """
        now = self._clock()
        while True:
            row = self._database.row(
                "SELECT j.txn, j.principal, j.request, j.accepted_at, j.attempts, j.state FROM scim_job j "
                f"WHERE {_DUE} AND NOT EXISTS (SELECT 1 FROM scim_job e "
                "WHERE e.principal = j.principal AND e.done_at IS NULL AND e.seq < j.seq "
                "AND (e.target = j.target OR e.target = ? OR j.target = ?)) ORDER BY j.seq LIMIT 1",
                (now, EVERYTHING, EVERYTHING),
            )
            if row is None:
                return None
            txn, principal, body, accepted_at, attempts, state = row
            with self._database.transaction():
                claimed = self._database.run(
                    "UPDATE scim_job SET owner = ?, lease_until = ?, due_at = ?, attempts = attempts + 1 "
                    f"WHERE txn = ? AND {_DUE}",
                    (owner, _NEVER_MS, now + self._lease_ms, txn, now),
                )
            if claimed.rowcount:
                request, known = self._read(body), {}
                if attempts:
                    known = {**_operations_in(state), **self._operations(txn)}
                return Job(txn, principal, request, owner, accepted_at, attempts + 1, known)

    def backlog(self) -> Backlog:
        """Return how many requests have no result, and how old the oldest of them is."""
        waiting, oldest = self._database.row(
            "SELECT COUNT(*), MIN(accepted_at) FROM scim_job WHERE done_at IS NULL"
        )
        return Backlog(waiting, 0.0 if oldest is None else max(0, self._clock() - oldest) / 1000)

    def is_due(self) -> bool:
        """Return whether there may be a request to carry out now."""
        statement = f"SELECT 1 FROM scim_job WHERE {_DUE} LIMIT 1"
        return self._database.row(statement, (self._clock(),)) is not None

    def _read(self, body: str) -> Mapping[str, Any]:
        try:
            request: Mapping[str, Any] = orjson.loads(self._cipher.decrypt(body.encode()))
        except InvalidToken:
            # Every key that it could be read with is gone.
            return {}
        return request

    @contextmanager
    def kept(self, job: Job) -> Iterator[None]:
        """Let nobody else take a job over while it is being worked on here."""
        over = Event()

        def stay() -> None:
            while not over.wait(_ALIVE_S):
                try:
                    self._stay(job)
                except StorageError as problem:
                    # The next time may be soon enough.
                    _LOG.warning("the lease of the request %s cannot be renewed: %s", job.txn, problem)
            self._database.close()

        thread = Thread(target=stay, name="scim job", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context in which everything that is kept of jobs is kept together."""
        return self._database.transaction()

    def require_held(self, job: Job) -> None:
        """Make the lease of a job last, in the caller's transaction.

        Raises LostJob when another process has taken the job over.
        """
        self._change(job, "due_at = ?", (self._clock() + self._lease_ms,))

    def _stay(self, job: Job) -> None:
        with self._database.transaction():
            self._database.run(
                "UPDATE scim_job SET due_at = ? WHERE txn = ? AND owner = ? AND done_at IS NULL",
                (self._clock() + self._lease_ms, job.txn, job.owner),
            )

    def note(self, job: Job, operations: Mapping[int, OperationState]) -> None:
        """Keep what became of operations, by position, in the caller's transaction if there is one.

        Raises LostJob.
        """
        rows = [
            (job.txn, position, orjson.dumps(one.as_json()).decode())
            for position, one in operations.items()
        ]
        positions = list(operations)
        with self._database.transaction():
            # An operation that waited has a row.
            known = self._database.run(
                f"DELETE FROM scim_job_operation WHERE txn = ? AND position IN ({marks(positions)})",
                (job.txn, *positions),
            )
            self._change(job, "done = done + ?", (len(rows) - known.rowcount,))
            self._database.run(
                "INSERT INTO scim_job_operation (txn, position, state) VALUES "
                + ", ".join(["(?, ?, ?)"] * len(rows)),
                [cell for row in rows for cell in row],
            )

    def _operations(self, txn: str) -> dict[int, OperationState]:
        rows = self._database.rows("SELECT position, state FROM scim_job_operation WHERE txn = ?", (txn,))
        return {position: OperationState(*orjson.loads(state)) for position, state in rows}

    def finish(self, job: Job, result: Mapping[str, Any], subjects: Sequence[Subject] = ()) -> None:
        """Keep the result of a job, in the caller's transaction if there is one. Raises LostJob.

        `subjects` are those of its completions. The request itself is not kept any longer.
        """
        text = orjson.dumps({**result, _SUBJECTS: [subject.as_json() for subject in subjects]}).decode()
        assignments = "done_at = ?, result = ?, request = '', state = NULL, done = total"
        with self._database.transaction():
            self._change(job, assignments, (self._clock(), text))
            JOBS.inc("failed" if int(result["status"]) >= 400 else "done")
            if "bulk" in job.request:
                self._database.run("DELETE FROM scim_job_operation WHERE txn = ?", (job.txn,))

    def put_back(self, job: Job) -> bool:
        """Let a job be tried again later; return False when that has gone on for too long."""
        if self._clock() - job.accepted_at > self._ttl_ms:
            return False
        self._change(job, "due_at = ?", (self._clock() + _PAUSE_MS,))
        JOBS.inc("delayed")
        return True

    def is_unfinished(self, txn: str) -> bool:
        """Return whether a transaction, or the one it is a part of, is a job that is not done."""
        whole = txn.partition(":")[0]
        found = self._database.row(
            "SELECT 1 FROM scim_job WHERE txn = ? AND done_at IS NULL AND attempts > 0", (whole,)
        )
        return found is not None

    def expire(self) -> None:
        """Forget results that are older than they are kept."""
        with self._database.transaction():
            self._database.run("DELETE FROM scim_job WHERE done_at < ?", (self._clock() - self._ttl_ms,))
            self._database.run(
                "DELETE FROM scim_job_operation WHERE NOT EXISTS "
                "(SELECT 1 FROM scim_job WHERE scim_job.txn = scim_job_operation.txn)"
            )

    def _change(self, job: Job, assignments: str, params: tuple[Any, ...]) -> None:
        with self._database.transaction():
            changed = self._database.run(
                f"UPDATE scim_job SET {assignments} WHERE txn = ? AND owner = ? AND done_at IS NULL",
                (*params, job.txn, job.owner),
            )
            if not changed.rowcount:
                raise LostJob(job.txn)

    @cached_property
    def _cipher(self) -> MultiFernet:
        return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in self._keys])


def _operations_in(state: str | None) -> dict[int, OperationState]:
    """Return the operations in the state that a process of release 0.2.0 or earlier has kept."""
    if not state:
        return {}
    run = orjson.loads(state)["run"]
    waiting = dict(map(tuple, run["incomplete"]))
    ids = run["ids"]
    return {
        position: OperationState(
            result, waiting.get(position, ids.get(result.get("bulkId"))), position in waiting
        )
        for position, result in run["results"]
    }
