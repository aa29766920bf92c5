"""The settings of iRODS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, secret, setting
from storage.shared_options import Foreign, Remote


@dataclass(frozen=True)
class Options(Foreign, Remote, StorageOptions):
    """iRODS"""

    address: ClassVar[str] = "irods_host"
    precedence: ClassVar[int] = 6
    drivers: ClassVar[Mapping[str, str]] = MappingProxyType({"irods": "irods"})

    irods_host: str = setting("", types.text, "The iRODS server.", "The setting selects this backend.")
    irods_port: int = setting(
        1247,
        types.port,
        "The port of the iRODS server.",
        "The value that Kubernetes sets for a service called `irods`, such as `tcp://10.0.0.1:1247`, has no"
        " effect.",
    )
    irods_zone: str = setting("tempZone", types.text, "The zone of the accounts.")
    irods_admin_username: str = setting(
        "rods", types.text, "The account that the server logs in with. Its type is `rodsadmin`."
    )
    irods_admin_password: str = secret("", types.text, "The password of this account.")
    irods_authentication: str = setting(
        "native",
        types.one_of("native", "pam"),
        "How the account logs in.",
        "`pam` without `IRODS_TLS` stops the start.",
    )
    irods_tls: bool = setting(False, types.flag, "`true`: the connection to iRODS is encrypted.")
    irods_ca_file: Path | None = setting(
        None,
        types.folder,
        "A PEM file with the certificate authorities that the server trusts for iRODS.",
        shown="the authorities of the system",
    )

    def problems(self) -> Sequence[str]:
        if self.irods_host and self.irods_authentication == "pam" and not self.irods_tls:
            return ["IRODS_AUTHENTICATION: pam needs IRODS_TLS"]
        return ()
