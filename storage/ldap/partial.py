"""Reading resources in part: a few attributes of an entry in place of the JSON.

A partial reading suffices for members and for the order of a list, if the entry is one of ours and the
attributes are sure to have the values of the resource.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from schema.resource_type import AttributePath
from storage.adapter import Sort, StoredResource
from storage.index_keys import place_of
from storage.ldap.form import DELETED, Located, Unit
from storage.ldap.layout import date_time, rdn_of
from storage.ldap.mapping import Pair
from storage.ldap.wire import Entry

_CREATED = "meta.created"
_MODIFIED = "meta.lastModified"


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
