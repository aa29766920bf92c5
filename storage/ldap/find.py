"""Finding resources by id, by DN and by filter, whole or in part."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from storage.adapter import Key
from storage.batches import batches
from storage.ldap.form import Located, Unit
from storage.ldap.layout import ENTRY_DN, all_of, any_of, equality, is_id, normal
from storage.ldap.partial import Incomplete, PartialReader, member_reader
from storage.ldap.wire import Entry, Session
from storage.uniqueness import is_universal

# The number of ids or DNs in one filter.
_BATCH = 100
# Fewer entries than that are read one by one, in one round trip.
_FEW = 2


class Tree:
    """The entries below the base: an organizational unit for each resource type."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units: Mapping[str, Unit] = {unit.resource_type.name: unit for unit in units}
        # The readers of resources as members.
        self.readers: Mapping[str, PartialReader] = {
            name: member_reader(unit) for name, unit in self.units.items()
        }

    def get(self, session: Session, unit: Unit, resource_id: str) -> Located | None:
        """Return the resource with an id, or None."""
        entry = session.read(unit.dn_of(resource_id), unit.attributes)
        found = unit.read(entry) if entry is not None else None
        if found is not None and found.stored.id == resource_id:
            return found
        return self.sought(session, unit, resource_id)

    @staticmethod
    def sought(session: Session, unit: Unit, resource_id: str) -> Located | None:
        """Return the resource with an id, of every RDN and layout, or None: for an id that is likely free."""
        entries = session.find(unit.dn, unit.filter_by_id(resource_id), unit.attributes)
        found = filter(None, map(unit.read, entries))
        return next((one for one in found if one.stored.id == resource_id), None)

    def locate(self, session: Session, resource_ids: Iterable[str]) -> dict[str, list[tuple[Unit, Located]]]:
        """Return the resources of every type with one of the ids, in part."""
        wanted = [i for i in dict.fromkeys(resource_ids) if is_id(i)]
        located: dict[str, dict[str, tuple[Unit, Located]]] = {i: {} for i in wanted}
        for by_name in (True, False):
            for name, unit in self.units.items():
                # A UUID is the id of one resource. Another id can exist in several types.
                pending = [i for i, there in located.items() if name not in there and (
                    not there or (not is_universal(i) and (by_name or unit.has_others))
                )]
                seek = self._by_ids if by_name else self._by_filter
                for one in seek(session, unit, pending):
                    if one is not None and one.stored.id in located:
                        located[one.stored.id].setdefault(name, (unit, one))
        return {i: [there[n] for n in self.units if n in there] for i, there in located.items() if there}

    def existing(self, session: Session, keys: Iterable[Key]) -> dict[Key, Located]:
        """Return the existing resources among `keys`, in part."""
        found: dict[Key, Located] = {}
        wanted = [key for key in dict.fromkeys(keys) if is_id(key[1])]
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
        """Yield the resources with these ids, for every RDN and layout."""
        for asked in batches(resource_ids, _BATCH):
            entries = session.find(unit.dn, any_of(map(unit.filter_by_id, asked)), unit.attributes)
            yield from map(unit.read, entries)

    def _by_ids(self, session: Session, unit: Unit, resource_ids: Sequence[str]) -> Iterator[Located | None]:
        """Yield the resources with these ids whose DN is the known or the usual one, in part."""
        yield from self._partly(session, unit, [unit.dn_of(i) for i in resource_ids])

    def _partly(self, session: Session, unit: Unit, names: Sequence[str]) -> list[Located | None]:
        reader = self.readers[unit.resource_type.name]
        return self.read_partly(session, reader, self._entries(session, unit, names, reader.attributes))

    @staticmethod
    def _entries(
        session: Session, unit: Unit, names: Sequence[str], attributes: Sequence[str]
    ) -> Iterator[Entry]:
        """Yield the existing entries of a unit among `names` (DNs), in any order."""
        if not unit.finds_names or len(names) < _FEW:
            yield from session.read_many(names, attributes)
            return
        for asked in batches(names, _BATCH):
            named = any_of(equality(ENTRY_DN, name) for name in asked)
            yield from session.find(unit.dn, named, attributes)

    def read_partly(
        self, session: Session, reader: PartialReader, entries: Iterable[Entry]
    ) -> list[Located | None]:
        """Read each entry in part, or whole where that does not suffice."""
        found: list[Located | None] = []
        incomplete: dict[str, int] = {}
        for entry in entries:
            try:
                found.append(reader.read(entry))
            except Incomplete:
                incomplete[entry.dn] = len(found)
                found.append(None)
        for entry in self._entries(session, reader.unit, list(incomplete), reader.unit.attributes):
            found[incomplete[entry.dn]] = reader.unit.read(entry)
        return found

    def named(self, session: Session, names: Sequence[str]) -> Iterator[tuple[Unit, Located]]:
        """Yield the resources among the entries with these DNs, in order, in part."""
        return self._in_order(names, lambda unit, inside: self._partly(session, unit, inside))

    def read(self, session: Session, names: Iterable[str]) -> Iterator[tuple[Unit, Located]]:
        """Yield the resources among the entries with these DNs, in order."""
        return self._in_order(
            list(names),
            lambda unit, inside: map(unit.read, self._entries(session, unit, inside, unit.attributes)),
        )

    def _in_order(
        self, names: Sequence[str], read: Callable[[Unit, Sequence[str]], Iterable[Located | None]]
    ) -> Iterator[tuple[Unit, Located]]:
        """Yield what `read` finds among the DNs of each unit, in the order of `names`."""
        found: dict[str, tuple[Unit, Located]] = {}
        for unit in self.units.values():
            inside = [name for name in names if unit.contains(name)]
            found |= {one.entry.dn: (unit, one) for one in read(unit, inside) if one is not None}
        if any(name not in found for name in names):
            # In another spelling.
            found |= {normal(name): one for name, one in found.items()}
        for name in names:
            one = found.get(name) or found.get(normal(name))
            if one is not None:
                yield one

    def unit_of(self, dn: str) -> Unit | None:
        """Return the organizational unit of an entry, or None."""
        return next((unit for unit in self.units.values() if unit.contains(dn)), None)

    def matching(
        self, session: Session, unit: Unit, text: str | None, every: bool = False
    ) -> list[Located]:
        """Return the resources of a type that match an LDAP filter, by place.

        With `every`, they include the hidden entries of other programs.
        """
        kind = unit.kind.filter if every else unit.filter
        whole = all_of([kind, text]) if text else kind
        reader = unit.read_any if every else unit.read
        read = map(reader, session.find(unit.dn, whole, unit.attributes))
        return sorted((one for one in read if one is not None), key=lambda one: one.stored.place)

    def read_list(self, session: Session, reader: PartialReader) -> list[Located]:
        """Return every resource of a type in part."""
        unit = reader.unit
        entries = session.find(unit.dn, unit.filter, reader.attributes)
        return [one for one in self.read_partly(session, reader, entries) if one is not None]
