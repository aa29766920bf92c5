"""The settings of an LDAP directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import urlsplit

from storage import option_types as types
from storage.options import StorageOptions, pool_size, secret, setting
from storage.shared_options import Foreign, Hashing, Names


def ldap_url(value: str) -> str:
    """a host, `host:port`, or a URL that begins with `ldap://`, `ldaps://` or `ldapi://`"""
    url = value if "://" in value else f"ldap://{value}"
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("ldap", "ldaps", "ldapi") and bool(parts.netloc) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.path not in ("", "/"):
        raise ValueError("must be a host, host:port, or a URL such as ldaps://ldap.example.org")
    return url.rstrip("/")


@dataclass(frozen=True)
class Options(Names, Foreign, Hashing, StorageOptions):
    """LDAP"""

    address: ClassVar[str] = "ldap_hostname"
    precedence: ClassVar[int] = 1
    drivers: ClassVar[Mapping[str, str]] = MappingProxyType({"ldap": "ldap"})
    debian: ClassVar[str] = "gcc libc6-dev python3-dev libldap-dev libsasl2-dev"

    ldap_hostname: str = setting(
        "",
        ldap_url,
        "The LDAP server: a host, `host:port`, or a URL such as `ldaps://ldap.example.org`.",
        "The setting selects this backend. A host without a scheme means `ldap://`.",
    )
    ldap_basename: str = setting(
        "dc=example,dc=org", types.text, "The entry of the tree below which the server keeps its units."
    )
    ldap_username: str = setting(
        "",
        types.text,
        "The distinguished name that the server binds as.",
        shown="`cn=admin,` followed by `LDAP_BASENAME`",
    )
    ldap_password: str = secret("", types.text, "The password that the server binds with.")
    ldap_start_tls: bool = setting(
        False, types.flag, "`true`: the server encrypts the connection by StartTLS before it binds."
    )
    ldap_ca_file: Path | None = setting(
        None,
        types.folder,
        "A PEM file with the certificate authorities that the server trusts for LDAP.",
        shown="the authorities of the system",
    )
    ldap_pool_size: int = pool_size("LDAP", 30)
