"""Sealing what a zone has, at the start of a server."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from irods.column import Like
from irods.models import User, UserMeta

from storage.errors import ResourceNotFound, StorageUnavailable, VersionMismatch
from storage.irods.find import Accounts
from storage.irods.form import (
    CHUNK,
    DOCUMENT,
    FOREIGN,
    HOLDER,
    MEMBER_DISPLAY,
    SEALED,
    Kind,
    is_sealed,
)
from storage.irods.seal import KeyMissing, Seal
from storage.irods.wire import GROUPS, Avu, Zone, avu_of
from storage.irods.write import Changes, Interrupted
from storage.progress import Progress

_LOG = logging.getLogger(__name__)


class Sealing:
    """Seals the resources of a zone by the first key, those under other keys and under none alike."""

    def __init__(self, zone: Zone, accounts: Accounts, changes: Changes, seal: Seal) -> None:
        self._zone = zone
        self._accounts = accounts
        self._changes = changes
        self._seal = seal

    def seal(self, kinds: Iterable[Kind]) -> None:
        """Seal what is not sealed yet. Raises StorageUnavailable where a key is missing."""
        rows = self._zone.rows([UserMeta.value], User.name == HOLDER, UserMeta.name == SEALED)
        known = {row[UserMeta.value] for row in rows}
        if known - {*self._seal.names}:
            raise StorageUnavailable("iRODS: resources are sealed, and SECRET_KEYS lacks a secret for them")
        if not self._seal.is_on:
            _LOG.warning("SECRET_KEYS is unset: every user of the iRODS zone can read users and groups")
            return
        own = self._seal.names[0]
        self._zone.change_metadata(HOLDER, add=[Avu(SEALED, own)] if own not in known else [])
        for kind in kinds:
            self._seal_all(kind)
        self._seal_displays()
        for name in known - {own}:
            self._zone.take_metadata(HOLDER, Avu(SEALED, name))

    def _seal_all(self, kind: Kind) -> None:
        has_other_keys = len(self._seal.names) > 1
        resource_ids = self._accounts_of(kind) if has_other_keys else self._unsealed(kind)
        progress = Progress(f"sealing {kind.resource_type.endpoint.strip('/')}", len(resource_ids))
        for resource_id in resource_ids:
            if not has_other_keys or not self._is_sealed(resource_id):
                self._rewrite(kind, resource_id)
            progress.at(progress.done + 1)

    def _accounts_of(self, kind: Kind) -> Sequence[str]:
        return [str(account.number) for account in self._accounts.listed(kind)]

    def _unsealed(self, kind: Kind) -> Sequence[str]:
        # A document that is not sealed is JSON.
        plain = (UserMeta.name == DOCUMENT, Like(UserMeta.value, "{%"))
        return list(map(str, sorted(self._accounts.matching(kind, *plain))))

    def _is_sealed(self, resource_id: str) -> bool:
        return is_sealed(self._accounts.metadata(int(resource_id), DOCUMENT), self._seal)

    def _rewrite(self, kind: Kind, resource_id: str) -> None:
        """Seal a resource; wait for a writer that has died to lose its right to change it."""
        until = time.monotonic() + self._zone.write_limit_s
        while True:
            try:
                stored = self._accounts.get(kind, resource_id)
                if stored.version != FOREIGN:
                    self._changes.replace(kind, stored, None, stored.version)
                return
            except (ResourceNotFound, VersionMismatch):
                # Another server has removed it, or written it, and so sealed it.
                return
            except Interrupted:
                if time.monotonic() > until:
                    raise

    def _seal_displays(self) -> None:
        columns = (User.id, User.name, UserMeta.name, UserMeta.value, UserMeta.units)
        for row in self._zone.rows(columns, User.type == GROUPS, UserMeta.name == MEMBER_DISPLAY):
            display = avu_of(row)
            if self._seal.is_current(display.value):
                continue
            try:
                text = self._seal.sealed(self._seal.opened(display.value))
            except KeyMissing:
                # SCIM shows the name of the member until the key is there again.
                continue
            if len(text) > CHUNK:
                _LOG.warning("iRODS group %s: the display of a member is too long to seal", row[User.id])
            sealed = [replace(display, value=text)] if len(text) <= CHUNK else []
            self._zone.change_metadata(row[User.name], [display], sealed)
            # Of metadata with twin rows, the request before may have left some.
            self._zone.take_metadata(row[User.name], display)
