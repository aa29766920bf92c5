"""Which client the work of this thread is done for, for the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_CLIENT: Final[ContextVar[str]] = ContextVar("client", default="")


def current_client() -> str:
    """Return the name of the principal that the work is done for, "" where there is none."""
    return _CLIENT.get()


def set_client(name: str) -> None:
    """Say for whom this thread works from now on."""
    _CLIENT.set(name)


@contextmanager
def working_for(name: str) -> Iterator[None]:
    """Say for whom this thread works in the meantime."""
    before = _CLIENT.set(name)
    try:
        yield
    finally:
        _CLIENT.reset(before)
