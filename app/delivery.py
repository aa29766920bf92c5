"""The parts that make events leave, put together for one service provider."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

from app.auth import client_name
from app.protocol.changes import ChangeBuilder
from app.protocol.commit import Notes
from app.protocol.intents import Intents
from app.protocol.jobs import LEASE_S, Jobs
from app.protocol.keys import Keys
from app.protocol.representation import Representation
from app.settings import BaseSettings
from app.work.registry import DEFAULT_BASE
from app.work.wakeups import CHANGES, FEEDS, REQUESTS, Wakeups
from schema.registry import Registry
from set_delivery.database import StateDatabase
from set_delivery.dispatch import Dispatcher
from set_delivery.inventory import Inventory
from set_delivery.key_ring import open_ring, read_ring
from set_delivery.leases import is_leased, lease, take_lease
from set_delivery.outbox import Intent, Outbox
from set_delivery.poll import Streams
from set_delivery.push import Pusher
from set_delivery.retention import Retention
from set_delivery.streams import Publishing
from set_delivery.tables import (
    StateTooNew,
    check_state,
    prepare_state,
    refuse_later_state,
)
from storage.adapter import StorageAdapter
from storage.errors import StorageReadOnly, StorageUnavailable
from storage.sql import open_database

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
    outbox: Outbox
    intents: Intents
    dispatcher: Dispatcher
    streams: Streams
    retention: Retention
    inventory: Inventory
    notes: Notes | None
    jobs: Jobs
    keys: Keys

    def pusher(self) -> Pusher:
        """Return what delivers; for one thread."""
        return Pusher(self.database, self.publishing, self._owner())

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
        return 0

    def is_expiry_due(self) -> bool:
        """Return whether nobody has removed expired rows for a minute."""
        return not is_leased(self.database, _EXPIRY)

    def _owner(self) -> str:
        # Leases are compared; that they name base, host and process helps people.
        return f"{self.base}/{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"

    def _overdue(self) -> list[Intent]:
        # Those of a request that is carried out later are its own business.
        return [i for i in self.outbox.overdue() if not self.jobs.is_unfinished(i.plan["txn"])]


def open_delivery(settings: BaseSettings, registry: Registry, adapter: StorageAdapter) -> Delivery:
    """Return the delivery for a storage, its tables prepared where there is anything to keep.

    Raises StorageUnavailable.
    """
    publishing, is_shared = settings.publishing, adapter.state_database is not None
    database, ring = _open_state(settings, adapter)
    secrets = [secret.encode() for secret in settings.secret_keys]
    keys = Keys([*secrets, *ring], {client_name(key): key for key in settings.api_key})
    wakeups = Wakeups()
    # Where the storage has transactions, the end of a process ends its writes.
    settling_s = 0.0 if adapter.capabilities.transactions else settings.settling_time
    outbox = Outbox(
        database, partial(wakeups.due, CHANGES, FEEDS), settling_ms=int(settling_s * 1000)
    )
    representation = Representation(registry, adapter, settings.location_prefix)
    builder = ChangeBuilder(registry, adapter, representation, publishing)
    intents = Intents(registry, adapter, builder, outbox)
    jobs = Jobs(
        database,
        keys.jobs(),
        settings.async_result_ttl,
        partial(wakeups.due, REQUESTS),
        # A process that waits for a slow backend still holds its request.
        lease_s=LEASE_S if is_shared else max(LEASE_S, settings.remote_timeout + 2.0),
    )
    notes = None
    if publishing.is_on or (settings.async_request != "none" and not is_shared):
        # Intents also tell whether a request that is carried out later took effect.
        notes = Notes(builder, outbox, intents, is_shared, jobs.require_held)
    return Delivery(
        DEFAULT_BASE,
        publishing,
        database,
        wakeups,
        outbox,
        intents,
        Dispatcher(database, publishing),
        Streams(database, publishing.feed_size),
        Retention(database, publishing),
        Inventory(database, publishing),
        notes,
        jobs,
        keys,
    )


def _open_state(
    settings: BaseSettings, adapter: StorageAdapter
) -> tuple[StateDatabase, Sequence[bytes]]:
    """Return the state database, prepared where it is needed, and its key ring."""
    shared: StateDatabase | None = adapter.state_database
    database = shared or open_database(settings.state_url, settings.database_pool_size)
    ring: Sequence[bytes] = ()
    try:
        if settings.publishing.is_on or settings.async_request != "none":
            prepare_state(database)
            ring = _ring(database, settings.secret_keys)
        elif shared is not None:
            # State tables in the database of the resources are looked at in any case.
            refuse_later_state(database)
    except StateTooNew as exc:
        raise StorageUnavailable(str(exc)) from exc
    finally:
        # Connections do not survive a fork, and preparing may happen before one.
        database.close()
    return database, ring


def _ring(database: StateDatabase, secret_keys: Sequence[str]) -> Sequence[bytes]:
    """Return the key ring, which has a secret unless SECRET_KEYS is set. Raises StorageUnavailable."""
    if secret_keys:
        return read_ring(database)
    try:
        return open_ring(database)
    except StorageReadOnly as exc:
        raise StorageUnavailable(
            f"the state database has no secret for keys, and cannot be written: {exc}: set SECRET_KEYS"
        ) from exc
