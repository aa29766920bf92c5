"""The connection of one process to its MongoDB, and the errors that its failures become."""

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl

import bson.errors
import mongoengine
import mongoengine.connection
import pymongo.database
import pymongo.errors
from pymongo import ReadPreference, uri_parser

from storage.errors import (
    OutcomeUnknown,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
    ValueRefused,
)
from storage.forks import in_child

# The database of HarryKodden/scim, for a URL without a name.
DEFAULT_DATABASE: Final = "scim"

# Our own collections, beside those of resources: memberships, the unique values that earlier releases
# reserved, the resources with links that are being deleted, and the rules of index entries by type.
MEMBERS: Final = "scim_members"
CLAIMS: Final = "scim_unique"
DELETED: Final = "scim_deleted"
GENERATION: Final = "scim_generation"

# Other writers leave an unfinished write alone for this time; then its process counts as dead.
LEASE_S: Final = 10.0

# Codes of the server: it does not know the user, the user may not do this, the document is too large.
_REFUSED: Final = (11, 18, 8000)
_FORBIDDEN: Final = 13
# The server has not begun with the change, because it is not the primary.
_NOT_BEGUN: Final = (10058, 10107, 13435)
_DUPLICATE_KEY: Final = 11000
_TOO_LARGE: Final = (10334, 17280, 17419, 17420)

Documents = pymongo.database.Database[dict[str, Any]]
Collection = pymongo.collection.Collection[dict[str, Any]]
Query = dict[str, Any]


@dataclass
class _Connection:
    """A client with its pool and the number of its calls. If `closing`, the last call disconnects it."""

    alias: str
    documents: Documents
    hosts: str
    users: int = 0
    closing: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether the URL asks for one member alone, and not for the primary (directConnection)."""
        return self.documents.client.topology_description.topology_type_name == "Single"


class Database:
    """Gives out the database that a URL names. An error of the driver leaves as a StorageError.

    All threads share one pool. A child of a fork leaves the connections of its parent alone and opens its
    own. mongoengine keeps the connections, each under a name of its own.
    """

    def __init__(self, url: str, pool_size: int) -> None:
        self._url = url
        self._options = _options(url, pool_size)
        self._start()
        in_child(self._start)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[Documents]:
        """Give the database to a call that changes nothing."""
        with self._used() as connection:
            try:
                yield connection.documents
            except _DRIVER_ERRORS as exc:
                raise _failure(exc, connection.hosts) from exc

    @contextmanager
    def writing(self) -> Iterator[Documents]:
        """Give the database to a call that changes it.

        Raises StorageReadOnly if the user may not write, or if the URL asks for a secondary alone. Raises
        OutcomeUnknown if MongoDB did not answer, or did not confirm that most members have the change.
        """
        with self._used() as connection:
            try:
                yield connection.documents
            except _DRIVER_ERRORS as exc:
                if getattr(exc, "code", None) == _FORBIDDEN:
                    raise StorageReadOnly("the user of MONGO_DB may not write") from exc
                if isinstance(exc, pymongo.errors.NotPrimaryError) and connection.is_alone:
                    raise StorageReadOnly(f"MongoDB at {connection.hosts} is a secondary") from exc
                if _may_be_done(exc):
                    raise OutcomeUnknown(str(_failure(exc, connection.hosts))) from exc
                raise _failure(exc, connection.hosts) from exc

    def close(self) -> None:
        """Close the connections as soon as the calls that use them have ended."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            connection.closing = True
            idle = connection.users == 0
        if idle:
            mongoengine.disconnect(connection.alias)

    @contextmanager
    def _used(self) -> Iterator[_Connection]:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            connection = self._connection
            connection.users += 1
        try:
            yield connection
        finally:
            with self._lock:
                connection.users -= 1
                over = connection.closing and connection.users == 0
            if over:
                mongoengine.disconnect(connection.alias)

    def _connect(self) -> _Connection:
        # mongoengine would share a client with equal settings, even with the parent of a fork.
        alias = f"scim-{uuid.uuid4().hex[:12]}"
        try:
            client = mongoengine.connect(
                DEFAULT_DATABASE, alias=alias, host=self._url, appname=alias, **self._options
            )
        except (mongoengine.ConnectionFailure, pymongo.errors.PyMongoError, OSError):
            # These errors may quote the URL, and so the password.
            raise StorageUnavailable("no server name in MONGO_DB can be resolved") from None
        name = mongoengine.connection.get_db(alias).name
        documents = client.get_database(name, read_preference=ReadPreference.PRIMARY)
        hosts = self._url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
        return _Connection(alias, documents, hosts)


