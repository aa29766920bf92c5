"""The base and its organizational units: a start makes them, if the directory can hold resources at all."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from uuid import uuid4

import ldap
from ldap.dn import dn2str, escape_dn_chars, str2dn

from schema.resource_type import ResourceType
from storage.errors import StorageUnavailable
from storage.foreign_entries import ForeignEntries
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.claims import UNIT
from storage.ldap.form import Unit
from storage.ldap.layout import ENTRY_DN, equality
from storage.ldap.server import sentence
from storage.ldap.wire import Attributes, Session
from storage.ldap.write import classes_of

_CLAIM = ("cn", "description", "o", "serialNumber")


def canonical(base: str) -> str:
    """Return a DN without needless escapes and spaces. Raises StorageUnavailable for an invalid one."""
    try:
        parts = str2dn(base)
    except ldap.DECODING_ERROR:
        parts = []
    if not parts:
        raise StorageUnavailable(f"LDAP_BASENAME: {base!r} is not a DN such as dc=example,dc=org")
    name: str = dn2str(parts)
    return name


def prepare(
    session: Session,
    server: ServerCapabilities,
    base: str,
    names: Mapping[ResourceType, str],
    foreign_entries: ForeignEntries,
) -> list[Unit]:
    """Make the units of resource types that are missing, called by `names`, and return all of them.

    Raises StorageUnavailable, and makes nothing, if the directory cannot hold the resources.
    """
    kinds = [Unit(one, base, server, foreign_entries) for one in names]
    lacking = list(dict.fromkeys(_lacking(server, kinds)))
    if lacking:
        text = "; ".join(lacking)
        raise StorageUnavailable(f"the directory cannot hold resources: its schema lacks {text}")
    _make_base(session, base)
    units = []
    for one, name in names.items():
        dn = _made_unit(session, base, name)
        units.append(Unit(one, dn, server, foreign_entries))
        units[-1].has_others = session.has(dn, units[-1].layout.others_filter)
        units[-1].finds_names = session.has(dn, equality(ENTRY_DN, dn))
    _made_unit(session, base, UNIT)
    return units


def _lacking(server: ServerCapabilities, units: Iterable[Unit]) -> Iterable[str]:
    yield from server.lacks(["organizationalUnit"], ["ou"])
    yield from server.lacks(["device"], _CLAIM)
    for unit in units:
        layout, is_group = unit.layout, unit.resource_type.members is not None
        optional = [layout.inexact_class] if layout.inexact_class else []
        # An entry gets the class of this attribute together with it.
        standard = [name for name in unit.standard.attributes if name != "sshPublicKey"]
        members = ["member", layout.display] if is_group else []
        classes = [*classes_of(unit), layout.resource_class, *optional]
        yield from server.lacks(classes, [*layout.attributes, *standard, *members])


def _made_unit(session: Session, base: str, name: str) -> str:
    """Return the DN of a unit in the spelling of the server, in which the DNs of its entries end."""
    dn = f"ou={escape_dn_chars(name)},{base}"
    for _ in range(2):
        entry = session.read(dn, ["1.1"])
        if entry is not None:
            return entry.dn
        with suppress(ldap.ALREADY_EXISTS):
            session.add(dn, {"objectClass": [b"organizationalUnit"], "ou": [name.encode()]})
    raise StorageUnavailable(f"the directory does not let the server read the entry {dn}")


def _make_base(session: Session, base: str) -> None:
    """Add a missing entry at the base, if its RDN is of `dc`, `o` or `ou`. Raises StorageUnavailable."""
    if session.read(base, ["1.1"]) is not None:
        return
    attribute, value, _ = str2dn(base)[0][0]
    name, classes = value.encode(), {"ou": [b"organizationalUnit"], "o": [b"organization"]}
    attributes = {"objectClass": classes.get(attribute.lower(), []), attribute: [name]}
    if attribute.lower() == "dc":
        attributes |= {"objectClass": [b"dcObject", b"organization"], "o": [name]}
    if not attributes["objectClass"]:
        raise StorageUnavailable(f"there is no entry {base} in the directory")
    try:
        session.add(base, attributes)
    except ldap.ALREADY_EXISTS:
        return
    except (ldap.NO_SUCH_OBJECT, ldap.UNWILLING_TO_PERFORM) as exc:
        raise StorageUnavailable(f"{base} is not in the directory: {sentence(exc)}") from exc


def require_units(session: Session, names: Iterable[str]) -> None:
    """Raise StorageUnavailable unless there are entries with these DNs."""
    for dn in names:
        if session.read(dn, ["1.1"]) is None:
            raise StorageUnavailable(f"there is no entry {dn} in the directory")


def require_write_access(session: Session, names: Iterable[str]) -> None:
    """Return if the account may write entries below these DNs; the server raises its refusal otherwise."""
    for dn in names:
        nobody = uuid4().hex.encode()
        try:
            # A server looks for permission before it looks for the value, which no entry has.
            session.modify(dn, [(ldap.MOD_DELETE, "description", [nobody])])
        except ldap.NO_SUCH_ATTRIBUTE:
            continue
        except ldap.INSUFFICIENT_ACCESS:
            # The account may have to leave this entry alone, and may add entries below.
            probe: Attributes = {"objectClass": [b"device"], "cn": [nobody]}
            session.add(f"cn={nobody.decode()},{dn}", probe)
            session.delete(f"cn={nobody.decode()},{dn}")
