"""The LDAP server: connections to it, their errors, and its capabilities (RFC 4512 section 5)."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import ldap
from ldap.schema import AttributeType, ObjectClass, SubSchema

from storage.errors import (
    BackendTimeout,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
    ValueRefused,
    after_write,
)
from storage.forks import in_child
from storage.ldap.wire import Session

_CONNECT_S = 5
_ANSWER_S = 30
_KEEPALIVE_S = 60

# After these errors, the connection is closed.
LOST = (
    ldap.SERVER_DOWN,
    ldap.CONNECT_ERROR,
    ldap.TIMEOUT,
    ldap.UNAVAILABLE,
    ldap.LOCAL_ERROR,
    ldap.DECODING_ERROR,
    ldap.ENCODING_ERROR,
    ldap.PROTOCOL_ERROR,
)
_REFUSED = (
    ldap.CONSTRAINT_VIOLATION,
    ldap.INVALID_SYNTAX,
    ldap.OBJECT_CLASS_VIOLATION,
    ldap.NAMING_VIOLATION,
    ldap.INVALID_DN_SYNTAX,
    ldap.UNDEFINED_TYPE,
    ldap.TYPE_OR_VALUE_EXISTS,
)
_READ_ONLY = (
    ldap.INSUFFICIENT_ACCESS,
    ldap.STRONG_AUTH_REQUIRED,
    ldap.CONFIDENTIALITY_REQUIRED,
    ldap.UNWILLING_TO_PERFORM,
    ldap.REFERRAL,
)
# Results of a bind with the wrong name or password.
_NOT_BOUND = (
    ldap.INVALID_CREDENTIALS,
    ldap.INAPPROPRIATE_AUTH,
    ldap.INVALID_DN_SYNTAX,
    ldap.NO_SUCH_OBJECT,
    ldap.UNWILLING_TO_PERFORM,
    ldap.INSUFFICIENT_ACCESS,
    ldap.STRONG_AUTH_REQUIRED,
    ldap.CONFIDENTIALITY_REQUIRED,
)
_LIMITS = (ldap.SIZELIMIT_EXCEEDED, ldap.ADMINLIMIT_EXCEEDED)
_SORT: Final = "1.2.840.113556.1.4.473"
_VIEW: Final = "2.16.840.1.113730.3.4.9"
_PASSWORD_MODIFY: Final = "1.3.6.1.4.1.4203.1.11.1"


@dataclass(frozen=True)
class Target:
    """The URL of the server, and the name and password to bind with."""

    url: str
    username: str
    password: str = field(repr=False)
    start_tls: bool = False
    ca_file: str | None = None


class Directory:
    """A pool of connections to one server; one thread uses a connection at a time.

    A child of a fork opens its own connections and does not touch those of its parent. With `pool_size`
    connections in use, the next caller waits up to `timeout_s` seconds. Errors of LDAP within a lease
    leave it as a StorageError.
    """

    def __init__(self, target: Target, pool_size: int, timeout_s: float = 30.0) -> None:
        self._target = target
        self._pool_size = pool_size
        self._timeout_s = timeout_s
        self._start()
        in_child(self._start)

    def _start(self) -> None:
        self._idle: list[Session] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._pool_size)
        self._local = threading.local()

    @contextmanager
    def lease(self) -> Iterator[Session]:
        """Lend a connection to this thread; a lease within a lease has the same connection."""
        held: Session | None = getattr(self._local, "session", None)
        if held is not None:
            yield held
            return
        if not self._places.acquire(timeout=self._timeout_s):
            raise StorageUnavailable(f"all connections to {self._target.url} are in use")
        written: list[str] = []
        try:
            with after_write(written), self._translated():
                session = self._taken()
                self._local.session, session.written = session, written
                try:
                    yield session
                except LOST:
                    session.close()
                    raise
                except BaseException:
                    self._give_back(session)
                    raise
                self._give_back(session)
        finally:
            self._local.session = None
            self._places.release()

    def close(self) -> None:
        """Close the idle connections; the next lease opens a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _taken(self) -> Session:
        while True:
            with self._lock:
                session = self._idle.pop() if self._idle else None
            if session is None:
                return self._opened()
            if not session.is_lost:
                return session
            session.close()

    def _give_back(self, session: Session) -> None:
        if session.is_spent:
            session.close()
            return
        with self._lock:
            self._idle.append(session)

    def _opened(self) -> Session:
        connection = self._connected()
        try:
            connection.simple_bind_s(self._target.username, self._target.password)
        except _NOT_BOUND as exc:
            target = self._target
            problem = f"{target.url} refuses the credentials of {target.username}: {sentence(exc)}"
            raise StorageUnavailable(problem) from exc
        return Session(connection, select.poll())

    def fits(self, dn: str, password: str) -> bool:
        """Return whether a client can bind as an entry with a password."""
        if not password:
            # A bind without a password is anonymous and succeeds (RFC 4513 section 5.1.2).
            return False
        with self._translated():
            connection = self._connected()
            try:
                connection.simple_bind_s(dn, password)
                return True
            except (ldap.INVALID_CREDENTIALS, ldap.INAPPROPRIATE_AUTH, ldap.UNWILLING_TO_PERFORM):
                return False
            finally:
                connection.unbind_ext_s()

    def _connected(self) -> Any:
        target = self._target
        connection: Any = ldap.initialize(target.url)
        connection.set_option(ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3)
        connection.set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, _CONNECT_S)
        # The limit of StartTLS; `timeout` is the limit of other operations.
        connection.set_option(ldap.OPT_TIMEOUT, _ANSWER_S)
        # A signal to this process does not interrupt an operation.
        connection.set_option(ldap.OPT_RESTART, ldap.OPT_ON)
        connection.set_option(ldap.OPT_X_KEEPALIVE_IDLE, _KEEPALIVE_S)
        connection.timeout = _ANSWER_S
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        try:
            if target.ca_file:
                connection.set_option(ldap.OPT_X_TLS_CACERTFILE, target.ca_file)
            connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        except ValueError as exc:
            trusted = target.ca_file or "the system"
            raise StorageUnavailable(f"{target.url}: no certificates can be read from {trusted}") from exc
        if target.start_tls:
            connection.start_tls_s()
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the errors of the driver in this context as StorageErrors."""
        try:
            yield
        except ldap.LDAPError as exc:
            raise self._failure(exc) from exc
        except UnicodeEncodeError as exc:
            raise ValueRefused("a text has a lone surrogate, which cannot be stored") from exc
        except OSError as exc:
            raise StorageUnavailable(f"{self._target.url}: {exc.strerror}") from exc

    def _failure(self, exc: ldap.LDAPError) -> StorageError:
        url, said = self._target.url, sentence(exc)
        if isinstance(exc, (ldap.TIMEOUT, ldap.TIMELIMIT_EXCEEDED)):
            return BackendTimeout(f"{url} did not answer in time")
        if isinstance(exc, _READ_ONLY):
            return StorageReadOnly(f"the directory does not accept the change: {said}")
        if isinstance(exc, _REFUSED):
            return ValueRefused(f"the directory refuses a value: {said}")
        if isinstance(exc, _LIMITS):
            return StorageUnavailable(
                f"{url} does not let {self._target.username} read whole lists: raise its limits "
                f"(size.prtotal=unlimited in OpenLDAP): {said}"
            )
        return StorageUnavailable(f"{url} cannot be used: {said}")


def sentence(exc: ldap.LDAPError) -> str:
    """Return the description of an error by the library and the server."""
    said = exc.args[0] if exc.args and isinstance(exc.args[0], dict) else {}
    parts = [str(said.get("desc", "")), str(said.get("info", ""))]
    return " ".join(": ".join(part for part in parts if part).split()) or type(exc).__name__


@dataclass(frozen=True)
class ServerCapabilities:
    """Names of classes and attributes in lower case, OIDs of controls and of extended operations."""

    classes: frozenset[str]
    attributes: frozenset[str]
    controls: frozenset[str]
    extensions: frozenset[str]

    def knows(self, attribute: str) -> bool:
        """Return whether the schema of the server has an attribute type."""
        return attribute.lower() in self.attributes

    @property
    def has_schema(self) -> bool:
        """Whether the server has the schema of this package, `scim.schema`."""
        return "scimresource" in self.classes

    @property
    def names_changes(self) -> bool:
        """Whether a change can return the entryCSN of an entry, and be conditional on it."""
        needed = {ldap.CONTROL_ASSERT, ldap.CONTROL_POST_READ}
        return needed <= self.controls and self.knows("entryCSN")

    @property
    def sorts(self) -> bool:
        """Whether the server sorts (RFC 2891), and returns windows of the sorted list."""
        return {_SORT, _VIEW} <= self.controls

    @property
    def sets_passwords(self) -> bool:
        """Whether the server has the Password Modify operation (RFC 3062), and hashes passwords itself."""
        return _PASSWORD_MODIFY in self.extensions


def read_capabilities(session: Session) -> ServerCapabilities:
    """Read the capabilities from the root DSE and the subschema. Raises StorageUnavailable."""
    root = session.read("", ["subschemaSubentry", "supportedControl", "supportedExtension"])
    name = root.value("subschemaSubentry") if root else None
    schema = session.read(name, ["objectClasses", "attributeTypes"]) if name else None
    if root is None or schema is None:
        raise StorageUnavailable("the directory does not let the server read its schema")
    parsed = SubSchema(
        {
            "objectClasses": list(schema.attributes.get("objectclasses", ())),
            "attributeTypes": list(schema.attributes.get("attributetypes", ())),
        }
    )
    return ServerCapabilities(
        _names(parsed, ObjectClass),
        _names(parsed, AttributeType),
        frozenset(root.values("supportedControl")),
        frozenset(root.values("supportedExtension")),
    )


def _names(schema: SubSchema, what: type) -> frozenset[str]:
    found = (schema.get_obj(what, oid) for oid in schema.listall(what))
    return frozenset(name.lower() for one in found if one is not None for name in one.names)
