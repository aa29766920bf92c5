"""Changes of an entry: the attributes of a resource, modifications, refused values and secrets."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import ldap
import orjson

from storage.adapter import StoredResource
from storage.errors import UniquenessConflict, ValueRefused
from storage.hashing import Hasher
from storage.index_keys import number_at
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.form import FORMAT, Located, Unit
from storage.ldap.layout import DATA, LAYOUTS, OLD_CLASSES, Layout, rdn_of
from storage.ldap.mapping import Projection, is_exact
from storage.ldap.server import sentence
from storage.ldap.wire import Modification, Session

# OpenLDAP reads requests of up to 4 MiB, and drops the connection for a larger one.
_LARGEST = 4_000_000
_KEY_CLASS = "ldapPublicKey"
_JSON = tuple(layout.data for layout in LAYOUTS)
# Results for a value that the server refuses. Its message begins with the name of the attribute.
_REFUSALS = (ldap.INVALID_SYNTAX, ldap.CONSTRAINT_VIOLATION, ldap.TYPE_OR_VALUE_EXISTS)
# The secret with an attribute (`userPassword`): the LDAP server hashes it, and LDAP clients bind with it.
PASSWORD: Final = "password"
# Returns whether the entry of a name has a password.
HasPassword = Callable[[str, str], bool]
# Returns the hashes of secrets after a write, as `kept_secrets` does.
KeptSecrets = Callable[[StoredResource, Mapping[str, str]], Mapping[str, str]]


def attributes_of(
    unit: Unit,
    stored: StoredResource,
    version: int,
    secrets: Mapping[str, str],
    refused: Collection[str],
    found: Located | None = None,
) -> tuple[dict[str, list[bytes]], frozenset[str]]:
    """Return the attributes of a resource, and the auxiliary classes of its entry, which `found` has so far.

    The entry must not have those attributes without a value. Raises ValueRefused for a resource too large.
    """
    layout, document = unit.layout, stored.document
    projection = _projection(unit, document, refused, found)
    envelope = {
        FORMAT: 1,
        "created": stored.created,
        "standard": projection.values,
        **({"secrets": secrets} if secrets else {}),
        "document": document,
    }
    lookups, others = _lookups(layout, document, refused)
    inexact = projection.inexact | others
    if len(data := orjson.dumps(envelope)) > _LARGEST:
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
    encoded = {name: [t.encode() for t in texts] for name, texts in values.items()} | {layout.data: [data]}
    return encoded, _classes(unit, projection, inexact)


def _projection(
    unit: Unit, document: Mapping[str, Any], refused: Collection[str], found: Located | None
) -> Projection:
    """Return the projection of a resource. Values of others stay beside values that do not change."""
    new = unit.standard.project(document, refused)
    if found is None:
        return new
    before = unit.standard.project(found.stored.document, ()).values
    values = {
        name: present if texts == before[name] and set(texts) < set(present) else texts
        for name, texts in new.values.items()
        for present in (found.standard.get(name, []),)
    }
    return replace(new, values=values)


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
    """Return the modifications from an entry to the result of `attributes_of`; other attributes stay.

    They delete old values one by one, and fail if another writer has changed one. The JSON has no equality
    rule: it is replaced, and other values beside it stay.
    """
    entry = found.entry
    rdn = rdn_of(entry.dn)
    wanted = dict(values)
    for layout in LAYOUTS:
        if found.layout is layout and layout is not unit.layout:
            wanted |= {name: [] for name in layout.attributes if name not in values}
    is_old = bool(set(OLD_CLASSES) & set(entry.values("objectClass")))
    if found.layout is None and is_old:
        wanted = {"info": [], "email": [], **wanted}
    modifications: list[Modification] = []
    for name, new in wanted.items():
        named = rdn.get(name.lower())
        if named is not None and named.encode() not in new:
            # An entry cannot lose the value in its RDN.
            new = [*new, named.encode()]
        old = entry.attributes.get(name.lower(), ())
        if name in _JSON and not is_old:
            new = [*new, *(value for value in old if not value.startswith(DATA))]
        modifications += _changes(name, old, new)
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


def _changes(name: str, old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[Modification]:
    """Yield the modifications of one attribute."""
    if name in _JSON:
        yield ldap.MOD_REPLACE, name, [*new] or None
        return
    if gone := [value for value in old if value not in new]:
        yield ldap.MOD_DELETE, name, gone
    if coming := [value for value in new if value not in old]:
        yield ldap.MOD_ADD, name, coming


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


def kept_secrets(hasher: Hasher, stored: StoredResource, known: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of secrets after a write: one of `known` stays if its secret is the same."""
    new = {path: value for path, value in stored.secrets.items() if path != PASSWORD}
    known = {path: hashed for path, hashed in known.items() if path not in stored.removed_secrets}
    hashed = {
        path: hasher.hash(value) for path, value in new.items() if not hasher.fits(known.get(path), value)
    }
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
