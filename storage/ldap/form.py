"""Entries as resources: what is read of one, and what is written for one.

The resource is JSON in one attribute, together with the standard attributes as they were written
beside it. Where these are no longer the same, somebody else has changed them, and they count.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
from ldap.dn import escape_dn_chars, str2dn

from schema.resource_type import ResourceType
from storage.adapter import Member, StoredResource
from storage.errors import ResourceNotFound
from storage.foreign import ForeignReader, instant_of
from storage.index_keys import place_of
from storage.ldap.foreign import complete_old, digest, foreign_id, foreign_place, old_document
from storage.ldap.layout import LAYOUTS, OLD_CLASSES, Kind, Layout, all_of, any_of, date_time, equality
from storage.ldap.mapping import StandardAttributes
from storage.ldap.wire import Entry

_LOG = logging.getLogger(__name__)
FORMAT: Final = "scim"
_OPERATIONAL = ("objectClass", "entryUUID", "entryCSN", "createTimestamp", "modifyTimestamp")
_MOST_NAMES = 100_000
_PLAIN_ID = re.compile(r"[A-Za-z0-9\-._~@:]+", re.ASCII)
# The version of an entry that is about to be deleted: it is no resource any more.
DELETED: Final = "0"


@dataclass(frozen=True)
class Located:
    """A resource and the entry it was read from; `layout` is None when others have written it.

    `secrets` are hashes of those that have no attribute of their own.
    """

    entry: Entry
    stored: StoredResource
    layout: Layout | None
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> StoredResource:
        """The resource for callers, who give it back together with its entry."""
        return replace(self.stored, source=self)


class Unit:
    """The entries of one resource type: `ou=<name>` below the base."""

    def __init__(
        self,
        resource_type: ResourceType,
        dn: str,
        kind: Kind,
        layout: Layout,
        standard: StandardAttributes,
        counts_versions: bool,
        key_class: bool,
    ) -> None:
        self.resource_type = resource_type
        self.dn = dn
        self.kind = kind
        self.layout = layout
        self.standard = standard
        # Whether there are entries, at the start, that are not laid out as new ones are.
        self.has_others = False
        self._counts_versions = counts_versions
        self.key_class = key_class
        self._foreign = ForeignReader(resource_type)
        self._reported: set[str] = set()
        # The DNs of resources that are not called as new ones are, as far as they were read.
        self._names: dict[str, str] = {}
        own = [name for one in LAYOUTS for name in one.attributes]
        old = ("cn", "uid", "displayName", "email", "sshPublicKey", "documentIdentifier")
        self.attributes = tuple(dict.fromkeys([*_OPERATIONAL, *own, *standard.attributes, *old]))

    def name_of(self, resource_id: str) -> str:
        """Return the DN of a resource that was created here. Raises ResourceNotFound for no id at all."""
        try:
            resource_id.encode()
        except UnicodeEncodeError:
            raise ResourceNotFound(self.resource_type.name, ascii(resource_id)) from None
        if not resource_id or "\0" in resource_id:
            raise ResourceNotFound(self.resource_type.name, ascii(resource_id))
        return f"{self.layout.id}={escape_dn_chars(resource_id)},{self.dn}"

    def dn_of(self, resource_id: str) -> str:
        """Return the DN of a resource, as far as it is known without asking."""
        return self._names.get(resource_id) or self.name_of(resource_id)

    def id_in(self, dn: str) -> str | None:
        """Return the id in a DN, None when it is not called as new ones are or has to be unescaped."""
        first, last = f"{self.layout.id}=", f",{self.dn}".lower()
        if not dn.startswith(first) or not dn.lower().endswith(last):
            return None
        resource_id = dn[len(first) : -len(last)]
        return resource_id if _PLAIN_ID.fullmatch(resource_id) else None

    def names_of(self, resource_ids: Iterable[str]) -> dict[str, str]:
        """Return the DNs of those ids that can be ids at all."""
        names = {}
        for resource_id in resource_ids:
            with suppress(ResourceNotFound):
                names[resource_id] = self.dn_of(resource_id)
        return names

    def filter_by_id(self, resource_id: str) -> str:
        """Return the filter for the resource with an id, whoever has written it."""
        old = any_of(f"(objectClass={name})" for name in OLD_CLASSES)
        named = any_of(equality(name, resource_id) for name in ("documentIdentifier", "cn"))
        ways = [equality(layout.id, resource_id) for layout in LAYOUTS]
        ways += [equality("entryUUID", resource_id), all_of([old, named])]
        return all_of([self.kind.filter, any_of(ways)])

    # -- reading

    def read(self, entry: Entry) -> Located | None:
        """Return the resource that an entry holds, or None when it holds none."""
        found = self._read(entry)
        if found is not None:
            self.keep_name(entry, found.stored.id)
        return found

    def keep_name(self, entry: Entry, resource_id: str) -> None:
        """Keep in mind what a resource is called that is not called as new ones are."""
        if entry.dn != self.name_of(resource_id) and len(self._names) < _MOST_NAMES:
            self._names[resource_id] = entry.dn

    def _read(self, entry: Entry) -> Located | None:
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
        return Located(entry, stored, layout, envelope.get("secrets") or {})

    def _found_values(self, entry: Entry, envelope: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the standard attributes; what an entry is called by, and no more than that, is none."""
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
        """Return what others have written: JSON in `info`, or standard attributes alone."""
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
        return Located(entry, stored, None)

    def _missing(self, resource: Mapping[str, Any]) -> str | None:
        """Return the name of what a resource of the type must have and this one has not, if any."""
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

    def display(self, entry: Entry) -> str | None:
        """Return the name by which a resource is shown, from a few attributes of its entry."""
        return entry.value("displayName") or entry.value("uid") or entry.value("cn")

    def member(self, found: Located) -> Member:
        """Return a resource as a member of others."""
        display = self.resource_type.display(found.stored.document)
        return Member(found.stored.id, self.resource_type.name, display)


def _envelope(entry: Entry, layout: Layout) -> dict[str, Any] | None:
    for value in entry.attributes.get(layout.data.lower(), ()):
        if not value.startswith(b'{"scim":'):
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


def rdn_of(dn: str) -> dict[str, str]:
    """Return the attributes that an entry is called by, names in lower case."""
    return {name.lower(): value for name, value, _ in str2dn(dn)[0]}
