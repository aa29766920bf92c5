"""What an adapter may raise: nothing else leaves it."""

from collections.abc import Iterator, Sized
from contextlib import contextmanager


class StorageError(Exception):
    """Any failure of a backend."""


class ResourceNotFound(StorageError):
    """There is no resource of this type with this id."""

    def __init__(self, resource_type: str, resource_id: str) -> None:
        super().__init__(f"{resource_type} {resource_id} not found")
        self.resource_type = resource_type
        self.resource_id = resource_id


class UniquenessConflict(StorageError):
    """Another resource of the type, or with `id` of any, has the same value in `attribute` (a path)."""

    def __init__(self, attribute: str) -> None:
        super().__init__(f"{attribute} is in use")
        self.attribute = attribute


class VersionMismatch(StorageError):
    """The resource is no longer at the version the caller read."""


class UnsupportedByBackend(StorageError):
    """The backend cannot hold or do what was asked."""


class StorageReadOnly(StorageError):
    """The backend is meant to be read only: a replica, or a mount that was asked for.

    The text is for the log, as it may name files, hosts and accounts; `detail` is for the client.
    """

    def __init__(self, reason: str, detail: str = "the storage accepts no changes") -> None:
        super().__init__(reason)
        self.detail = detail


class ForeignEntry(StorageError):
    """The resource is an entry of another program, which the settings let clients read only."""

    def __init__(self, resource_type: str, resource_id: str) -> None:
        super().__init__(
            f"{resource_type} {resource_id} was made by another program: this server reads it, and changes it"
            " only after an operator has adopted it"
        )


class StorageUnavailable(StorageError):
    """The backend cannot be reached now; the same call may succeed later.

    Of a write it says that the write did not take effect, and will not. `database` is the name of the
    database that failed, empty where none did.
    """

    def __init__(self, reason: str = "", database: str = "") -> None:
        super().__init__(reason)
        self.database = database


class SettingsSuperseded(StorageUnavailable):
    """Another process indexes by other settings: this one must not write, others may."""

    @classmethod
    def of(cls, types: str) -> "SettingsSuperseded":
        """Return the error with a text for the log, about the resources of these types."""
        return cls(
            f"another process has begun to index {types} resources by other definitions or "
            "INDEXED_ATTRIBUTES; this process changes none: restart it with the same settings"
        )


class BackendTimeout(StorageUnavailable):
    """The backend did not answer in time; nothing was changed."""


class BadBackendAnswer(StorageUnavailable):
    """The backend answered what its protocol does not allow, or that it failed."""


class OutcomeUnknown(StorageError):
    """A write was sent to the backend, and whether it has taken effect, or will, is not known.

    The backend did not answer, or answered that it failed. A call that changes nothing never raises it.
    """


class Contention(StorageError):
    """The whole transaction was undone; the same may succeed when repeated.

    The reason is another transaction, or a connection that leads to a server where nothing can be written.
    """


class ValueRefused(StorageError):
    """The backend cannot hold a value that the resource has; `scim_type` is the word for the reason."""

    def __init__(self, detail: str, scim_type: str = "invalidValue") -> None:
        super().__init__(detail)
        self.scim_type = scim_type


@contextmanager
def after_write(steps: Sized = (True,)) -> Iterator[None]:
    """Raise OutcomeUnknown for a failure that comes when a part of a write has taken effect.

    `steps` has what was done, and is empty as long as that is nothing.
    """
    try:
        yield
    except StorageUnavailable as exc:
        if not steps:
            raise
        raise OutcomeUnknown(str(exc)) from exc


@contextmanager
def without_effect() -> Iterator[None]:
    """Raise StorageUnavailable for an outcome that is not known: of a call that changes nothing anyhow."""
    try:
        yield
    except OutcomeUnknown as exc:
        raise StorageUnavailable(str(exc)) from exc
