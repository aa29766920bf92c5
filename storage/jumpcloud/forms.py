"""Users and groups of JumpCloud as stored resources, and what to send for a resource to become one."""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from schema.resource_type import ResourceType
from storage.adapter import StoredResource
from storage.errors import ValueRefused
from storage.foreign import ForeignReader, instant_of
from storage.jumpcloud import ssh
from storage.jumpcloud.documents import Documents
from storage.jumpcloud.fields import GROUP_LENSES, USER_LENSES
from storage.jumpcloud.identity import born, id_of
from storage.jumpcloud.kept import LONGEST, Kept, is_own, read_kept
from storage.jumpcloud.lenses import MORE_ADDRESSES, NO_ADDRESS, Lens

Json = dict[str, Any]

# Fields that must be whole: what they hold is unique.
_WHOLE: Final = {"userName": "username", "externalId": "external_dn", "displayName": "name"}
# What a PUT of a group takes and a resource does not have: sent back as it is.
_GROUP_FIELDS: Final = ("email", "memberQuery", "membershipMethod")
# Where HarryKodden/scim keeps a whole user.
_FORMER: Final = "details"


class Form:
    """What users and groups have in common: a document made of fields and of what is kept beside them."""

    lenses: tuple[Lens, ...] = ()

    def __init__(self, resource_type: ResourceType) -> None:
        self.resource_type = resource_type
        self._documents = Documents(resource_type, self.lenses)

    def read(self, live: Json) -> StoredResource:
        """Return the resource that a user or group is."""
        resource_id = id_of(live)
        kept = self.kept(live)
        document = self._shown(self._documents.join(live, kept.rest), live)
        created = instant_of(kept.created) or instant_of(live.get("created")) or born(resource_id)
        return StoredResource(
            resource_id,
            orjson.dumps({"schemas": document.pop("schemas"), "id": resource_id, **document}).decode(),
            self._version(live),
            created,
            instant_of(kept.last_modified) or created,
            place=resource_id,
        )

    def kept(self, live: Json) -> Kept:
        """Return what is kept beside the fields of a user or group."""
        return read_kept(self._own(live), f"{self.resource_type.name} {id_of(live)}")

    def _split(self, resource: StoredResource) -> tuple[dict[str, Any], Kept]:
        """Return fields and rest of a resource. Raises ValueRefused."""
        fields, rest = self._documents.split(resource.document)
        for name, field in _WHOLE.items():
            value = resource.document.get(name)
            if field in fields and value is not None and fields[field] != value:
                raise ValueRefused(f"{name}: must have {LONGEST} characters at most")
        for path in resource.secrets:
            if path != "password":
                raise ValueRefused(f"{path}: JumpCloud can store no secret except the password")
        if "password" in resource.removed_secrets:
            raise ValueRefused("password: JumpCloud can replace a password, but cannot remove it")
        kept = Kept(
            rest, created=resource.created, last_modified=resource.last_modified, stamp=uuid.uuid4().hex
        )
        return fields, kept

    def _version(self, live: Json) -> str:
        # The stamp makes it another one when a former state comes back. Members are not part of it,
        # nor is what is shown of them.
        kept = vars(replace(self.kept(live), displays={}))
        seen = [self._documents.seen(live), kept, live.get("ssh_keys")]
        text = json.dumps(seen, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _own(self, live: Json) -> dict[str, Any]:
        raise NotImplementedError

    def _shown(self, document: Json, live: Json) -> Json:
        return document


class UserForm(Form):
    """Users. Custom attributes of others are left as they are."""

    lenses = USER_LENSES

    def __init__(self, resource_type: ResourceType) -> None:
        super().__init__(resource_type)
        self._foreign = ForeignReader(resource_type)

    def new(self, resource: StoredResource) -> Json:
        """Return the body that creates a user. Raises ValueRefused."""
        fields, kept = self._split(resource)
        body = {name: value for name, value in fields.items() if value not in ("", [])}
        body["email"] = _sent(fields["email"], "")
        if "alternateEmail" in body:
            body["alternateEmail"] = _sent(body["alternateEmail"], "")
        return self._with_secrets({**body, "attributes": _listed(kept, [])}, resource)

    def update(self, resource: StoredResource, live: Json) -> Json:
        """Return the body that makes a user this resource. Raises ValueRefused."""
        fields, kept = self._split(resource)
        body = self._documents.changes(fields, live)
        if "external_dn" in body and live.get("externally_managed"):
            raise ValueRefused("externalId: another directory manages this user in JumpCloud")
        for name in ("email", "alternateEmail"):
            if name in body:
                body[name] = _sent(body[name], str(live.get(name) or ""))
        if "addresses" in body:
            body["addresses"] = _completed(body["addresses"], live.get("addresses"))
        kept = replace(kept, created=kept.created or self.kept(live).created)
        return self._with_secrets({**body, "attributes": _listed(kept, live.get("attributes"))}, resource)

    @staticmethod
    def _with_secrets(body: Json, resource: StoredResource) -> Json:
        password = resource.secrets.get("password")
        return body | {"password": password} if password else body

    def kept(self, live: Json) -> Kept:
        own = self._own(live)
        if not own:
            return self._former(live)
        return read_kept(own, f"{self.resource_type.name} {id_of(live)}")

    def _former(self, live: Json) -> Kept:
        """Return what the earlier product kept of a user; the fields win over it, as ever."""
        text = next((e.get("value") for e in _entries(live) if e.get("name") == _FORMER), None)
        try:
            former = orjson.loads(text) if isinstance(text, str) else None
        except ValueError:
            former = None
        if not isinstance(former, dict):
            return Kept()
        found = self._foreign.read(former)
        return Kept(found.resource, created=found.created, last_modified=found.last_modified)

    def _own(self, live: Json) -> dict[str, Any]:
        return {e["name"]: e.get("value") for e in _entries(live) if is_own(e.get("name"))}

    def _shown(self, document: Json, live: Json) -> Json:
        """Leave out SSH keys that JumpCloud says the user no longer has, where it says that."""
        present = live.get("ssh_keys")
        if isinstance(present, list) and ssh.ATTRIBUTE in document:
            lines = [entry.get("public_key") for entry in present if isinstance(entry, Mapping)]
            has = {ssh.key_of(line) for line in lines if isinstance(line, str)}
            left = ssh.without_keys(document[ssh.ATTRIBUTE], frozenset(ssh.keys_in(document)) - has)
            document = {name: value for name, value in document.items() if name != ssh.ATTRIBUTE}
            document |= {ssh.ATTRIBUTE: left} if left else {}
        return document


class GroupForm(Form):
    """User groups. Their free-form attributes of others are left as they are."""

    lenses = GROUP_LENSES

    def new(self, resource: StoredResource) -> Json:
        """Return the body that creates a group. Raises ValueRefused."""
        fields, kept = self._split(resource)
        if not fields["name"]:
            raise ValueRefused("displayName: is required by JumpCloud")
        return {**{k: v for k, v in fields.items() if v}, "attributes": kept.pieces()}

    def update(self, resource: StoredResource, live: Json) -> Json:
        """Return the body that makes a group this resource. Raises ValueRefused."""
        fields, kept = self._split(resource)
        if not fields["name"]:
            raise ValueRefused("displayName: is required by JumpCloud")
        before = self.kept(live)
        kept = replace(kept, created=kept.created or before.created, displays=before.displays)
        return self._body(fields, kept, live)

    def read(self, live: Json) -> StoredResource:
        """Return the group that JumpCloud shows, together with what it shows."""
        return replace(super().read(live), source=live)

    def with_displays(self, displays: Mapping[str, str], live: Json) -> Json:
        """Return the body that changes nothing but what a group shows of its members."""
        kept = replace(self.kept(live), displays=displays)
        return self._body({"name": live["name"]}, kept, live)

    @staticmethod
    def _body(fields: Json, kept: Kept, live: Json) -> Json:
        others = live.get("attributes") or {}
        attributes = {name: value for name, value in others.items() if not is_own(name)} | kept.pieces()
        unchanged = {n: live[n] for n in (*_GROUP_FIELDS, "description") if live.get(n)}
        return {**unchanged, **fields, "attributes": attributes}

    def _own(self, live: Json) -> dict[str, Any]:
        attributes = live.get("attributes")
        found = attributes.items() if isinstance(attributes, Mapping) else ()
        return {name: value for name, value in found if is_own(name)}


def is_dynamic(group: Json) -> bool:
    """Return whether JumpCloud itself decides who is in a group."""
    return str(group.get("membershipMethod") or "STATIC").upper() not in ("STATIC", "NOTSET")


def _entries(live: Json) -> list[Json]:
    entries = live.get("attributes")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _listed(kept: Kept, attributes: Any) -> list[Any]:
    """Return the whole list of custom attributes: a PUT replaces it."""
    others = attributes if isinstance(attributes, list) else []
    left = [entry for entry in others if not (isinstance(entry, dict) and is_own(entry.get("name")))]
    return left + [{"name": name, "value": value} for name, value in kept.pieces().items()]


def _sent(address: str, live: str) -> str:
    """Return an address to send; of a placeholder, the one that is there if it is of that kind."""
    if address not in (NO_ADDRESS, MORE_ADDRESSES):
        return address
    return live if re.search(re.escape(address) + r"\Z", live) else uuid.uuid4().hex + address


def _completed(addresses: list[Json], live: Any) -> list[Json]:
    """Return postal addresses with what only JumpCloud knows of those of the same type."""
    left = [entry for entry in live if isinstance(entry, dict)] if isinstance(live, list) else []
    completed = []
    for address in addresses:
        known = next((entry for entry in left if entry.get("type") == address["type"]), {})
        left = [entry for entry in left if entry is not known]
        completed.append({**{k: v for k, v in known.items() if k not in address}, **address})
    return completed
