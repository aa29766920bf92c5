"""The parts that make events leave, put together for one service provider."""

import logging
import os
import socket
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

from app.configuration.settings import BaseSettings
from app.protocol.change_rows import ChangeRows
from app.protocol.changes import ChangeBuilder
from app.protocol.intents import Intents
from app.protocol.jobs import LEASE_S, Jobs
from app.protocol.keys import Keys, Purpose
from app.protocol.mapping import AttributeMapping
from app.protocol.notes import Notes
from app.protocol.representation import Representation
from app.wiring.audit import Audit, open_audit
from app.wiring.state import State, open_state
from app.work.registry import DEFAULT_BASE
from app.work.wakeups import CHANGES, FEEDS, REQUESTS, Wakeups
from schema.registry import Registry
from set_delivery.change_log import ChangeLog
from set_delivery.change_order import ChangeOrder
from set_delivery.change_verification import LogBroken
from set_delivery.database import StateDatabase
from set_delivery.dispatch import Dispatcher
from set_delivery.intents import Intent, IntentTable
from set_delivery.inventory import Inventory
from set_delivery.leases import is_leased, lease, take_lease
from set_delivery.poll import Streams
from set_delivery.push import Pusher
from set_delivery.retention import Retention
from set_delivery.streams import Publishing
from set_delivery.tables import check_state
from storage.adapter import StorageAdapter

_LOG = logging.getLogger(__name__)

# How long a process that died while it settled intents is waited for.
_INTENTS_S: Final = 30.0
# The lease that says when expired rows were removed last; nobody gives it back, so that it lasts so long.
_EXPIRY: Final = "retention"
_EXPIRY_S: Final = 60.0


@dataclass(frozen=True)
class Delivery:
    """Everything that has to do with events, and what it is kept in."""

    base: str
    publishing: Publishing
    database: StateDatabase
    wakeups: Wakeups
    log: ChangeLog
    order: ChangeOrder
    keeps_history: bool
    intents: Intents
    dispatcher: Dispatcher
    streams: Streams
    retention: Retention
    inventory: Inventory
    notes: Notes | None
    jobs: Jobs
    keys: Keys
    keeps_tokens: bool
    change_retention_s: int
    audit: Audit

    def pusher(self) -> Pusher:
        """Return what delivers; for one thread."""
        return Pusher(self.database, self.publishing, self._owner())

    @property
    def needs_delta(self) -> bool:
        """Whether anybody wants to know which members a write really lets join and leave."""
        if self.notes is None:
            return False
        return self.publishing.is_on or not self.notes.is_shared or self.notes.builder.rows.has_values

    def check(self) -> None:
        """Return if what must survive can be kept, and its tables are there. Raises StorageUnavailable."""
        check_state(self.database)

    def settle_intents(self) -> int:
        """Look at writes that nobody answered for, and return how many there were."""
        if not self.has_overdue_intents():
            return 0
        count = 0
        # Two who look at the same write would ask the backend twice.
        with lease(self.database, "intents", self._owner(), _INTENTS_S) as held:
            for intent in self._overdue() if held.holds() else ():
                if held.holds():
                    self.intents.settle(intent)
                    count += 1
        return count

    def has_overdue_intents(self) -> bool:
        """Return whether there is a write that nobody answered for."""
        return bool(self._overdue())

    def expire(self) -> int:
        """Remove expired events and results, once a minute over all processes; return 0.

        After a failure, the next minute is soon enough.
        """
        if self.is_expiry_due() and take_lease(self.database, _EXPIRY, self._owner(), _EXPIRY_S):
            self.retention.run()
            self.jobs.expire()
            self._trim_log()
        return 0

    def _trim_log(self) -> None:
        export = self.audit.export
        try:
            # Rows that a collector has not taken stay.
            up_to = None if export is None else export.position()
            self.order.trim(self.change_retention_s * 1000, up_to)
        except LogBroken as problem:
            _LOG.error("old rows of the change log stay, because they do not verify: %s", problem)

    def is_expiry_due(self) -> bool:
        """Return whether nobody has removed expired rows for a minute."""
        return not is_leased(self.database, _EXPIRY)

    def _owner(self) -> str:
        # Leases are compared; that they name base, host and process helps people.
        return f"{self.base}/{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"

    def _overdue(self) -> list[Intent]:
        # Those of a request that is carried out later are its own business.
        return [i for i in self.intents.overdue() if not self.jobs.is_unfinished(i.plan["txn"])]


def open_delivery(settings: BaseSettings, registry: Registry, adapter: StorageAdapter) -> Delivery:
    """Return the delivery for a storage. Raises StorageUnavailable and SettingsError."""
    state, publishing = open_state(settings, adapter), settings.publishing
    database, keys = state.database, state.keys
    wakeups = Wakeups()
    log = ChangeLog(database, partial(wakeups.due, CHANGES, FEEDS), state.keeps_history)
    order = ChangeOrder(database, keys.derived(Purpose.CHECKPOINTS))
    jobs = Jobs(
        database,
        keys.jobs(),
        settings.async_result_ttl,
        partial(wakeups.due, REQUESTS),
        # A process that waits for a slow backend still holds its request.
        lease_s=LEASE_S if state.is_shared else max(LEASE_S, settings.remote_timeout + 2.0),
    )
    notes = _notes(settings, registry, adapter, state, log, jobs)
    return Delivery(
        DEFAULT_BASE,
        publishing,
        database,
        wakeups,
        log,
        order,
        state.keeps_history,
        Intents(registry, adapter, notes),
        Dispatcher(database, log, order, publishing, registry.name_in),
        Streams(database, publishing.feed_size),
        Retention(database, publishing),
        Inventory(database, publishing),
        notes if _needs_notes(settings, state) else None,
        jobs,
        keys,
        state.keeps_tokens,
        settings.change_retention,
        open_audit(settings, state, log),
    )


def _notes(
    settings: BaseSettings,
    registry: Registry,
    adapter: StorageAdapter,
    state: State,
    log: ChangeLog,
    jobs: Jobs,
) -> Notes:
    representation = Representation(registry, adapter, settings.locations.prefix("default"))
    builder = ChangeBuilder(
        registry, adapter, representation, settings.publishing, _rows(settings, registry, state)
    )
    # Where the storage has transactions, the end of a process ends its writes.
    settling_s = 0.0 if adapter.capabilities.transactions else settings.settling_time
    intents = IntentTable(state.database, int(settling_s * 1000))
    return Notes(builder, log, intents, jobs, state.database, state.is_shared, state.keeps_history)


def _rows(settings: BaseSettings, registry: Registry, state: State) -> ChangeRows:
    copies = {
        one.name: AttributeMapping(one, settings.mappings.get(one.name, {})).secret_copies
        for one in registry.resource_types
    }
    # A row that goes with its events has no values.
    detail = settings.audit_values if state.keeps_history else "names"
    return ChangeRows(detail, settings.event_ignored_attributes, copies)


def _needs_notes(settings: BaseSettings, state: State) -> bool:
    """Return whether anybody wants to know of changes."""
    # Intents also tell whether a request that is carried out later took effect.
    needs_intents = settings.async_request != "none" and not state.is_shared
    return settings.publishing.is_on or state.keeps_history or needs_intents
