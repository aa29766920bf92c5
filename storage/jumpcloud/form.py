"""Users and groups of JumpCloud as stored resources, and the bodies that create and update them."""

import hashlib
import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from schema.resource_type import ResourceType
from schema.values import format_date_time
from storage.adapter import StoredResource
from storage.errors import ValueRefused
from storage.foreign import ForeignReader, instant_of
from storage.foreign_entries import ForeignEntries
from storage.jumpcloud import ssh
from storage.jumpcloud.document import (
    GROUP_LENSES,
    USER_LENSES,
    Documents,
    Remainder,
    is_own,
    read_remainder,
)
from storage.jumpcloud.lens import LONGEST, MORE_ADDRESSES, NO_ADDRESS, Lens
from storage.jumpcloud.wire import GROUPS, USERS, Json, Kind, id_of, is_object_id

# Attributes whose values must fit into their fields, because JumpCloud or this server finds them there.
_WHOLE: Final = {"userName": "username", "externalId": "external_dn", "displayName": "name"}
# Fields of a group that a PUT must repeat, or they become empty.
_GROUP_FIELDS: Final = ("description", "email", "memberQuery", "membershipMethod")
# HarryKodden/scim stores a whole user as JSON in this attribute.
_FORMER: Final = "details"


@dataclass
class ReadGroup:
    """A group as it was read, and which users JumpCloud has shown since as members or as none."""

    live: Json
    members: dict[str, bool] = field(default_factory=dict)


