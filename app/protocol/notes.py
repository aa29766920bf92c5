"""Noting what writes do: intents before them, rows of the change log after them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.protocol.changes import ChangeBuilder, Note
from app.protocol.context import Context
from app.protocol.jobs import Jobs
from set_delivery.change_log import ChangeLog
from set_delivery.database import StateDatabase
from set_delivery.intents import IntentTable
from storage.errors import OutcomeUnknown, StorageError, StorageUnavailable

_LOG = logging.getLogger(__name__)


@dataclass
class Notes:
    """Keeps notes in the state database.

    `is_shared` says that this is the database of the storage: what is noted commits with it.
    `keeps_history` is False where only changes with events are noted.
    """

    builder: ChangeBuilder
    log: ChangeLog
    intents: IntentTable
    jobs: Jobs
    database: StateDatabase
    is_shared: bool
    keeps_history: bool

    def add(self, note: Note | None) -> None:
        """Append a note to the change log, in the caller's transaction if there is one."""
        if note is None or (note.events is None and not self.keeps_history):
            return
        body = None if note.events is None else orjson.dumps(note.events.as_json()).decode()
        self.log.append(note.entry, body, note.values)

    def begin(self, context: Context, plan: Mapping[str, Any]) -> int:
        """Keep an intent, durably, and return its number.

        Raises LostJob when another process has taken the job of the context over, and
        StorageUnavailable: in both cases the write must not be sent.
        """
        try:
            with self.database.transaction():
                if context.job is not None:
                    self.jobs.require_held(context.job.job)
                return self.intents.begin(plan)
        except OutcomeUnknown as exc:
            # Whether or not it is kept, the write is not sent.
            raise StorageUnavailable(str(exc)) from exc

    def confirm(self, intent: int, note: Note | None, also: Callable[[], object] | None = None) -> None:
        """Put what was done in place of an intent, None when nothing was; do `also` together with it."""
        with self.database.transaction():
            self.intents.remove(intent)
            # When somebody else has settled it meanwhile, there is a second note: better than none.
            self.add(note)
            if also is not None:
                also()

    def settle(self, intent: int, note: Note | None, also: Callable[[], object] | None = None) -> None:
        """Put what was found to be done in place of an intent, as `confirm` does, if it still is one."""
        with self.database.transaction():
            if self.intents.remove(intent):
                self.add(note)
            if also is not None:
                also()

    def leave(self, intent: int, is_settled: bool) -> None:
        """Have somebody find out what became of an intent; unless `is_settled`, it may still take effect."""
        try:
            self.intents.leave(intent, is_settled)
        except StorageError as exc:
            # It is looked at all the same, when no request can be under way any more.
            _LOG.warning("the outcome of a change is looked at later: %s", exc)
