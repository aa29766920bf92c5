"""Settings of the storage that belong to no backend: the choice of one, and the state database."""

from dataclasses import dataclass

from storage import option_types as types
from storage.options import secret, setting
from storage.registry import backend_name
from storage.shared_options import DatabasePool, Remote


@dataclass(frozen=True, repr=False)
class StorageSettings:
    """The choice of the backend."""

    storage: str = setting(
        "",
        backend_name,
        "The backend. A backend of another package has no other way to be chosen.",
        "The name of a backend that is not installed stops the start, and so does a backend whose address is"
        " not set. Exception: `sql` without `DATABASE_URL` is the SQLite file `data/scim.db`.",
        shown="the first backend whose address is set",
    )


@dataclass(frozen=True, repr=False)
class RemoteSettings(Remote):
    """Remote backends."""

    settling_time: float = setting(
        120.0,
        types.seconds,
        "The time in which a write that JumpCloud, the upstream, iRODS, a directory or MongoDB did not"
        " confirm may still take effect, in seconds.",
        "It must be longer than the longest time that the backend takes for a write. The server looks for the"
        " effect of the write during this time: when it appears, its event is published and its asynchronous"
        " request completed. See [Guarantees](../explanation/guarantees.md#unknown-outcomes).",
    )


@dataclass(frozen=True, repr=False)
class StateSettings(DatabasePool):
    """The state database."""

    state_database_url: str = secret(
        "",
        types.database_url,
        "The SQL database for the change log, events, asynchronous requests and leases, where resources are"
        " not in an SQL database.",
        "With `DATABASE_URL`, or with no backend at all, the setting stops the start: the state is in the"
        " database of the resources.",
        shown="an SQLite file: `.state.db` in `DATA_PATH`, or `data/state.db`",
    )
