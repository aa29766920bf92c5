"""Changes of an entry: the attributes of a resource, modifications, refused values and secrets."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import ldap
import orjson
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from storage.adapter import StoredResource
from storage.errors import UniquenessConflict, ValueRefused
from storage.index_keys import number_at
from storage.ldap.form import FORMAT, Located, Unit
from storage.ldap.layout import LAYOUTS, OLD_CLASSES, Layout, rdn_of
from storage.ldap.mapping import Projection, is_exact
from storage.ldap.server import ServerCapabilities, sentence
from storage.ldap.wire import Modification, Session

# OpenLDAP reads requests of up to 4 MiB, and drops the connection for a larger one.
_LARGEST = 4_000_000
_KEY_CLASS = "ldapPublicKey"
# Results for a value that the server refuses. Its message begins with the name of the attribute.
_REFUSALS = (ldap.INVALID_SYNTAX, ldap.CONSTRAINT_VIOLATION, ldap.TYPE_OR_VALUE_EXISTS)
# The secret with an attribute (`userPassword`): the LDAP server hashes it, and LDAP clients bind with it.
PASSWORD: Final = "password"


def attributes_of(
    unit: Unit,
    stored: StoredResource,
    version: int,
    secrets: Mapping[str, str],
    refused: Collection[str],
) -> tuple[dict[str, list[bytes]], frozenset[str]]:
    """Return the attributes of a resource, and the auxiliary classes of its entry.

    The entry must not have those attributes without a value. Raises ValueRefused for a resource too large.
    """
    layout, document = unit.layout, stored.document
    projection = unit.standard.project(document, refused)
    envelope = {
        FORMAT: 1,
        "created": stored.created,
        "standard": projection.values,
        **({"secrets": secrets} if secrets else {}),
        "document": document,
    }
    lookups, inexact = _lookups(layout, document, refused)
    inexact |= projection.inexact
    data = orjson.dumps(envelope)
    if len(data) > _LARGEST:
        raise ValueRefused(f"the resource is larger than {_LARGEST} bytes")
    values: dict[str, list[str]] = {
        **projection.values,
        layout.id: [stored.id],
        layout.version: [str(version)],
        layout.place: [str(number_at(stored.place))],
        layout.modified: [layout.time(stored.last_modified)],
        **lookups,
    }
    if layout.created:
        values[layout.created] = [layout.time(stored.created)]
    if layout.inexact is not None:
        values[layout.inexact] = sorted(inexact)
    encoded = {name: [text.encode() for text in texts] for name, texts in values.items()}
    encoded[layout.data] = [data]
    return encoded, _classes(unit, projection, inexact)


def _lookups(
    layout: Layout, document: Mapping[str, Any], refused: Collection[str]
) -> tuple[dict[str, list[str]], set[str]]:
    """Return the other attributes for searches, and those of them that lack or alter a value."""
    external_id, name = document.get("externalId"), layout.external_id
    values: dict[str, list[str]] = {name: []}
    inexact = set()
    if isinstance(external_id, str) and external_id:
        if name not in refused and "\0" not in external_id:
            values[name] = [external_id]
        if name in refused or not is_exact(external_id):
            inexact.add(name)
    if layout.active:
        active = document.get("active")
        values[layout.active] = [str(active).upper()] if isinstance(active, bool) else []
    return values, inexact


def _classes(unit: Unit, projection: Projection, inexact: Collection[str]) -> frozenset[str]:
    classes = {unit.layout.resource_class}
    if inexact and unit.layout.inexact_class:
        classes.add(unit.layout.inexact_class)
    if projection.values.get("sshPublicKey") and unit.key_class:
        classes.add(_KEY_CLASS)
    return frozenset(classes)


def modifications_of(
    unit: Unit, found: Located, values: Mapping[str, list[bytes]], classes: frozenset[str]
) -> list[Modification]:
    """Return the modifications from an entry to the result of `attributes_of`; other attributes stay."""
    entry = found.entry
    rdn = rdn_of(entry.dn)
    wanted = dict(values)
    for layout in LAYOUTS:
        if found.layout is layout and layout is not unit.layout:
            wanted |= {name: [] for name in layout.attributes if name not in values}
    if found.layout is None and set(OLD_CLASSES) & set(entry.values("objectClass")):
        wanted = {"info": [], "email": [], **wanted}
    modifications = []
    for name, new in wanted.items():
        named = rdn.get(name.lower())
        if named is not None and named.encode() not in new:
            # An entry cannot lose the value in its RDN.
            new = [*new, named.encode()]
        if sorted(new) != sorted(entry.attributes.get(name.lower(), ())):
            modifications.append((ldap.MOD_REPLACE, name, new or None))
    had = {name.lower() for name in entry.values("objectClass")}
    joining = [name.encode() for name in sorted(classes) if name.lower() not in had]
    if joining:
        modifications.insert(0, (ldap.MOD_ADD, "objectClass", joining))
    optional = [unit.layout.inexact_class]
    if unit.key_class and values.get("sshPublicKey") == []:
        # Some servers demand a key in an entry of this class.
        optional.append(_KEY_CLASS)
    for unneeded in optional:
        if unneeded and unneeded not in classes and unneeded.lower() in had:
            modifications.append((ldap.MOD_DELETE, "objectClass", [unneeded.encode()]))
    return modifications


def with_refusals(unit: Unit, write: Callable[[set[str]], str]) -> str:
    """Call `write` again without each attribute that the server refuses: the JSON has its values."""
    refused: set[str] = set()
    while True:
        try:
            return write(refused)
        except _REFUSALS as exc:
            said: Any = exc.args[0].get("info", "") if exc.args else ""
            if "non-unique" in said:
                raise UniquenessConflict(_path_in(unit, said)) from exc
            name = said.partition(":")[0].strip()
            known = {*unit.standard.attributes, unit.layout.external_id}
            if name not in known - refused:
                raise
            refused.add(name)


def _path_in(unit: Unit, said: str) -> str:
    """Return the SCIM path in the message of a conflict, or the first unique path."""
    for pair in unit.standard.pairs:
        if f"({pair.attribute}=" in said:
            return pair.path.text
    return unit.resource_type.unique_paths[0].text


def without_empty(stored: StoredResource) -> StoredResource:
    """Return a resource with its empty password removed: a bind with an empty password is anonymous."""
    if stored.secrets.get(PASSWORD) != "":
        return stored
    secrets = {path: value for path, value in stored.secrets.items() if path != PASSWORD}
    return replace(stored, secrets=secrets, removed_secrets=stored.removed_secrets | {PASSWORD})


def kept_secrets(stored: StoredResource, known: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of secrets after a write: one of `known` stays if its secret is the same."""
    new = {path: value for path, value in stored.secrets.items() if path != PASSWORD}
    known = {path: hashed for path, hashed in known.items() if path not in stored.removed_secrets}
    hasher = PasswordHasher()
    hashed = {path: hasher.hash(value) for path, value in new.items() if not _fits(known.get(path), value)}
    return {**known, **hashed}


def write_password(session: Session, dn: str, stored: StoredResource, server: ServerCapabilities) -> None:
    """Set the password of a resource, or remove it. Raises ValueRefused."""
    password = stored.secrets.get(PASSWORD)
    if password is not None and not server.sets_passwords:
        raise ValueRefused("password: the directory does not let clients set passwords (RFC 3062)")
    try:
        if password is not None:
            session.set_password(dn, password)
        elif PASSWORD in stored.removed_secrets:
            session.modify(dn, [(ldap.MOD_REPLACE, "userPassword", None)])
    except (ldap.CONSTRAINT_VIOLATION, ldap.INVALID_SYNTAX, ldap.UNWILLING_TO_PERFORM) as exc:
        raise ValueRefused(f"password: the directory refuses it: {sentence(exc)}") from exc


def _fits(known: str | None, value: str) -> bool:
    if known is None:
        return False
    try:
        return PasswordHasher().verify(known, value)
    except (VerificationError, InvalidHashError):
        return False
