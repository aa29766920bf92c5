"""Finding the resources of a tree: by id, by filter, and the entries behind members."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from ldap.dn import str2dn

from storage.adapter import Key
from storage.ldap.form import Located, Unit
from storage.ldap.layout import WITH_SCHEMA, all_of, any_of, equality
from storage.ldap.matching import is_exact
from storage.ldap.outline import Outline, Unclear, member_outline
from storage.ldap.wire import Entry, Session
from storage.uniqueness import is_universal

# How many ids one filter asks for.
_BATCH = 100
# Fewer than so many are read by name, which takes no index.
_FEW = 10
# The one attribute of a DN in which upper and lower case differ.
_EXACT = WITH_SCHEMA.id.lower()


class Tree:
    """The units of a directory, by resource type."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units: Mapping[str, Unit] = {unit.resource_type.name: unit for unit in units}
        # What a member is shown as is told by these.
        self.outlines: Mapping[str, Outline] = {
            name: member_outline(unit) for name, unit in self.units.items()
        }

    def get(self, session: Session, unit: Unit, resource_id: str) -> Located | None:
        """Return the resource with that id, or None."""
        entry = session.read(unit.dn_of(resource_id), unit.attributes)
        found = unit.read(entry) if entry is not None else None
        if found is not None and found.stored.id == resource_id:
            return found
        for entry in session.find(unit.dn, unit.filter_by_id(resource_id), unit.attributes):
            found = unit.read(entry)
            if found is not None and found.stored.id == resource_id:
                return found
        return None

    def locate(self, session: Session, resource_ids: Iterable[str]) -> dict[str, list[tuple[Unit, Located]]]:
        """Return, in outline, the resources of any unit that have one of the ids."""
        wanted = [i for i in dict.fromkeys(resource_ids) if is_name(i)]
        located: dict[str, dict[str, tuple[Unit, Located]]] = {i: {} for i in wanted}
        for by_name in (True, False):
            for name, unit in self.units.items():
                # What is in one unit is looked for in others as far as others may have written it.
                pending = [i for i, there in located.items() if name not in there and (
                    not there or (not is_universal(i) and (by_name or unit.has_others))
                )]
                seek = self._by_ids if by_name else self._by_filter
                for one in seek(session, unit, pending):
                    if one is not None and one.stored.id in located:
                        located[one.stored.id].setdefault(name, (unit, one))
        return {i: [there[n] for n in self.units if n in there] for i, there in located.items() if there}

    def existing(self, session: Session, keys: Iterable[Key]) -> dict[Key, Located]:
        """Return, in outline, those of the resources that exist."""
        found: dict[Key, Located] = {}
        wanted = [key for key in dict.fromkeys(keys) if is_name(key[1])]
        for name, unit in self.units.items():
            for seek in (self._by_ids, self._by_filter):
                pending = [key[1] for key in wanted if key[0] == name and key not in found]
                for one in seek(session, unit, pending):
                    if one is not None:
                        found.setdefault((name, one.stored.id), one)
        return {key: found[key] for key in wanted if key in found}

    def _by_filter(
        self, session: Session, unit: Unit, resource_ids: Sequence[str]
    ) -> Iterator[Located | None]:
        """Yield the resources with these ids, whatever they are called."""
        for start in range(0, len(resource_ids), _BATCH):
            asked = resource_ids[start : start + _BATCH]
            entries = session.find(unit.dn, any_of(map(unit.filter_by_id, asked)), unit.attributes)
            yield from map(unit.read, entries)

    def _by_ids(self, session: Session, unit: Unit, resource_ids: Sequence[str]) -> Iterator[Located | None]:
        """Yield those resources with these ids, in outline, that are called or marked as ours are."""
        outline = self.outlines[unit.resource_type.name]
        listed = [i for i in resource_ids if is_exact(i) and unit.dn_of(i) == unit.name_of(i)]
        if len(listed) < _FEW or unit.layout is not WITH_SCHEMA:
            # Only the schema comes with the advice to index the ids: without, asking for many is slow.
            listed = []
        together = frozenset(listed)
        others = [unit.dn_of(i) for i in resource_ids if i not in together]
        yield from self.outlined(session, outline, session.read_many(others, outline.attributes))
        for start in range(0, len(listed), _BATCH):
            text = any_of(equality(unit.layout.id, i) for i in listed[start : start + _BATCH])
            entries = session.find(unit.dn, text, outline.attributes)
            yield from self.outlined(session, outline, entries)

    def outlined(
        self, session: Session, outline: Outline, entries: Iterable[Entry]
    ) -> list[Located | None]:
        """Return what is read of each entry: its outline, or the whole where that is not clear."""
        found: list[Located | None] = []
        unclear: dict[str, int] = {}
        for entry in entries:
            try:
                found.append(outline.read(entry))
            except Unclear:
                unclear[entry.dn] = len(found)
                found.append(None)
        for entry in session.read_many(unclear, outline.unit.attributes):
            found[unclear[entry.dn]] = outline.unit.read(entry)
        return found

    def named(self, session: Session, names: Sequence[str]) -> Iterator[tuple[Unit, Located]]:
        """Yield the resources among the entries with those names, in order, in outline."""
        by_name: dict[str, tuple[Unit, Located]] = {}
        for unit in self.units.values():
            ids = {i: name for name in names if (i := unit.id_in(name)) is not None}
            for found in self._by_ids(session, unit, list(ids)):
                if found is not None and found.stored.id in ids:
                    by_name[ids[found.stored.id]] = unit, found
        rest = [name for name in names if name not in by_name]
        others = {normal(found.entry.dn): (unit, found) for unit, found in self.read(session, rest)}
        for name in names:
            one = by_name.get(name) or others.get(normal(name))
            if one is not None:
                yield one

    def read(self, session: Session, names: Iterable[str]) -> Iterator[tuple[Unit, Located]]:
        """Yield the resources among the entries with those names, in order."""
        attributes = tuple(dict.fromkeys(chain.from_iterable(u.attributes for u in self.units.values())))
        for entry in session.read_many(names, attributes):
            unit = self.unit_of(entry.dn)
            found = unit.read(entry) if unit is not None else None
            if unit is not None and found is not None:
                yield unit, found

    def unit_of(self, dn: str) -> Unit | None:
        """Return the unit that an entry is in, or None."""
        lowered = dn.lower()
        return next((u for u in self.units.values() if lowered.endswith("," + u.dn.lower())), None)

    def matching(self, session: Session, unit: Unit, text: str | None) -> list[Located]:
        """Return the resources of a unit that an LDAP filter finds, in the order of their places."""
        whole = all_of([unit.kind.filter, text]) if text else unit.kind.filter
        read = map(unit.read, session.find(unit.dn, whole, unit.attributes))
        return sorted((one for one in read if one is not None), key=lambda one: one.stored.place)

    def outlines_of(self, session: Session, outline: Outline) -> list[Located]:
        """Return every resource of a unit in outline."""
        unit = outline.unit
        entries = session.find(unit.dn, unit.kind.filter, outline.attributes)
        return [one for one in self.outlined(session, outline, entries) if one is not None]


def is_name(resource_id: str) -> bool:
    """Return whether any resource can have that id."""
    is_text = not any("\ud800" <= character <= "\udfff" for character in resource_id)
    return is_text and bool(resource_id) and "\0" not in resource_id


def normal(name: str) -> str:
    """Return text that is the same for every spelling of a DN."""
    return repr([sorted(_normal_part(part[0].lower(), part[1]) for part in rdn) for rdn in str2dn(name)])


def _normal_part(attribute: str, value: str) -> tuple[str, str]:
    return attribute, value if attribute == _EXACT else value.lower()