def insert_new(collection: Collection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert the documents whose keys are free and return the positions of the others."""
    if not rows:
        return []
    try:
        collection.insert_many(rows, ordered=False)
    except pymongo.errors.BulkWriteError as exc:
        details: Any = exc.details
        refused = details["writeErrors"]
        if details["writeConcernErrors"] or any(one["code"] != _DUPLICATE_KEY for one in refused):
            raise
        return [one["index"] for one in refused]
    return []


def joined(
    collection: str, query: Query, name: str, *stages: Query, let: Mapping[str, str] = MappingProxyType({})
) -> Query:
    """Return the stage of a pipeline that adds the documents of a collection that match a query.

    `let` names the fields of the document that is added to, for `$expr` in the query.
    """
    pipeline = [{"$match": query}, *stages]
    return {"$lookup": {"from": collection, "let": {**let}, "pipeline": pipeline, "as": name}}


def check_url(url: str) -> None:
    """Raise ValueError, without the password in its text, unless `url` can be used."""
    if url.startswith("mongodb://"):
        try:
            uri_parser.parse_uri(url, validate=True, warn=False)
        except (pymongo.errors.PyMongoError, ValueError):
            # The driver quotes the part that it cannot read, perhaps a part of the password.
            raise ValueError(
                "MONGO_DB cannot be read: characters such as / ? # @ : in user or password must be written "
                "as %XX, and options must be those of MongoDB"
            ) from None
        except OSError as exc:
            raise ValueError(f"MONGO_DB: {exc.strerror}") from None
    if dict(_url_options(url)).get("w") == "0":
        raise ValueError("MONGO_DB must not have w=0: the server could not confirm any write")


def _url_options(url: str) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in parse_qsl(url.partition("?")[2])]


def _options(url: str, pool_size: int) -> dict[str, Any]:
    """Return the options of the client that the URL does not set."""
    options: dict[str, Any] = {
        "maxPoolSize": pool_size,
        "waitQueueTimeoutMS": 10_000,
        "serverSelectionTimeoutMS": 3_000,
        "connectTimeoutMS": 3_000,
        "socketTimeoutMS": 30_000,
        # An acknowledged write is in the journal of the server, or of most of a replica set.
        "w": "majority",
        "journal": True,
        "wTimeoutMS": 20_000,
        # Any value that other programs wrote can be read.
        "datetime_conversion": "DATETIME_AUTO",
        "unicode_decode_error_handler": "replace",
        "uuidRepresentation": "standard",
    }
    given = {name for name, _ in _url_options(url)}
    return {name: value for name, value in options.items() if name.lower() not in given}


_DRIVER_ERRORS: Final = (
    pymongo.errors.PyMongoError,
    bson.errors.BSONError,
    mongoengine.ConnectionFailure,
    OverflowError,
    UnicodeEncodeError,
)


def _may_be_done(exc: Exception) -> bool:
    """Return whether a change that failed like this may have been made, or may still be."""
    if isinstance(exc, (pymongo.errors.ServerSelectionTimeoutError, pymongo.errors.WaitQueueTimeoutError)):
        # No server was asked: if a second attempt finds none, the driver raises the error of the first.
        return False
    details: Any = getattr(exc, "details", None)
    if isinstance(exc, pymongo.errors.NotPrimaryError):
        return not isinstance(details, Mapping) or details.get("code") not in _NOT_BEGUN
    if isinstance(exc, pymongo.errors.BulkWriteError):
        return bool(details["writeConcernErrors"])
    return isinstance(exc, (pymongo.errors.ConnectionFailure, pymongo.errors.WriteConcernError))


def _failure(exc: Exception, hosts: str) -> StorageError:
    code = getattr(exc, "code", None)
    if code in _REFUSED:
        return StorageUnavailable(f"MongoDB at {hosts} refuses the user or the password of MONGO_DB")
    if code == _FORBIDDEN:
        return StorageUnavailable(f"MongoDB at {hosts} does not let the user of MONGO_DB read")
    if code in _TOO_LARGE or isinstance(exc, pymongo.errors.DocumentTooLarge):
        return ValueRefused("the resource is larger than a document of MongoDB may be (16 MB)")
    if isinstance(exc, (bson.errors.BSONError, OverflowError, UnicodeEncodeError)):
        return ValueRefused("the resource has a value that MongoDB cannot hold")
    if isinstance(exc, pymongo.errors.ServerSelectionTimeoutError):
        # The reason comes first; the state of every server follows.
        reason = str(exc).partition(" (configured timeouts")[0].partition(", Timeout:")[0]
        return StorageUnavailable(f"MongoDB at {hosts} cannot be used now: {reason}")
    # The message of the driver may quote a document.
    details = getattr(exc, "details", None)
    name = details.get("codeName") if isinstance(details, Mapping) else None
    kind = name or type(exc).__name__
    return StorageUnavailable(f"MongoDB at {hosts} cannot be used now: {kind}")
