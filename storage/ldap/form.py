"""Entries as resources: reading own entries and foreign ones.

One attribute has the resource as JSON, together with the standard attributes as this server wrote them. If
the standard attributes of the entry differ, an LDAP client has changed them, and its values count.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
from ldap.dn import escape_dn_chars

from schema.resource_type import ResourceType
from storage.adapter import Member, StoredResource
from storage.errors import ResourceNotFound
from storage.foreign import ForeignReader, instant_of
from storage.foreign_entries import ForeignEntries
from storage.index_keys import place_of
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.layout import (
    DATA,
    LAYOUTS,
    OLD_CLASSES,
    WITH_SCHEMA,
    WITHOUT_SCHEMA,
    Layout,
    all_of,
    any_of,
    complete_old,
    date_time,
    digest,
    equality,
    folded,
    foreign_id,
    foreign_place,
    is_id,
    is_own,
    kind_of,
    old_document,
    own_filter,
    rdn_of,
)
from storage.ldap.mapping import StandardAttributes
from storage.ldap.wire import Entry

_LOG = logging.getLogger(__name__)
FORMAT: Final = "scim"
_OPERATIONAL = ("objectClass", "entryUUID", "entryCSN", "createTimestamp", "modifyTimestamp")
_MOST_NAMES = 100_000
# The version of an entry during its deletion: the entry is no resource.
DELETED: Final = "0"


@dataclass(frozen=True)
class Located:
    """A resource and its entry. A foreign entry has no `layout`.

    `secrets` has hashes of the secrets without an attribute of their own, `standard` the values of standard
    attributes.
    """

    entry: Entry
    stored: StoredResource
    layout: Layout | None
    secrets: Mapping[str, str] = field(default_factory=dict)
    standard: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def resource(self) -> StoredResource:
        """The resource for callers of the adapter, with this object as its source."""
        return replace(self.stored, source=self)


class Unit:
    """The organizational unit with the entries of one resource type: `ou=<name>` below the base."""

    def __init__(
        self,
        resource_type: ResourceType,
        dn: str,
        server: ServerCapabilities,
        foreign_entries: ForeignEntries,
    ) -> None:
        self.resource_type = resource_type
        self.foreign_entries = foreign_entries
        self.dn = dn
        self._end = folded(f",{dn}")
        self.kind = kind_of(resource_type, server.classes)
        mark = own_filter(server.has_schema)
        # The entries that other programs made, and those that may be resources.
        self.foreign_filter = all_of([self.kind.filter, f"(!{mark})"])
        self.filter = all_of([self.kind.filter, mark]) if foreign_entries.are_hidden else self.kind.filter
        self.layout = WITH_SCHEMA if server.has_schema else WITHOUT_SCHEMA
        is_person = self.kind.structural == "inetOrgPerson"
        self.standard = StandardAttributes(resource_type, is_person, server.knows)
        # Whether there were entries of another layout at the start.
        self.has_others = False
        # Whether the server finds entries by a filter for their DNs.
        self.finds_names = False
        self._counts_versions = not server.names_changes
        self.key_class = "ldappublickey" in server.classes
        # The name that no resource may share with an entry of another program, by the rules of the directory.
        name = resource_type.path("userName") or resource_type.path("displayName")
        keeps = foreign_entries.keep_names and name is not None and self.standard.of(name)
        self.name_path = name if keeps else None
        self._foreign = ForeignReader(resource_type)
        self._reported: set[str] = set()
        # The DNs of resources whose RDN is not the id, as far as they are known.
        self._names: dict[str, str] = {}
        own = [name for one in LAYOUTS for name in one.attributes]
        old = ("cn", "uid", "displayName", "email", "sshPublicKey", "documentIdentifier")
        self.attributes = tuple(dict.fromkeys([*_OPERATIONAL, *own, *self.standard.attributes, *old]))

    def name_of(self, resource_id: str) -> str:
        """Return the DN of new resources. Raises ResourceNotFound for a text that is no id."""
        if not is_id(resource_id):
            raise ResourceNotFound(self.resource_type.name, ascii(resource_id))
        return f"{self.layout.id}={escape_dn_chars(resource_id)},{self.dn}"

    def dn_of(self, resource_id: str) -> str:
        """Return the last known DN of a resource, or that of a new one."""
        return self._names.get(resource_id) or self.name_of(resource_id)

    def contains(self, dn: str) -> bool:
        """Return whether an entry is below this unit."""
        return folded(dn).endswith(self._end)

    def filter_by_id(self, resource_id: str) -> str:
        """Return the filter for the resource with an id, in every layout."""
        old = any_of(f"(objectClass={name})" for name in OLD_CLASSES)
        named = any_of(equality(name, resource_id) for name in ("documentIdentifier", "cn"))
        ways = [equality(layout.id, resource_id) for layout in LAYOUTS]
        ways += [equality("entryUUID", resource_id), all_of([old, named])]
        return all_of([self.kind.filter, any_of(ways)])

    # -- reading

    def read(self, entry: Entry) -> Located | None:
        """Return the resource in an entry as callers get it, or None."""
        found = self.read_any(entry) if is_own(entry) else self._read_shown(entry)
        if found is not None:
            self.keep_name(entry, found.stored.id)
        return found

    def keep_name(self, entry: Entry, resource_id: str) -> None:
        """Remember the DN of a resource whose RDN is not the id."""
        if entry.dn != self.name_of(resource_id) and len(self._names) < _MOST_NAMES:
            self._names[resource_id] = entry.dn

    def _read_shown(self, entry: Entry) -> Located | None:
        found = None if self.foreign_entries.are_hidden else self.read_any(entry)
        shown = self.foreign_entries.shown(found.stored) if found is not None else None
        return replace(found, stored=shown) if found is not None and shown is not None else None

    def read_any(self, entry: Entry) -> Located | None:
        """Return the resource in an entry, or None; entries of other programs are not hidden."""
        for layout in LAYOUTS:
            envelope = _envelope(entry, layout)
            if envelope is not None:
                if entry.value(layout.version) == DELETED:
                    return None
                return self._read_own(entry, envelope, layout)
        return self._read_foreign(entry)

    def _read_own(self, entry: Entry, envelope: Mapping[str, Any], layout: Layout) -> Located:
        document = envelope["document"]
        found = self._found_values(entry, envelope)
        changed = self.standard.take_back(document, found, envelope["standard"])
        modified = entry.value(layout.modified) or ""
        if layout.has_times:
            modified = date_time(modified)
        version = self._version(entry, layout)
        if changed:
            modified = max(modified, date_time(entry.value("modifyTimestamp") or ""))
            if self._counts_versions:
                version += "-" + digest(orjson.dumps(found, option=orjson.OPT_SORT_KEYS))
        stored = StoredResource(
            document["id"],
            orjson.dumps(document).decode(),
            version=version,
            created=instant_of(envelope["created"]) or date_time(entry.value("createTimestamp") or ""),
            last_modified=modified,
            place=place_of(entry.number(layout.place) or 0),
        )
        return Located(entry, stored, layout, envelope.get("secrets") or {}, found)

    def _found_values(self, entry: Entry, envelope: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the standard attributes, without values that are there for the RDN alone."""
        found = {name: entry.values(name) for name in self.standard.attributes}
        if not envelope or entry.dn == self.name_of(envelope["document"]["id"]):
            return found
        names = rdn_of(entry.dn)
        for attribute, texts in found.items():
            name = names.get(attribute.lower())
            if name is not None and name not in envelope["standard"].get(attribute, ()):
                found[attribute] = [text for text in texts if text != name]
        return found

    def _read_foreign(self, entry: Entry) -> Located | None:
        """Return the resource in a foreign entry: JSON in `info`, or standard attributes alone."""
        is_old = bool({name.lower() for name in entry.values("objectClass")} & set(OLD_CLASSES))
        document = old_document(entry) if is_old else {}
        if document is None:
            self._report(entry, "contains no JSON object")
            return None
        read = self._foreign.read(document)
        for problem in read.problems:
            self._report(entry, problem)
        resource = {**read.resource, "id": foreign_id(entry, is_old, document)}
        if is_old:
            complete_old(self.resource_type, resource, entry)
        else:
            self.standard.take_back(resource, self._found_values(entry, {}), {})
        missing = self._missing(resource)
        if missing:
            self._report(entry, f"has no {missing}")
            return None
        created = read.created or date_time(entry.value("createTimestamp") or "")
        stored = StoredResource(
            resource["id"],
            orjson.dumps(resource).decode(),
            version=self._version(entry, None),
            created=created,
            last_modified=read.last_modified or date_time(entry.value("modifyTimestamp") or "") or created,
            place=foreign_place(entry),
        )
        return Located(entry, stored, None, standard=self._found_values(entry, {}))

    def _missing(self, resource: Mapping[str, Any]) -> str | None:
        """Return the first required attribute that a resource lacks, or None."""
        if resource["id"] is None:
            return "id"
        required = [a.name for a in self.resource_type.attributes if a.required]
        return next((name for name in required if name not in resource), None)

    def _report(self, entry: Entry, problem: str) -> None:
        if len(self._reported) < 10_000 and (line := f"{entry.dn}: {problem}") not in self._reported:
            self._reported.add(line)
            _LOG.warning("%s", line)

    def _version(self, entry: Entry, layout: Layout | None) -> str:
        if not self._counts_versions:
            return entry.value("entryCSN") or ""
        if layout is not None:
            return entry.value(layout.version) or ""
        shown = {name: values for name, values in entry.attributes.items() if name != "member"}
        return "x" + digest(repr(sorted(shown.items())).encode())

    def member(self, found: Located) -> Member:
        """Return a resource as a member of a group."""
        display = self.resource_type.display(found.stored.document)
        return Member(found.stored.id, self.resource_type.name, display)


def _envelope(entry: Entry, layout: Layout) -> dict[str, Any] | None:
    for value in entry.attributes.get(layout.data.lower(), ()):
        if not value.startswith(DATA):
            continue
        try:
            envelope = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        if isinstance(envelope, dict) and _is_whole(envelope):
            return envelope
    return None


def _is_whole(envelope: Mapping[str, Any]) -> bool:
    document, standard = envelope.get("document"), envelope.get("standard")
    if not isinstance(document, dict) or not isinstance(standard, dict):
        return False
    texts = (document.get("id"), envelope.get("created"))
    secrets = envelope.get("secrets") or {}
    return (
        all(isinstance(text, str) and text for text in texts)
        and all(isinstance(values, list) for values in standard.values())
        and isinstance(secrets, dict)
    )
