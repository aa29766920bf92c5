"""Finding resources by id, by DN and by filter, whole or in part.

A partial reading has a few attributes in place of the JSON. It suffices for members and for the order of a
list, if the entry is one of ours and the attributes are sure to have the values of the resource.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from schema.resource_type import AttributePath
from storage.adapter import Key, Sort, StoredResource
from storage.batches import batches
from storage.index_keys import place_of
from storage.ldap.form import DELETED, Located, Unit
from storage.ldap.layout import WITH_SCHEMA, all_of, any_of, date_time, equality, is_id, normal, rdn_of
from storage.ldap.mapping import Pair, is_exact
from storage.ldap.wire import Entry, Session
from storage.uniqueness import is_universal

_CREATED = "meta.created"
_MODIFIED = "meta.lastModified"
# The number of ids in one filter.
_BATCH = 100
# Fewer ids than that are read by DN, for which the server needs no index.
_FEW = 10


class Incomplete(Exception):
    """The attributes of a partial reading do not suffice: the whole entry is needed."""


class PartialReader:
    """Reads of an entry its id and place, a time if wanted, and the first value among `pairs`."""

    def __init__(self, unit: Unit, pairs: Sequence[Pair] = (), time: str | None = None) -> None:
        layout = unit.layout
        self.unit = unit
        self._pairs = pairs
        self._time = time
        names = [layout.id, layout.version, layout.place, *(pair.attribute for pair in pairs)]
        if pairs:
            names.append(layout.inexact or "objectClass")
        if time == _CREATED and layout.created:
            names.append(layout.created)
        if time == _MODIFIED:
            names += [layout.modified, "modifyTimestamp"]
        self.attributes = tuple(names)

    def read(self, entry: Entry) -> Located | None:
        """Return a resource in part, None if it is deleted. Raises Incomplete."""
        layout = self.unit.layout
        ids, version, place = entry.values(layout.id), entry.value(layout.version), entry.number(layout.place)
        if len(ids) != 1 or version is None or place is None:
            raise Incomplete
        if version == DELETED:
            return None
        self.unit.keep_name(entry, ids[0])
        text = orjson.dumps({"id": ids[0], **self._first_value(entry, ids[0])}).decode()
        created, modified = self._times(entry)
        stored = StoredResource(ids[0], text, created=created, last_modified=modified, place=place_of(place))
        return Located(entry, stored, layout)

    def _first_value(self, entry: Entry, resource_id: str) -> Mapping[str, Any]:
        if not self._pairs:
            return {}
        inexact = self._inexact(entry)
        for pair in self._pairs:
            name = pair.attribute.lower()
            raw, texts = entry.attributes.get(name, ()), entry.values(name)
            if name in inexact or len(texts) != len(raw) or len(texts) > 1:
                raise Incomplete
            if not texts:
                continue
            self._require_own(entry, name, resource_id, texts[0])
            document: dict[str, Any] = {}
            self.unit.standard.take_back(document, {pair.attribute: texts}, {})
            return document
        raise Incomplete

    def _inexact(self, entry: Entry) -> set[str]:
        """Return the attributes, in lower case, that lack or alter a value of the resource."""
        layout = self.unit.layout
        if layout.inexact is not None:
            return {name.lower() for name in entry.values(layout.inexact)}
        classes = {name.lower() for name in entry.values("objectClass")}
        marked = str(layout.inexact_class).lower() in classes
        return {pair.attribute.lower() for pair in self._pairs} if marked else set()

    def _require_own(self, entry: Entry, attribute: str, resource_id: str, text: str) -> None:
        """Raise Incomplete for a value that may be there for the object class or the RDN alone."""
        if self.unit.standard.is_needed(attribute) and text in (resource_id, "-"):
            raise Incomplete
        if not entry.dn.startswith(f"{self.unit.layout.id}={resource_id},") and attribute in rdn_of(entry.dn):
            raise Incomplete

    def _times(self, entry: Entry) -> tuple[str, str]:
        """Return the times of creation and of the last change; one that is not wanted is empty."""
        layout = self.unit.layout
        if self._time == _CREATED and layout.created:
            return _required(date_time(entry.value(layout.created) or "")), ""
        if self._time != _MODIFIED:
            return "", ""
        kept = entry.value(layout.modified) or ""
        modified = _required(date_time(kept) if layout.has_times else kept)
        # An LDAP client may have changed the resource later.
        if _required(date_time(entry.value("modifyTimestamp") or ""))[:19] > modified[:19]:
            raise Incomplete
        return "", modified


class WholeReader(PartialReader):
    """Reads whole entries, where a few attributes never suffice."""

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit)
        self.attributes = unit.attributes

    def read(self, entry: Entry) -> Located | None:
        return self.unit.read(entry)


def _required(time: str) -> str:
    if not time:
        raise Incomplete
    return time


def member_reader(unit: Unit) -> PartialReader:
    """Return the reader of resources as members of groups."""
    resource_type = unit.resource_type
    shown = [path for path in (resource_type.path("displayName"),) if path is not None]
    shown += [path for path in resource_type.unique_paths if path.text != "externalId"]
    pairs = [_pair(unit, path) for path in shown]
    known = [pair for pair in pairs if pair is not None]
    return PartialReader(unit, known) if known and len(known) == len(pairs) else WholeReader(unit)


def sort_reader(unit: Unit, sort: Sort | None) -> PartialReader | None:
    """Return the reader for the order of a list, None if the order depends on whole resources."""
    if sort is None:
        return PartialReader(unit)
    text = sort.path.text
    if text == "id":
        return PartialReader(unit)
    if text == _MODIFIED or (text == _CREATED and unit.layout.created is not None):
        return PartialReader(unit, time=text)
    pair = _pair(unit, sort.path)
    return PartialReader(unit, [pair]) if pair is not None else None


def _pair(unit: Unit, path: AttributePath) -> Pair | None:
    """Return the pair whose attribute has the only value of a path, or None."""
    pairs = unit.standard.of(path)
    if len(pairs) != 1 or not pairs[0].is_single or not unit.standard.tells(pairs[0]):
        return None
    return pairs[0]


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
        for entry in session.find(unit.dn, unit.filter_by_id(resource_id), unit.attributes):
            found = unit.read(entry)
            if found is not None and found.stored.id == resource_id:
                return found
        return None

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
        """Yield resources with these ids, in part: by DN, or many of them by the attribute of the id."""
        reader = self.readers[unit.resource_type.name]
        listed = [i for i in resource_ids if is_exact(i) and unit.dn_of(i) == unit.name_of(i)]
        if len(listed) < _FEW or unit.layout is not WITH_SCHEMA:
            # The documentation advises an index on `scimId`. Other layouts may have none.
            listed = []
        together = frozenset(listed)
        others = [unit.dn_of(i) for i in resource_ids if i not in together]
        yield from self.read_partly(session, reader, session.read_many(others, reader.attributes))
        for asked in batches(listed, _BATCH):
            text = any_of(equality(unit.layout.id, i) for i in asked)
            entries = session.find(unit.dn, text, reader.attributes)
            yield from self.read_partly(session, reader, entries)

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
        for entry in session.read_many(incomplete, reader.unit.attributes):
            found[incomplete[entry.dn]] = reader.unit.read(entry)
        return found

    def named(self, session: Session, names: Sequence[str]) -> Iterator[tuple[Unit, Located]]:
        """Yield the resources among the entries with these DNs, in order, in part."""
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
        """Yield the resources among the entries with these DNs, in order."""
        attributes = tuple(dict.fromkeys(chain.from_iterable(u.attributes for u in self.units.values())))
        for entry in session.read_many(names, attributes):
            unit = self.unit_of(entry.dn)
            found = unit.read(entry) if unit is not None else None
            if unit is not None and found is not None:
                yield unit, found

    def unit_of(self, dn: str) -> Unit | None:
        """Return the organizational unit of an entry, or None."""
        lowered = dn.lower()
        return next((u for u in self.units.values() if lowered.endswith("," + u.dn.lower())), None)

    def matching(self, session: Session, unit: Unit, text: str | None) -> list[Located]:
        """Return the resources of a type that match an LDAP filter, by place."""
        whole = all_of([unit.kind.filter, text]) if text else unit.kind.filter
        read = map(unit.read, session.find(unit.dn, whole, unit.attributes))
        return sorted((one for one in read if one is not None), key=lambda one: one.stored.place)

    def read_list(self, session: Session, reader: PartialReader) -> list[Located]:
        """Return every resource of a type in part."""
        unit = reader.unit
        entries = session.find(unit.dn, unit.kind.filter, reader.attributes)
        return [one for one in self.read_partly(session, reader, entries) if one is not None]
