"""Deletions in two steps: a writer marks an entry, which is no resource from then on, and then removes it.

An entry stays in the directory if its writer ends between the steps, or loses its connection. A process
removes such entries soon after its start, and after a deletion of its own whose outcome is not known.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ldap

from storage.errors import OutcomeUnknown, StorageReadOnly
from storage.ldap.find import Tree
from storage.ldap.form import DELETED
from storage.ldap.layout import all_of, is_own
from storage.ldap.links import Members
from storage.ldap.server import Directory
from storage.ldap.write import is_abandoned

_LOG = logging.getLogger(__name__)


class Deletions:
    """Finishes the deletions that were interrupted in a tree."""

    def __init__(self, directory: Directory, tree: Tree, members: Members) -> None:
        self._directory = directory
        self._tree = tree
        self._members = members
        self._is_due = True

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have `finish` look again if the outcome of a deletion in this context is not known."""
        try:
            yield
        except OutcomeUnknown:
            self._is_due = True
            raise

    def finish(self) -> int:
        """Remove marked entries whose writers are gone, and return how many; search only when that is due."""
        if not self._is_due:
            return 0
        self._is_due, done = False, 0
        with suppress(StorageReadOnly), self._directory.lease() as session:
            for unit in self._tree.units.values():
                marked = all_of([unit.kind.filter, f"({unit.layout.version}={DELETED})"])
                for entry in filter(is_own, session.find(unit.dn, marked, unit.attributes)):
                    if not is_abandoned(unit, entry):
                        self._is_due = True
                        continue
                    with suppress(ldap.NO_SUCH_OBJECT):
                        session.delete(entry.dn)
                    self._members.forget(session, entry.dn)
                    done += 1
        if done:
            _LOG.warning("LDAP: %d deletions that were interrupted are finished", done)
        return done
