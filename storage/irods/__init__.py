"""Users and groups in an iRODS zone."""

import re
from pathlib import Path

from storage.irods.adapter import IrodsAdapter
from storage.irods.sessions import Login

_ZONE = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def open_adapter(
    host: str,
    port: int,
    zone: str,
    username: str,
    password: str,
    authentication: str = "native",
    tls: bool = False,
    ca_file: Path | None = None,
    timeout_s: float = 10.0,
    pool_size: int = 10,
) -> IrodsAdapter:
    """Return an adapter on a zone, without connecting to it.

    Raises ValueError for settings that cannot be used together.
    """
    if authentication == "pam" and not tls:
        raise ValueError("IRODS_AUTHENTICATION=pam needs IRODS_TLS: else the password is sent unencrypted")
    if not _ZONE.fullmatch(zone):
        raise ValueError("IRODS_ZONE must be a name of letters, digits and _ . -")
    if tls and ca_file is not None and not ca_file.is_file():
        raise ValueError(f"IRODS_CA_FILE: there is no file {ca_file}")
    login = Login(host, port, zone, username, password, authentication, tls, ca_file)
    return IrodsAdapter(login, timeout_s, pool_size)
