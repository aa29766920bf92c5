"""An adapter around any other one that counts its calls, and the seconds in them, and changes nothing.

Each call counts into the metrics and into what the thread is busy with (`telemetry.current`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from schema.resource_type import ResourceType
from storage.adapter import (
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import StorageError
from storage.wrapped import WrappedAdapter
from telemetry import tracing
from telemetry.catalogue import STORE_ERRORS, STORE_SECONDS
from telemetry.current import current

_Result = TypeVar("_Result")
_clock = time.perf_counter


class Measured(WrappedAdapter):
    """Behaves as `adapter`. A transaction counts at its end, as the call commit.

    The seconds of what is found lazily pass while it is read. They are in no call of the metrics.
    """

    def transaction(self) -> AbstractContextManager[None]:
        return _Transaction(self._adapter)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._adapter.exclusive()

    def check(self) -> None:
        _timed("check", self._adapter.check)

    # -- resources

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return _timed("get", self._adapter.get, resource_type, resource_id)

    def get_to_patch(
        self, resource_type: ResourceType, resource_id: str, member_ids: Sequence[str]
    ) -> StoredResource:
        work = self._adapter.get_to_patch
        return _timed("get_to_patch", work, resource_type, resource_id, member_ids)

    def get_to_delete(
        self, resource_type: ResourceType, resource_id: str
    ) -> tuple[StoredResource, Sequence[Membership]]:
        return _timed("get_to_delete", self._adapter.get_to_delete, resource_type, resource_id)

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return _timed("create", self._adapter.create, resource_type, resource)

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        _timed("create_many", self._adapter.create_many, resource_type, resources)

    def create_with_members(
        self, resource_type: ResourceType, resource: StoredResource, members: Sequence[Member]
    ) -> StoredResource:
        work = self._adapter.create_with_members
        return _timed("create_with_members", work, resource_type, resource, members)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        return _timed("replace", self._adapter.replace, resource_type, resource, if_version)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        _timed("delete", self._adapter.delete, resource_type, resource_id, if_version)

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return _read("scan", _timed("scan", self._adapter.scan, resource_type))

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        found = _timed("candidates", self._adapter.candidates, resource_type, selection)
        read, resources = found.read, found.resources
        if read is None and not isinstance(resources, Iterator):
            return found
        if isinstance(resources, Iterator):
            resources = _read("candidates", resources)
        return replace(found, resources=resources, read=None if read is None else _reading(read))

    # -- members

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return _read("members", _timed("members", self._adapter.members, resource_type, stored, limit))

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return _timed("among_members", self._adapter.among_members, resource_type, stored, member_ids)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        work = self._adapter.change_members
        return _timed("change_members", work, resource_type, stored, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return _timed("memberships", self._adapter.memberships, resource_type, stored)

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return _timed("find", self._adapter.find, resource_ids)


def _timed(call: str, work: Callable[..., _Result], *arguments: Any) -> _Result:
    activity = current.get()
    span = None
    if activity is not None and activity.span is not None:
        span = tracing.begun("client", f"storage {call}", activity.span)
    started = _clock()
    try:
        return work(*arguments)
    except StorageError as problem:
        STORE_ERRORS.inc(call, type(problem).__name__)
        if span is not None:
            span.set_attribute("error.type", type(problem).__name__)
        raise
    finally:
        seconds = _clock() - started
        STORE_SECONDS.observe(seconds, call)
        if activity is not None:
            activity.store_calls += 1
            activity.store_s += seconds
        if span is not None:
            span.end()


def _read(call: str, found: Iterator[_Result]) -> Iterator[_Result]:
    """Yield what is found lazily; the seconds until then belong to the activity of the thread."""
    activity = current.get()
    if activity is None:
        yield from found
        return
    started = _clock()
    try:
        for one in found:
            activity.store_s += _clock() - started
            yield one
            started = _clock()
    except StorageError as problem:
        STORE_ERRORS.inc(call, type(problem).__name__)
        raise
    activity.store_s += _clock() - started


def _reading(
    read: Callable[[Sequence[StoredResource]], Sequence[StoredResource]],
) -> Callable[[Sequence[StoredResource]], Sequence[StoredResource]]:
    return lambda stored: _timed("read", read, stored)


class _Transaction:
    """The transaction of an adapter, whose end counts as a call."""

    def __init__(self, adapter: StorageAdapter) -> None:
        self._whole = adapter.transaction()
        # The end of a transaction within another one does nothing.
        self._is_part = not adapter.capabilities.transactions or adapter.in_transaction

    def __enter__(self) -> None:
        self._whole.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._is_part or problem is not None:
            return self._whole.__exit__(kind, problem, trace)
        return _timed("commit", self._whole.__exit__, kind, problem, trace)
