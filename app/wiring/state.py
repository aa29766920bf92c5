"""The state database of a base: what must survive the process, and the keys that guard it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.auth.api_keys import client_name
from app.configuration.settings import BaseSettings
from app.protocol.keys import Keys
from set_delivery.database import StateDatabase
from set_delivery.key_ring import open_ring, read_ring
from set_delivery.tables import StateTooNew, prepare_state, refuse_later_state
from storage.adapter import StorageAdapter
from storage.errors import StorageReadOnly, StorageUnavailable
from storage.sql.opening import make_folder, open_database

_LOG = logging.getLogger(__name__)
_NO_LOG: Final = "the server keeps no change log: %s"


@dataclass(frozen=True)
class State:
    """A state database with its keys.

    `is_shared` says that it is the database of the storage, whose transactions then hold both.
    `keeps_history` says that every change is a row of the change log, for as long as it is kept.
    `keeps_tokens` says that named tokens are looked for.
    """

    database: StateDatabase
    keys: Keys
    is_shared: bool
    keeps_history: bool
    keeps_tokens: bool


def open_state(settings: BaseSettings, adapter: StorageAdapter) -> State:
    """Return the state database for a storage, its tables prepared where there is anything to keep.

    Raises StorageUnavailable.
    """
    is_shared = adapter.state_database is not None
    database = adapter.state_database or open_database(settings.state_url, settings.database_pool_size)
    is_asked_for, is_there = _reasons(settings, is_shared)
    keeps_history = settings.change_log != "off" and (is_asked_for or is_there)
    ring: Sequence[bytes] = ()
    try:
        if not is_shared and (is_asked_for or is_there):
            make_folder(settings.state_url)
        if is_asked_for or keeps_history:
            ring = _prepared(database, settings)
        elif is_shared:
            # State tables in the database of the resources are looked at in any case.
            refuse_later_state(database)
    except (StorageReadOnly, StorageUnavailable) as problem:
        # Where nothing can be changed, there is nothing to log, and no file of a database can be made.
        if is_asked_for or not (isinstance(problem, StorageReadOnly) or _is_read_only(adapter)):
            raise StorageUnavailable(str(problem)) from problem
        _LOG.warning(_NO_LOG, problem)
        keeps_history = False
    except StateTooNew as exc:
        raise StorageUnavailable(str(exc)) from exc
    finally:
        # Connections do not survive a fork, and preparing may happen before one.
        database.close()
    if settings.change_log == "auto" and not (is_asked_for or is_there):
        _LOG.info(_NO_LOG, "STATE_DATABASE_URL and CHANGE_LOG are unset")
    secrets = [secret.encode() for secret in settings.secret_keys]
    keys = Keys([*secrets, *ring], {client_name(key): key for key in settings.api_key})
    # Their tables are made with the first one: where nothing else is kept, too.
    return State(database, keys, is_shared, keeps_history, is_asked_for or is_there)


def _reasons(settings: BaseSettings, is_shared: bool) -> tuple[bool, bool]:
    """Return whether the settings need a state database, and whether there is one in any case."""
    is_used = settings.publishing.is_on or settings.async_request != "none"
    is_asked_for = is_used or settings.change_log == "on" or settings.deprovision_limit != ""
    # By itself the log is kept where there is a database for it in any case.
    return is_asked_for, is_shared or bool(settings.backend[1].state_url or settings.state_database_url)


def refuse_state_of_later_release(settings: BaseSettings, adapter: StorageAdapter) -> None:
    """Raise StorageUnavailable for state tables that `open_state` would refuse; nothing is changed."""
    is_shared = adapter.state_database is not None
    is_asked_for, is_there = _reasons(settings, is_shared)
    if not (is_shared or is_asked_for or (is_there and settings.change_log != "off")):
        return
    shared = adapter.state_database
    if shared is None:
        shared = open_database(settings.state_url, settings.database_pool_size)
    database = shared.to_read()
    if database.dialect.name == "sqlite" and not Path(database.name).exists():
        return
    try:
        refuse_later_state(database)
    except StateTooNew as exc:
        raise StorageUnavailable(str(exc)) from exc
    finally:
        database.close()


def _is_read_only(adapter: StorageAdapter) -> bool:
    try:
        adapter.check_writable()
    except StorageReadOnly:
        return True
    return False


def _prepared(database: StateDatabase, settings: BaseSettings) -> Sequence[bytes]:
    """Prepare the tables and return the key ring, which has a secret unless SECRET_KEYS is set."""
    prepare_state(database)
    if settings.secret_keys:
        return read_ring(database)
    try:
        return open_ring(database)
    except StorageReadOnly as exc:
        raise StorageReadOnly(
            f"the state database has no secret for keys, and cannot be written: {exc}: set SECRET_KEYS"
        ) from exc