class Form(ABC):
    """The resources of one type: a document made of fields and a remainder."""

    kind: Kind
    lenses: tuple[Lens, ...] = ()

    def __init__(self, resource_type: ResourceType, foreign_entries: ForeignEntries) -> None:
        self.resource_type = resource_type
        self.foreign_entries = foreign_entries
        self._documents = Documents(resource_type, self.lenses)

    def shown(self, lives: Iterable[Json]) -> Iterator[StoredResource]:
        """Yield users or groups as callers get them, without the hidden ones."""
        for live in lives:
            if self.is_own(live):
                yield self.read(live)
            elif (shown := self.foreign_entries.shown(self.read(live))) is not None:
                yield shown

    def hides(self, live: Json) -> bool:
        """Return whether a user or group of another program is no resource."""
        return self.foreign_entries.are_hidden and not self.is_own(live)

    def is_own(self, live: Json) -> bool:
        """Return whether this server has made or changed a user or group."""
        return bool(self.own(live))

    def read(self, live: Json) -> StoredResource:
        """Return any user or group as a resource."""
        resource_id = id_of(live)
        remainder = self.remainder(live)
        document = self._shown(self._documents.join(live, remainder.rest), live)
        created = instant_of(remainder.created) or instant_of(live.get("created")) or _born(resource_id)
        return StoredResource(
            resource_id,
            orjson.dumps({"schemas": document.pop("schemas"), "id": resource_id, **document}).decode(),
            self._version(live),
            created,
            instant_of(remainder.last_modified) or created,
            place=resource_id,
        )

    def remainder(self, live: Json) -> Remainder:
        """Return the part of a user or group that has no field."""
        return read_remainder(self.own(live), f"{self.resource_type.name} {id_of(live)}")

    @abstractmethod
    def new(self, resource: StoredResource) -> Json:
        """Return the body that creates a resource. Raises ValueRefused."""

    @abstractmethod
    def update(self, resource: StoredResource, live: Json) -> Json:
        """Return the body that makes a user or group this resource. Raises ValueRefused."""

    def _split(self, resource: StoredResource) -> tuple[dict[str, Any], Remainder]:
        fields, rest = self._documents.split(resource.document)
        for name, target in _WHOLE.items():
            value = resource.document.get(name)
            if target in fields and value is not None and fields[target] != value:
                raise ValueRefused(f"{name}: must have {LONGEST} characters at most")
        for path in resource.secrets:
            if path != "password":
                raise ValueRefused(f"{path}: JumpCloud can store no secret except the password")
        if "password" in resource.removed_secrets:
            raise ValueRefused("password: JumpCloud can replace a password, but cannot remove it")
        stamp = uuid.uuid4().hex
        return fields, Remainder(rest, {}, resource.created, resource.last_modified, stamp)

    def _version(self, live: Json) -> str:
        # The stamp gives a former state a new version. Members and their displays are no part of it.
        remainder = vars(replace(self.remainder(live), displays={}))
        seen = [self._documents.seen(live), remainder, live.get("ssh_keys")]
        text = json.dumps(seen, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @abstractmethod
    def own(self, live: Json) -> dict[str, Any]:
        """Return the attributes of a user, a group or a body that this server writes, by name."""

    def _shown(self, document: Json, live: Json) -> Json:
        return document


class UserForm(Form):
    """Users. Custom attributes with other names stay as they are."""

    kind, lenses = USERS, USER_LENSES

    def __init__(self, resource_type: ResourceType, foreign_entries: ForeignEntries) -> None:
        super().__init__(resource_type, foreign_entries)
        self._foreign = ForeignReader(resource_type)

    def new(self, resource: StoredResource) -> Json:
        fields, remainder = self._split(resource)
        body = {name: value for name, value in fields.items() if value not in ("", [])}
        return self._completed(body, resource, remainder, {})

    def update(self, resource: StoredResource, live: Json) -> Json:
        fields, remainder = self._split(resource)
        body = self._documents.changes(fields, live)
        if "external_dn" in body and live.get("externally_managed"):
            raise ValueRefused("externalId: another directory manages this user in JumpCloud")
        if "addresses" in body:
            body["addresses"] = _with_unseen(body["addresses"], live.get("addresses"))
        remainder = replace(remainder, created=remainder.created or self.remainder(live).created)
        return self._completed(body, resource, remainder, live)

    @staticmethod
    def _completed(body: Json, resource: StoredResource, remainder: Remainder, live: Json) -> Json:
        for name in ("email", "alternateEmail"):
            if name in body:
                body[name] = _address(body[name], str(live.get(name) or ""))
        password = resource.secrets.get("password")
        # A PUT replaces the whole list of attributes.
        others = live.get("attributes")
        attributes = [
            entry
            for entry in (others if isinstance(others, list) else [])
            if not (isinstance(entry, dict) and is_own(entry.get("name")))
        ]
        attributes += [{"name": name, "value": value} for name, value in remainder.pieces().items()]
        return {**body, "attributes": attributes, **({"password": password} if password else {})}

    def is_own(self, live: Json) -> bool:
        return super().is_own(live) or _former(live) is not None

    def remainder(self, live: Json) -> Remainder:
        if self.own(live):
            return super().remainder(live)
        former = _former(live)
        if former is None:
            return Remainder()
        found = self._foreign.read(former)
        return Remainder(found.resource, created=found.created, last_modified=found.last_modified)

    def own(self, live: Json) -> dict[str, Any]:
        return {e["name"]: e.get("value") for e in _entries(live) if is_own(e.get("name"))}

    def _shown(self, document: Json, live: Json) -> Json:
        present = live.get("ssh_keys")
        if not isinstance(present, list) or ssh.ATTRIBUTE not in document:
            return document
        # JumpCloud lists the keys of the user: the console may have removed some.
        lines = [entry.get("public_key") for entry in present if isinstance(entry, Mapping)]
        keys = {ssh.key_of(line) for line in lines if isinstance(line, str)}
        left = ssh.without_keys(document[ssh.ATTRIBUTE], frozenset(ssh.keys_in(document)) - keys)
        return ssh.with_elements(document, left)


class GroupForm(Form):
    """User groups. Free-form attributes with other names stay as they are."""

    kind, lenses = GROUPS, GROUP_LENSES

    def read(self, live: Json) -> StoredResource:
        return replace(super().read(live), source=ReadGroup(live))

    def new(self, resource: StoredResource) -> Json:
        fields, remainder = self._split(resource)
        return {**{name: value for name, value in fields.items() if value}, "attributes": remainder.pieces()}

    def update(self, resource: StoredResource, live: Json) -> Json:
        fields, remainder = self._split(resource)
        before = self.remainder(live)
        remainder = replace(
            remainder, created=remainder.created or before.created, displays=before.displays
        )
        return self._body(fields, remainder, live)

    def _split(self, resource: StoredResource) -> tuple[dict[str, Any], Remainder]:
        fields, remainder = super()._split(resource)
        if not fields["name"]:
            raise ValueRefused("displayName: is required by JumpCloud")
        return fields, remainder

    def with_displays(self, displays: Mapping[str, str], live: Json) -> Json:
        """Return the body that changes nothing except the displays of members."""
        return self._body({"name": live["name"]}, replace(self.remainder(live), displays=displays), live)

    @staticmethod
    def _body(fields: Json, remainder: Remainder, live: Json) -> Json:
        others = live.get("attributes") or {}
        attributes = {name: value for name, value in others.items() if not is_own(name)}
        unchanged = {name: live[name] for name in _GROUP_FIELDS if live.get(name)}
        return {**unchanged, **fields, "attributes": attributes | remainder.pieces()}

    def own(self, live: Json) -> dict[str, Any]:
        attributes = live.get("attributes")
        found = attributes.items() if isinstance(attributes, Mapping) else ()
        return {name: value for name, value in found if is_own(name)}


def is_dynamic(group: Json) -> bool:
    """Return whether JumpCloud fills a group by a rule."""
    return str(group.get("membershipMethod") or "STATIC").upper() not in ("STATIC", "NOTSET")


def _born(resource_id: str) -> str:
    """Return the instant in an object id, which is that of the creation."""
    seconds = int(resource_id[:8], 16) if is_object_id(resource_id) else 0
    return format_date_time(datetime.fromtimestamp(seconds, UTC))


def _entries(live: Json) -> list[Json]:
    entries = live.get("attributes")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _former(live: Json) -> Json | None:
    """Return the attributes that HarryKodden/scim stored of a user, None if it stored none."""
    text = next((e.get("value") for e in _entries(live) if e.get("name") == _FORMER), None)
    try:
        former = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return None
    return former if isinstance(former, dict) else None


def _address(address: str, live: str) -> str:
    """Return the address to send; for a placeholder, that of the user if it is of the same domain."""
    if address not in (NO_ADDRESS, MORE_ADDRESSES):
        return address
    return live if re.search(re.escape(address) + r"\Z", live) else uuid.uuid4().hex + address


def _with_unseen(addresses: list[Json], live: Any) -> list[Json]:
    """Return postal addresses with the members that SCIM does not have, from those of the same type."""
    left = [entry for entry in live if isinstance(entry, dict)] if isinstance(live, list) else []
    completed = []
    for address in addresses:
        known = next((entry for entry in left if entry.get("type") == address["type"]), {})
        left = [entry for entry in left if entry is not known]
        completed.append({**{k: v for k, v in known.items() if k not in address}, **address})
    return completed
