"""The state database of the settings, for commands that need no more than that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app import configure_log
from app.configuration.settings import Settings
from app.server.problems import problems_said
from app.wiring.base import load_types, open_adapter
from app.wiring.state import State, open_state
from storage.errors import StorageUnavailable


def _is_empty(shared: Any) -> bool:
    """Return whether the database of the resources, where it is the state database too, has no tables yet."""
    try:
        return shared is not None and not shared.has_table("scim_layout")
    except StorageUnavailable:
        # There may be no file yet; what cannot be reached says so when it is prepared.
        return True


@contextmanager
def opened_state() -> Iterator[tuple[State, Settings]]:
    """Yield the state database, prepared; the program ends with what is wrong with the settings.

    No other storage is asked: a token can be revoked, and a client released, while that is down.
    """
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        registry = load_types(settings)
        adapter = open_adapter(settings, registry)
        if _is_empty(adapter.state_database):
            # In an empty database, the tables of the resources come first. In others, they belong to the
            # server: with other settings, this program would change how it indexes.
            adapter.prepare(registry.resource_types)
        state = open_state(settings, adapter)
        try:
            yield state, settings
        finally:
            state.database.close()
