"""Resources in an LDAP directory, through python-ldap."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from storage.ldap.adapter import LdapAdapter
from storage.ldap.claims import UNIT
from storage.ldap.connections import Target

_NO_UNITS: Mapping[str, str] = MappingProxyType({})


def open_adapter(
    url: str,
    base: str,
    username: str,
    password: str,
    start_tls: bool = False,
    ca_file: Path | str | None = None,
    pool_size: int = 10,
    units: Mapping[str, str] = _NO_UNITS,
) -> LdapAdapter:
    """Return an adapter on the tree below `base`, without connecting to the server.

    `url` may be a host, host:port, or an LDAP URI. `units` names the organizational units of
    resource types that are not called as their endpoint. Raises ValueError for a name that cannot be
    used.
    """
    if UNIT in (name.lower() for name in units.values()):
        raise ValueError(f"{UNIT} cannot be the organizational unit of resources")
    target = Target(
        url if "://" in url else f"ldap://{url}",
        username,
        password,
        start_tls,
        str(ca_file) if ca_file else None,
    )
    return LdapAdapter(target, base, units, pool_size)
