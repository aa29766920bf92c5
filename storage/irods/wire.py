"""What is asked of a zone: each method is one call of the client, and says what became of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

from storage.irods.sessions import ConnectionLost, Login, Sessions

USERS = "rodsuser"
GROUPS = "rodsgroup"

Row = Mapping[Column, Any]


@dataclass(frozen=True)
class Avu:
    """One piece of metadata: attribute, value, unit."""

    attribute: str
    value: str
    unit: str = ""


class Zone:
    """The accounts of a zone, their metadata, and the data they own."""

    def __init__(self, login: Login, timeout_s: float = 10.0, pool_size: int = 10) -> None:
        self._sessions = Sessions(login, timeout_s, pool_size)
        self.name = login.zone
        self.username = login.username
        self.timeout_s = timeout_s

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

        A criterion is used once: the client may change it. Values in criteria must not contain quotes.
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
            # A server that was restarted is there again; asking twice does no harm.
            return ask()

    # -- accounts

    def add_account(self, name: str, account_type: str) -> int | None:
        """Make a user or a group and return its id, or None when the name is taken."""
        with self._sessions.session(writes=True) as session:
            try:
                if account_type == GROUPS:
                    return int(session.groups.create(name, group_admin=False).id)
                return int(session.users.create(name, account_type).id)
            except (CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, UserDoesNotExist, GroupDoesNotExist):
                return None

    def remove_account(self, name: str) -> bool:
        """Remove a user or a group and return whether it is gone; it is not while its home holds data."""
        with self._sessions.session(writes=True) as session:
            try:
                session.users.remove(name, self.name)
            except CAT_COLLECTION_NOT_EMPTY:
                return False
            except (UserDoesNotExist, CAT_INVALID_USER):
                pass
        return True

    def set_password(self, name: str, password: str) -> None:
        with self._sessions.session(writes=True) as session:
            session.users.modify(name, "password", password)

    # -- groups

    def join(self, group: str, user: str) -> bool:
        """Make a user a member of a group and return whether that changed anything."""
        with self._sessions.session(writes=True) as session:
            try:
                session.groups.addmember(group, user, group_admin=False)
            except CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME:
                return False
            except CAT_INVALID_USER:
                # Removed a moment ago.
                return False
        return True

    def leave(self, group: str, user: str) -> bool:
        """End the membership of a user in a group and return whether that changed anything."""
        with self._sessions.session(writes=True) as session:
            try:
                session.groups.removemember(group, user, group_admin=False)
            except (KeyError, CAT_INVALID_USER):
                # The client does not know the code for "is no member", and calls it a KeyError.
                return False
        return True

    # -- metadata of accounts

    def add_metadata(self, name: str, avu: Avu) -> bool:
        """Add one piece and return True; return False when it is there. Of several callers one adds it."""
        with self._sessions.session(writes=True) as session:
            try:
                session.metadata.add(User, name, _meta(avu))
            except (CATALOG_ALREADY_HAS_ITEM_BY_THAT_NAME, CAT_INVALID_USER):
                return False
        return True

    def take_metadata(self, name: str, avu: Avu) -> bool:
        """Remove one piece and return whether it was there. Of several callers one takes it."""
        with self._sessions.session(writes=True) as session:
            try:
                session.metadata.remove(User, name, _meta(avu))
            except (CAT_SUCCESS_BUT_WITH_NO_INFO, CAT_INVALID_USER):
                return False
        return True

    def change_metadata(self, name: str, remove: Iterable[Avu] = (), add: Iterable[Avu] = ()) -> bool:
        """Remove and add pieces, all at once or not at all; return False when there is no such account.

        What is gone or there already is no matter.
        """
        operations = [AVUOperation(operation="remove", avu=_meta(avu)) for avu in remove]
        operations += [AVUOperation(operation="add", avu=_meta(avu)) for avu in add]
        if not operations:
            return True
        with self._sessions.session(writes=True) as session:
            try:
                # Not by way of an iRODSMetaCollection: that reads everything before and after.
                session.metadata.apply_atomic_operations(User, name, *operations)
            except CAT_INVALID_USER:
                return False
        return True

    # -- data

    def own(self, path: str, name: str, recursive: bool = False) -> None:
        """Make an account an owner of a collection or data object, or of all that is in it."""
        with self._sessions.session(writes=True) as session:
            access = iRODSAccess("own", path, name, self.name)
            session.acls.set(access, recursive=recursive, admin=True)

    def make_collection(self, path: str) -> None:
        with self._sessions.session(writes=True) as session:
            session.collections.create(path)

    def move(self, collections: Collection[str], data_objects: Collection[str], target: str) -> None:
        """Move collections and data objects into the collection `target`."""
        with self._sessions.session(writes=True) as session:
            for path in collections:
                session.collections.move(path, target)
            for path in data_objects:
                session.data_objects.move(path, target)


def _meta(avu: Avu) -> iRODSMeta:
    return iRODSMeta(avu.attribute, avu.value, avu.unit or None)
