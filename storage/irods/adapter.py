"""The iRODS adapter: users and groups as accounts of a zone, everything else as their metadata.

`form` has the metadata of an account, `write` the steps of a change.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final

from irods.models import User

from schema.resource_type import ResourceType
from scim_filter.nodes import Node
from scim_filter.plan import Plan, parts_of
from storage.adapter import (
    Capabilities,
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import StorageReadOnly, StorageUnavailable, ValueRefused
from storage.foreign_entries import ForeignEntries
from storage.index_keys import place_of
from storage.irods.creation import Creation
from storage.irods.filter import LookupCompiler
from storage.irods.find import Accounts
from storage.irods.form import ACCOUNTS, Kind
from storage.irods.links import Links
from storage.irods.options import Options
from storage.irods.seal import Seal
from storage.irods.sealing import Sealing
from storage.irods.wire import Zone
from storage.irods.write import Changes

_LOG = logging.getLogger(__name__)
# iRODS stores passwords in 50 bytes, and needs 8 of them itself.
_LONGEST_PASSWORD: Final = 42


class IrodsAdapter(StorageAdapter):
    """Stores users and groups in an iRODS zone."""

    capabilities = Capabilities(
        native_uniqueness=True,
        members=True,
        assigns_ids=True,
        takes_secrets=True,
    )

    def __init__(self, options: Options) -> None:
        self._takes_passwords = options.irods_authentication == "native"
        self._zone = Zone(options)
        # By the type of account.
        self._kinds: dict[str, Kind] = {}
        self._seal = Seal(options.sealing_keys)
        foreign_entries = ForeignEntries(options.foreign_entries)
        self._accounts = Accounts(self._zone, self._kinds, foreign_entries, self._seal)
        self._creation = Creation(self._zone, self._accounts)
        self._changes = Changes(self._zone, self._accounts)
        self._sealing = Sealing(self._zone, self._accounts, self._changes, self._seal)
        self._links = Links(self._zone, self._accounts, self._kinds)

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        for resource_type in resource_types:
            kind = Kind(resource_type, self._seal)
            self._kinds[kind.account_type] = kind
        try:
            if self._own_type() == "rodsadmin":
                self._changes.keep_token()
                self._creation.repair()
                self._sealing.seal(self._kinds.values())
            else:
                account = self._zone.username
                _LOG.warning("iRODS is read-only: the account %s is not of type rodsadmin", account)
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()

    def check(self) -> None:
        self._own_type()

    def check_writable(self) -> None:
        if self._own_type() != "rodsadmin":
            raise StorageReadOnly(f"iRODS: the account {self._zone.username} is not of type rodsadmin")

    def _own_type(self) -> str:
        own = (User.name == self._zone.username, User.zone == self._zone.name)
        for row in self._zone.rows([User.type], *own):
            return str(row[User.type])
        raise StorageUnavailable(f"iRODS has no account {self._zone.username} in zone {self._zone.name}")

    def count_hidden(self, resource_type: ResourceType) -> int | None:
        return self._accounts.count_hidden(self._kind(resource_type))

    def close(self) -> None:
        self._zone.close()

    def _kind(self, resource_type: ResourceType) -> Kind:
        account_type, _ = ACCOUNTS[resource_type.name]
        return self._kinds[account_type]

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._accounts.get(self._kind(resource_type), resource_id)

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return self._creation.create(self._kind(resource_type), resource, self._password(resource))

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        kind = self._kind(resource_type)
        return self._changes.replace(kind, resource, self._password(resource), if_version)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._changes.delete(self._kind(resource_type), resource_id, if_version)

    def _password(self, resource: StoredResource) -> str | None:
        """Return the new password of an account, or None for none. Raises ValueRefused."""
        for path in resource.secrets:
            if path != "password":
                raise ValueRefused(f"{path}: iRODS can store no secret except the password")
        if "password" in resource.removed_secrets:
            raise ValueRefused("password: iRODS can replace a password, but cannot remove it")
        password = resource.secrets.get("password")
        if password is None:
            return None
        if not self._takes_passwords:
            raise ValueRefused("password: the server cannot set passwords, because iRODS uses PAM")
        if not password.isascii() or not password.isprintable() or password != password.strip():
            raise ValueRefused("password: must be printable ASCII without spaces at its ends")
        if not 0 < len(password) <= _LONGEST_PASSWORD:
            raise ValueRefused(f"password: must have 1 to {_LONGEST_PASSWORD} characters")
        return password

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        kind = self._kind(resource_type)
        return self._accounts.read(kind, self._accounts.listed(kind))

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        kind = self._kind(resource_type)
        if selection.filter is None and selection.sort is None:
            return self._listed(kind)
        if selection.filter is not None:
            compiler = LookupCompiler(kind, self._accounts)
            lookup, explain = compiler.lookup(selection.filter), partial(_plan, compiler, selection.filter)
            if lookup is not None:
                found = self._accounts.with_ids(kind, lookup.ids())
                return Found(found, selection.filter, is_narrowed=True, explain=explain)
            return Found(self.scan(resource_type), selection.filter, explain=explain)
        return Found(self.scan(resource_type))

    def _listed(self, kind: Kind) -> Found:
        """Return all accounts; `storage.search` reads the resources of the page alone."""
        accounts = {str(account.number): account for account in self._accounts.listed(kind)}
        unread = [StoredResource(i, "{}", place=place_of(a.number)) for i, a in accounts.items()]

        def read(page: Sequence[StoredResource]) -> Sequence[StoredResource]:
            return list(self._accounts.read(kind, [accounts[one.id] for one in page]))

        return Found(unread, read=read)

    # -- members

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return islice(self._links.members(stored.id, limit), limit)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return self._links.among(stored.id, member_ids)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        return self._links.change(self._kind(resource_type), stored.id, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return self._links.memberships(self._kind(resource_type), [one.id for one in stored])

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return [member for _, member in self._accounts.find(resource_ids).values()]


def _plan(compiler: LookupCompiler, node: Node) -> Plan:
    return Plan(parts_of(compiler, node))
