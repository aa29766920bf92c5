"""The calls of the client as methods of a zone; each returns whether it changed anything."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from irods.access import iRODSAccess
from irods.column import Column, Criterion
from irods.exception import (
    CAT_COLLECTION_NOT_EMPTY,
    CAT_INVALID_USER,
    CAT_SUCCESS_BUT_WITH_NO_INFO,
    CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME,
    GroupDoesNotExist,
    UserDoesNotExist,
)
from irods.meta import AVUOperation, iRODSMeta
from irods.models import User
from irods.session import iRODSSession

from storage.irods.options import Options
from storage.irods.sessions import ConnectionLost, Sessions

USERS: Final = "rodsuser"
GROUPS: Final = "rodsgroup"

Row = Mapping[Column, Any]


@dataclass(frozen=True)
class Avu:
    """One piece of metadata: attribute, value, unit."""

    attribute: str
    value: str
    unit: str = ""


class Zone:
    """The accounts of a zone, their metadata, and the data they own."""

    def __init__(self, options: Options) -> None:
        self._sessions = Sessions(options)
        self.name = options.irods_zone
        self.username = options.irods_admin_username
        # A write takes at most half of this time; after all of it, other writers repair a lost write.
        self.write_limit_s = 3 * options.remote_timeout + 10.0

    def close(self) -> None:
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
        return self._change(
            lambda session: session.metadata.remove(User, name, _meta(avu)),
            CAT_SUCCESS_BUT_WITH_NO_INFO,
            CAT_INVALID_USER,
        )

    def change_metadata(self, name: str, remove: Iterable[Avu] = (), add: Iterable[Avu] = ()) -> bool:
        """Remove and add pieces, all at once or not at all; return False when there is no such account.

        A piece to remove may be missing, and a piece to add may exist.
        """
        operations = [AVUOperation(operation="remove", avu=_meta(avu)) for avu in remove]
        operations += [AVUOperation(operation="add", avu=_meta(avu)) for avu in add]
        # An iRODSMetaCollection would read everything before and after.
        return not operations or self._change(
            lambda session: session.metadata.apply_atomic_operations(User, name, *operations),
            CAT_INVALID_USER,
        )

    def own(self, path: str, name: str, recursive: bool = False) -> None:
        """Make an account an owner of a collection or data object; with `recursive` of its content too."""
        access = iRODSAccess("own", path, name, self.name)
        self._change(lambda session: session.acls.set(access, recursive=recursive, admin=True))

    def make_collection(self, path: str) -> None:
        self._change(lambda session: session.collections.create(path))

    def move(self, collections: Collection[str], data_objects: Collection[str], target: str) -> None:
        """Move collections and data objects into the collection `target`."""
        with self._sessions.session(writes=True) as session:
            for path in collections:
                session.collections.move(path, target)
            for path in data_objects:
                session.data_objects.move(path, target)


def _meta(avu: Avu) -> iRODSMeta:
    return iRODSMeta(avu.attribute, avu.value, avu.unit or None)
