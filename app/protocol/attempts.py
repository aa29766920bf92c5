"""Trying a change again when another writer came first."""

from collections.abc import Callable
from typing import TypeVar

from storage.adapter import StorageAdapter
from storage.attempts import repeated
from storage.errors import Contention, VersionMismatch

_Result = TypeVar("_Result")


def in_transaction(
    adapter: StorageAdapter, change: Callable[[], _Result], prepare: Callable[[], object] | None = None
) -> _Result:
    """Run `change` in a transaction until no other writer came between its reading and its writing.

    `prepare` is done before each attempt, outside the transaction: what takes long must not hold up
    other writers. Within a transaction `change` is run once: only the whole can be tried again.
    Raises what `change` raises, but Contention in place of VersionMismatch: a client that named a
    version has got its refusal from `change` itself, and any other client may send the same again.
    """

    def attempt() -> _Result:
        if prepare is not None:
            prepare()
        if adapter.in_transaction:
            return change()
        with adapter.transaction():
            return change()

    if adapter.in_transaction:
        return attempt()
    try:
        return repeated(attempt, VersionMismatch, Contention)
    except VersionMismatch as exc:
        raise Contention(str(exc)) from exc
