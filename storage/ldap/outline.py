"""Resources in outline: what a list is ordered by and what others show of them, without the JSON.

A standard attribute tells a value of the resource when the entry is one of ours and nothing says
otherwise; in every other case the whole entry has to be read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from schema.resource_type import AttributePath
from storage.adapter import Sort, StoredResource
from storage.index_keys import place_of
from storage.ldap.form import DELETED, Located, Unit, rdn_of
from storage.ldap.layout import date_time
from storage.ldap.mapping import Link
from storage.ldap.wire import Entry

_CREATED = "meta.created"
_MODIFIED = "meta.lastModified"


class Unclear(Exception):
    """What an outline has to tell takes the whole entry."""


class Outline:
    """What is read of the entries of one unit: their id and place, and the first of `links` with a value."""

    def __init__(self, unit: Unit, links: Sequence[Link] = (), time: str | None = None) -> None:
        layout = unit.layout
        self.unit = unit
        self._links = links
        self._time = time
        names = [layout.id, layout.version, layout.place, *(link.attribute for link in links)]
        if links:
            names.append(layout.inexact or "objectClass")
        if time == _CREATED and layout.created:
            names.append(layout.created)
        if time == _MODIFIED:
            names += [layout.modified, "modifyTimestamp"]
        self.attributes = tuple(names)

    def read(self, entry: Entry) -> Located | None:
        """Return a resource with no more than the outline, None when it is deleted. Raises Unclear."""
        layout = self.unit.layout
        ids, version, place = entry.values(layout.id), entry.value(layout.version), entry.number(layout.place)
        if len(ids) != 1 or version is None or place is None:
            raise Unclear
        if version == DELETED:
            return None
        self.unit.keep_name(entry, ids[0])
        text = orjson.dumps({"id": ids[0], **self._linked(entry, ids[0])}).decode()
        created, modified = self._times(entry)
        stored = StoredResource(ids[0], text, created=created, last_modified=modified, place=place_of(place))
        return Located(entry, stored, layout)

    def _linked(self, entry: Entry, resource_id: str) -> Mapping[str, Any]:
        if not self._links:
            return {}
        inexact = self._inexact(entry)
        for link in self._links:
            name = link.attribute.lower()
            raw, texts = entry.attributes.get(name, ()), entry.values(name)
            if name in inexact or len(texts) != len(raw) or len(texts) > 1:
                raise Unclear
            if not texts:
                continue
            self._require_own(entry, name, resource_id, texts[0])
            document: dict[str, Any] = {}
            self.unit.standard.take_back(document, {link.attribute: texts}, {})
            return document
        raise Unclear

    def _inexact(self, entry: Entry) -> set[str]:
        """Return the attributes, in lower case, that do not hold all of the resource."""
        layout = self.unit.layout
        if layout.inexact is not None:
            return {name.lower() for name in entry.values(layout.inexact)}
        classes = {name.lower() for name in entry.values("objectClass")}
        marked = str(layout.inexact_class).lower() in classes
        return {link.attribute.lower() for link in self._links} if marked else set()

    def _require_own(self, entry: Entry, attribute: str, resource_id: str, text: str) -> None:
        """Raise Unclear for a value that may be there because the entry needs one, or is called by it."""
        if self.unit.standard.is_needed(attribute) and text in (resource_id, "-"):
            raise Unclear
        if not entry.dn.startswith(f"{self.unit.layout.id}={resource_id},") and attribute in rdn_of(entry.dn):
            raise Unclear

    def _times(self, entry: Entry) -> tuple[str, str]:
        """Return when the resource was created and when it was last changed; of these, what is wanted."""
        layout = self.unit.layout
        if self._time == _CREATED and layout.created:
            return _required(date_time(entry.value(layout.created) or "")), ""
        if self._time != _MODIFIED:
            return "", ""
        kept = entry.value(layout.modified) or ""
        modified = _required(date_time(kept) if layout.has_times else kept)
        # After that, somebody else may have changed the resource.
        if _required(date_time(entry.value("modifyTimestamp") or ""))[:19] > modified[:19]:
            raise Unclear
        return "", modified


class Whole(Outline):
    """The outline of resources whose attributes do not tell what is wanted: all of each."""

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit)
        self.attributes = unit.attributes

    def read(self, entry: Entry) -> Located | None:
        return self.unit.read(entry)


def _required(time: str) -> str:
    if not time:
        raise Unclear
    return time


def member_outline(unit: Unit) -> Outline:
    """Return the outline that tells what a resource is as a member."""
    resource_type = unit.resource_type
    shown = [path for path in (resource_type.path("displayName"),) if path is not None]
    shown += [path for path in resource_type.unique_paths if path.text != "externalId"]
    links = [_link(unit, path) for path in shown]
    known = [link for link in links if link is not None]
    return Outline(unit, known) if known and len(known) == len(links) else Whole(unit)


def sort_outline(unit: Unit, sort: Sort | None) -> Outline | None:
    """Return the outline that tells the position of a resource in an order, None when there is none."""
    if sort is None:
        return Outline(unit)
    text = sort.path.text
    if text == "id":
        return Outline(unit)
    if text == _MODIFIED or (text == _CREATED and unit.layout.created is not None):
        return Outline(unit, time=text)
    link = _link(unit, sort.path)
    return Outline(unit, [link]) if link is not None else None


def _link(unit: Unit, path: AttributePath) -> Link | None:
    """Return the one link that tells the only value of a path, or None."""
    links = unit.standard.of(path)
    if len(links) != 1 or not links[0].is_single or not unit.standard.tells(links[0]):
        return None
    return links[0]
