"""From settings to the adapter of an LDAP directory."""

from storage.foreign_entries import ForeignEntries
from storage.hashing import Hasher
from storage.ldap.adapter import LdapAdapter
from storage.ldap.claims import UNIT
from storage.ldap.options import Options
from storage.ldap.server import Target


def open_adapter(options: Options) -> LdapAdapter:
    """Return an adapter on the tree below `ldap_basename`, without connecting to the server.

    Raises ValueError for a name that cannot be used.
    """
    units = options.table_names
    if UNIT in (name.lower() for name in units.values()):
        raise ValueError(f"{UNIT} cannot be the organizational unit of resources")
    url = options.ldap_hostname
    target = Target(
        url if "://" in url else f"ldap://{url}",
        options.ldap_username or f"cn=admin,{options.ldap_basename}",
        options.ldap_password,
        options.ldap_start_tls,
        str(options.ldap_ca_file) if options.ldap_ca_file else None,
    )
    return LdapAdapter(
        target,
        options.ldap_basename,
        units,
        options.ldap_pool_size,
        foreign_entries=ForeignEntries(options.foreign_entries),
        hasher=Hasher(options),
    )
