"""The calls of the client as methods of a zone; each returns whether it changed anything."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final

from irods.access import iRODSAccess
from irods.api_number import api_number
from irods.column import Column, Criterion
from irods.exception import (
    CAT_COLLECTION_NOT_EMPTY,
    CAT_INVALID_USER,
    CAT_SUCCESS_BUT_WITH_NO_INFO,
    CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
    GroupDoesNotExist,
    UserDoesNotExist,
)
from irods.message import (
    FileOpenRequest,
    GeneralAdminRequest,
    Message,
    ObjCopyRequest,
    StringStringMap,
    iRODSMessage,
)
from irods.meta import AVUOperation, iRODSMeta
from irods.models import User, UserMeta
from irods.session import iRODSSession

from storage.attempts import repeated
from storage.irods.options import Options
from storage.irods.purge import Purge
from storage.irods.sessions import ConnectionLost, Sessions, Undone

USERS: Final = "rodsuser"
GROUPS: Final = "rodsgroup"
# The kinds of a request to rename.
_RENAME_DATA_OBJECT: Final = 11
_RENAME_COLLECTION: Final = 12

Row = Mapping[Column, Any]


@dataclass(frozen=True)
class Avu:
    """One piece of metadata: attribute, value, unit."""

    attribute: str
    value: str
    unit: str = ""


def avu_of(row: Row) -> Avu:
    """Return the piece of metadata in a row of its three columns."""
    return Avu(row[UserMeta.name] or "", row[UserMeta.value] or "", row[UserMeta.units] or "")


class Zone:
    """The accounts of a zone, their metadata, and the data they own."""

    def __init__(self, options: Options) -> None:
        self._sessions = Sessions(options)
        self._purge = Purge(self._remove_unused)
        self.name = options.irods_zone
        self.username = options.irods_admin_username
        # A write takes at most half of this time; after all of it, other writers repair a lost write.
        self.write_limit_s = 3 * options.remote_timeout + 10.0

    def close(self) -> None:
        self._purge.run()
        self._sessions.close()

    # -- queries

    def rows(
        self,
        columns: Sequence[Column],
        *criteria: Criterion,
        ignore_case: bool = False,
        first: int | None = None,
    ) -> list[Row]:
        """Return the rows that meet all criteria; the `first` ones in the order of the first column.

        The client may change a criterion, so a caller passes new ones. Their values contain no quotes.
        """

        def ask() -> list[Row]:
            with self._sessions.session() as session:
                query = session.query(*columns, case_sensitive=not ignore_case).filter(*criteria)
                if first is None:
                    return list(query)
                return list(query.order_by(columns[0]).limit(first).all())

        try:
            return ask()
        except ConnectionLost:
            # A restart of the iRODS server ends all connections. A second query does no harm.
            return ask()

    # -- changes

    def _change(self, call: Callable[[iRODSSession], object], *unchanged: type[Exception]) -> bool:
        """Make a change and return True; return False if the zone answers with an error in `unchanged`."""
        with self._sessions.session(writes=True) as session:
            try:
                call(session)
            except unchanged:
                return False
        return True

    def add_account(self, name: str, account_type: str) -> int | None:
        """Create a user or a group and return its id, or None when the name is taken."""
        with self._sessions.session(writes=True) as session:
            try:
                if account_type == GROUPS:
                    return int(session.groups.create(name, group_admin=False).id)
                return int(session.users.create(name, account_type).id)
            except (CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, UserDoesNotExist, GroupDoesNotExist):
                return None

    def remove_account(self, name: str) -> bool:
        """Remove a user or a group; return False if it remains because its home holds data."""

        def remove(session: iRODSSession) -> None:
            with suppress(UserDoesNotExist, CAT_INVALID_USER):
                session.users.remove(name, self.name)

        with self._purge.afterwards():
            return self._change(remove, CAT_COLLECTION_NOT_EMPTY)

    def set_password(self, name: str, password: str) -> None:
        self._change(lambda session: session.users.modify(name, "password", password))

    def join(self, group: str, user: str) -> bool:
        """Make a user a member of a group; return False for a member, and for a user that was removed."""
        return self._change(
            lambda session: session.groups.addmember(group, user, group_admin=False),
            CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
            CAT_INVALID_USER,
        )

    def leave(self, group: str, user: str) -> bool:
        """End the membership of a user in a group; return False if there was none."""
        return self._change(
            lambda session: session.groups.removemember(group, user, group_admin=False),
            # The client has no name for the code of this case, and raises a KeyError.
            KeyError,
            CAT_INVALID_USER,
        )

    def add_metadata(self, name: str, avu: Avu) -> bool:
        """Add one piece; return False if it exists. Of several callers one adds it."""
        return self._change(
            lambda session: session.metadata.add(User, name, _meta(avu)),
            CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
            CAT_INVALID_USER,
        )

    def take_metadata(self, name: str, avu: Avu) -> bool:
        """Remove one piece; return False if it does not exist. Of several callers one removes it."""
        with self._purge.afterwards():
            return self._change(
                lambda session: session.metadata.remove(User, name, _meta(avu)),
                CAT_SUCCESS_BUT_WITH_NO_INFO,
                CAT_INVALID_USER,
            )

    def change_metadata(self, name: str, remove: Iterable[Avu] = (), add: Iterable[Avu] = ()) -> bool:
        """Remove and add pieces, all at once or not at all; return False when there is no such account.

        A piece to add may exist. A piece to remove may be missing; of one that another account has, or that
        two writers added at once, a row may stay: `take_metadata` removes all.
        """
        removals = [AVUOperation(operation="remove", avu=_meta(avu)) for avu in remove]
        operations = [*removals, *(AVUOperation(operation="add", avu=_meta(avu)) for avu in add)]
        if not operations:
            return True

        def change() -> bool:
            # An iRODSMetaCollection would read everything before and after.
            return self._change(
                lambda session: session.metadata.apply_atomic_operations(User, name, *operations),
                CAT_INVALID_USER,
            )

        with self._purge.afterwards() if removals else nullcontext():
            return repeated(change, Undone)

    def _remove_unused(self) -> None:
        """Remove the metadata that nothing in the zone has any more."""
        with self._sessions.session() as session:
            _send(session, "GENERAL_ADMIN_AN", GeneralAdminRequest("rm", "unusedAVUs"))

    def own(self, path: str, name: str, recursive: bool = False) -> None:
        """Make an account an owner of a collection or data object; with `recursive` of its content too."""
        access = iRODSAccess("own", path, name, self.name)
        self._change(lambda session: session.acls.set(access, recursive=recursive, admin=True))

    def make_collection(self, path: str) -> None:
        self._change(lambda session: session.collections.create(path))

    def move(self, collections: Collection[str], data_objects: Collection[str], target: str) -> None:
        """Move collections and data objects into the collection `target`."""
        paths = [(path, _RENAME_COLLECTION) for path in collections]
        paths += [(path, _RENAME_DATA_OBJECT) for path in data_objects]
        with self._sessions.session(writes=True) as session:
            for path, operation in paths:
                # The methods of the client would first ask whether the target is a collection.
                name = path.rpartition("/")[2]
                both = [_renamed(one, operation) for one in (path, f"{target}/{name}")]
                request = ObjCopyRequest(srcDataObjInp_PI=both[0], destDataObjInp_PI=both[1])
                _send(session, "DATA_OBJ_RENAME_AN", request)


def _renamed(path: str, operation: int) -> FileOpenRequest:
    unused = dict.fromkeys(("createMode", "openFlags", "offset", "dataSize", "numThreads"), 0)
    return FileOpenRequest(objPath=path, oprType=operation, KeyValPair_PI=StringStringMap(), **unused)


def _send(session: iRODSSession, name: str, request: Message) -> None:
    """Call an API of iRODS for which the client has no method."""
    with session.pool.get_connection() as connection:
        connection.send(iRODSMessage("RODS_API_REQ", msg=request, int_info=api_number[name]))
        connection.recv()


def _meta(avu: Avu) -> iRODSMeta:
    return iRODSMeta(avu.attribute, avu.value, avu.unit or None)
