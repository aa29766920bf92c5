"""What is written for a resource: the attributes and classes of its entry."""

from collections.abc import Collection, Mapping
from typing import Any

import ldap
import orjson

from storage.adapter import StoredResource
from storage.errors import ValueRefused
from storage.index_keys import number_at
from storage.ldap.form import FORMAT, Located, Unit, rdn_of
from storage.ldap.layout import LAYOUTS, OLD_CLASSES, Layout
from storage.ldap.mapping import Projection
from storage.ldap.matching import is_exact
from storage.ldap.wire import Modification

# A server takes 4 MiB at once, and says nothing when it is more.
_LARGEST = 4_000_000
_KEY_CLASS = "ldapPublicKey"


def laid_out(
    unit: Unit,
    stored: StoredResource,
    version: int,
    secrets: Mapping[str, str],
    refused: Collection[str],
) -> tuple[dict[str, list[bytes]], frozenset[str]]:
    """Return every attribute that an entry of the resource has, and the classes it needs more.

    What has no values must be absent. Raises ValueRefused for what is too large.
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
    data = orjson.dumps(envelope)
    if len(data) > _LARGEST:
        raise ValueRefused(f"the resource is larger than {_LARGEST} bytes")
    values: dict[str, list[str]] = {
        **projection.values,
        layout.id: [stored.id],
        layout.version: [str(version)],
        layout.place: [str(number_at(stored.place))],
        layout.modified: [layout.time(stored.last_modified)],
        **_found_by(unit.layout, document, refused),
    }
    if layout.created:
        values[layout.created] = [layout.time(stored.created)]
    inexact = projection.inexact | _inexact(unit.layout, document, refused)
    if layout.inexact is not None:
        values[layout.inexact] = sorted(inexact)
    encoded = {name: [text.encode() for text in texts] for name, texts in values.items()}
    encoded[layout.data] = [data]
    return encoded, _classes(unit, projection, inexact)


def _found_by(
    layout: Layout, document: Mapping[str, Any], refused: Collection[str]
) -> dict[str, list[str]]:
    """Return the attributes that are there to be found by, other than standard ones."""
    external_id = document.get("externalId")
    kept = isinstance(external_id, str) and external_id and "\0" not in external_id
    wanted = [str(external_id)] if kept and layout.external_id not in refused else []
    values = {layout.external_id: wanted}
    if layout.active:
        active = document.get("active")
        values[layout.active] = [str(active).upper()] if isinstance(active, bool) else []
    return values


def _inexact(layout: Layout, document: Mapping[str, Any], refused: Collection[str]) -> set[str]:
    external_id = document.get("externalId")
    name = layout.external_id
    if isinstance(external_id, str) and external_id:
        if name in refused or not is_exact(external_id):
            return {name}
    return set()


def _classes(unit: Unit, projection: Projection, inexact: Collection[str]) -> frozenset[str]:
    classes = {unit.layout.resource_class}
    if inexact and unit.layout.inexact_class:
        classes.add(unit.layout.inexact_class)
    if projection.values.get("sshPublicKey") and unit.key_class:
        classes.add(_KEY_CLASS)
    return frozenset(classes)


def changes(
    unit: Unit, found: Located, values: Mapping[str, list[bytes]], classes: frozenset[str]
) -> list[Modification]:
    """Return what makes an entry what `laid_out` returned, and leaves alone what is not ours."""
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
            # An entry cannot lose what it is called by.
            new = [*new, named.encode()]
        if sorted(new) != sorted(entry.attributes.get(name.lower(), ())):
            modifications.append((ldap.MOD_REPLACE, name, new or None))
    had = {name.lower() for name in entry.values("objectClass")}
    joining = [name.encode() for name in sorted(classes) if name.lower() not in had]
    if joining:
        modifications.insert(0, (ldap.MOD_ADD, "objectClass", joining))
    optional = [unit.layout.inexact_class]
    if unit.key_class and values.get("sshPublicKey") == []:
        # On some servers, an entry of this class may not be without a key.
        optional.append(_KEY_CLASS)
    for unneeded in optional:
        if unneeded and unneeded not in classes and unneeded.lower() in had:
            modifications.append((ldap.MOD_DELETE, "objectClass", [unneeded.encode()]))
    return modifications
