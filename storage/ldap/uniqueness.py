"""Keeping unique values unique: among the entries that there are, and among those who write at once."""

from collections.abc import Callable, Sequence

from storage.adapter import StoredResource
from storage.errors import UniquenessConflict
from storage.ldap.claims import Claims, UniqueValue
from storage.ldap.entries import Unit
from storage.ldap.filter import LdapFilterCompiler
from storage.ldap.resources import Tree
from storage.ldap.session import Session
from storage.uniqueness import unique_values


class Uniqueness:
    """The unique values of a tree."""

    def __init__(self, tree: Tree, claims: Claims) -> None:
        self._tree = tree
        self._claims = claims
        self._compilers = {
            name: LdapFilterCompiler(unit, lambda _: "(!(objectClass=*))")
            for name, unit in tree.units.items()
        }

    def refuse_taken(self, session: Session, unit: Unit, values: Sequence[UniqueValue], dn: str) -> None:
        """Raise UniquenessConflict for a value that an entry has, even one that nobody has claimed."""
        compiler = self._compilers[unit.resource_type.name]
        for value in values:
            path = unit.resource_type.path(value.path)
            text = compiler.unique(path, value.key) if path is not None else None
            for found in self._tree.matching(session, unit, text) if text else ():
                if found.entry.dn.lower() != dn.lower() and value in unique_of(unit, found.stored):
                    raise UniquenessConflict(value.path)

    def has_twin(self, session: Session, unit: Unit, resource_id: str) -> bool:
        """Return whether there is a resource of another type with that id."""
        others = [one for one in self._tree.units.values() if one is not unit]
        return any(self._tree.get(session, one, resource_id) is not None for one in others)

    def require(self, session: Session, values: Sequence[UniqueValue], dn: str) -> None:
        """Raise UniquenessConflict unless all of `values` are still claimed for an entry."""
        if values and not self._claims.are_held(session, values, dn):
            raise UniquenessConflict(values[0].path)

    def claim_kept(self, session: Session, values: Sequence[UniqueValue], dn: str) -> None:
        """Claim what an entry that others wrote has had all along; of two, the first one owns it."""
        for value in values:
            try:
                self._claims.take(session, [value], dn, self._has(session))
            except UniquenessConflict:
                continue

    def _has(self, session: Session) -> Callable[[str, UniqueValue], bool]:
        def has(dn: str, value: UniqueValue) -> bool:
            found = list(self._tree.read(session, [dn]))
            return any(value in unique_of(unit, one.stored) for unit, one in found)

        return has

    def take(self, session: Session, values: Sequence[UniqueValue], dn: str) -> list[UniqueValue]:
        """Claim values for an entry, and return those that were not its own. Raises UniquenessConflict."""
        return self._claims.take(session, values, dn, self._has(session))

    def release(self, session: Session, values: Sequence[UniqueValue], dn: str) -> None:
        """Give up what is claimed for an entry."""
        self._claims.release(session, values, dn)


def unique_of(unit: Unit, stored: StoredResource) -> list[UniqueValue]:
    """Return the unique values of a resource; values that are not of their type are none."""
    name = unit.resource_type.name
    try:
        found = list(unique_values(unit.resource_type, stored.document))
    except (TypeError, ValueError, AttributeError):
        return []
    return list(dict.fromkeys(UniqueValue(name, path.text, key) for path, key in found))
