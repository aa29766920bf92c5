"""From settings to the adapter of an iRODS zone."""

import re

from storage.irods.adapter import IrodsAdapter
from storage.irods.options import Options
from storage.irods.sessions import Login

_ZONE = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def open_adapter(options: Options) -> IrodsAdapter:
    """Return an adapter on a zone, without connecting to it.

    Raises ValueError for settings that cannot be used together.
    """
    if options.irods_authentication == "pam" and not options.irods_tls:
        raise ValueError("IRODS_AUTHENTICATION=pam needs IRODS_TLS: else the password is sent unencrypted")
    if not _ZONE.fullmatch(options.irods_zone):
        raise ValueError("IRODS_ZONE must be a name of letters, digits and _ . -")
    ca_file = options.irods_ca_file
    if options.irods_tls and ca_file is not None and not ca_file.is_file():
        raise ValueError(f"IRODS_CA_FILE: there is no file {ca_file}")
    login = Login(
        options.irods_host,
        options.irods_port,
        options.irods_zone,
        options.irods_admin_username,
        options.irods_admin_password,
        options.irods_authentication,
        options.irods_tls,
        ca_file,
    )
    return IrodsAdapter(login, options.remote_timeout, options.remote_pool_size)
