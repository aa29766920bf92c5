"""The parts that make events leave, put together for one service provider."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

from app.auth import client_name
from app.protocol.changes import ChangeBuilder
from app.protocol.commit import Notes
from app.protocol.intents import IntentJudge
from app.protocol.jobs import Jobs
from app.protocol.keys import Keys
from app.protocol.representation import Representation
from app.settings import Settings
from schema.registry import Registry
from set_delivery.database import StateDatabase
from set_delivery.dispatch import Dispatcher
from set_delivery.inventory import Inventory
from set_delivery.key_ring import open_ring, read_ring
from set_delivery.leases import lease
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

# How long a process that died while it judged intents is waited for.
_INTENTS_S: Final = 30.0


class Bell:
    """Rings when there is something to do; whoever does the work says what that means.

    What it is, is the beginning of the names of the pieces of work that may be concerned.
    """

    def __init__(self) -> None:
        self.answer: Callable[[str], object] = lambda what: None

    def ring(self, what: str) -> None:
        """Say that there is something to do."""
        self.answer(what)


@dataclass(frozen=True)
class Delivery:
    """Everything that has to do with events, and what it is kept in."""

    publishing: Publishing
    database: StateDatabase
    bell: Bell
    outbox: Outbox
    judge: IntentJudge
    dispatcher: Dispatcher
    streams: Streams
    retention: Retention
    inventory: Inventory
    notes: Notes | None
    jobs: Jobs
    keys: Keys

    def pusher(self) -> Pusher:
        """Return what delivers; for one thread."""
        owner = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        return Pusher(self.database, self.publishing, owner)

    def check(self) -> None:
        """Return if what must survive can be kept, and its tables are there. Raises StorageUnavailable."""
        check_state(self.database)

    def settle_intents(self) -> int:
        """Find out what became of writes that nobody answered for, and return how many there were."""
        if not self._overdue():
            return 0
        # Two who judge the same write would tell of it twice.
        with lease(self.database, "intents", uuid4().hex, _INTENTS_S) as held:
            intents = self._overdue() if held.holds() else []
            for intent in intents:
                change, _ = self.judge.judge(intent)
                self.outbox.confirm(intent.seq, change)
        return len(intents)

    def _overdue(self) -> list[Intent]:
        # Those of a request that is carried out later are its own business.
        return [i for i in self.outbox.overdue() if not self.jobs.is_unfinished(i.plan["txn"])]


def open_delivery(settings: Settings, registry: Registry, adapter: StorageAdapter) -> Delivery:
    """Return the delivery for a storage, its tables prepared where there is anything to keep.

    Raises StorageUnavailable.
    """
    publishing = settings.publishing
    database: StateDatabase | None = adapter.state_database
    transactional = database is not None
    if database is None:
        database = open_database(settings.state_url, settings.database_pool_size)
    is_needed = publishing.is_on or settings.async_request != "none"
    ring: Sequence[bytes] = ()
    # State tables in the database of the resources are looked at in any case.
    if is_needed or transactional:
        try:
            if is_needed:
                prepare_state(database)
                ring = _ring(database, settings.secret_keys)
            else:
                refuse_later_state(database)
        except StateTooNew as exc:
            raise StorageUnavailable(str(exc)) from exc
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            database.close()
    secrets = [secret.encode() for secret in settings.secret_keys]
    keys = Keys([*secrets, *ring], {client_name(key): key for key in settings.api_key})
    bell = Bell()
    outbox = Outbox(database, partial(bell.ring, "events"))
    representation = Representation(registry, adapter, settings.location_prefix)
    builder = ChangeBuilder(registry, adapter, representation, publishing)
    judge = IntentJudge(registry, adapter, builder)
    notes = None
    if publishing.is_on or (settings.async_request != "none" and not transactional):
        # Intents also tell whether a request that is carried out later took effect.
        notes = Notes(builder, outbox, judge, transactional)
    return Delivery(
        publishing,
        database,
        bell,
        outbox,
        judge,
        Dispatcher(database, publishing),
        Streams(database, publishing.feed_size),
        Retention(database, publishing),
        Inventory(database, publishing),
        notes,
        Jobs(database, keys.jobs(), settings.async_result_ttl, partial(bell.ring, "requests")),
        keys,
    )


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
