"""A real OpenLDAP for the tests: slapd on a free port, in a folder of its own."""

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ldap
from ldap.controls.libldap import SimplePagedResultsControl

import storage.ldap
from tests.ports import free_port
from tests.servers import ServerProcess, program

SUFFIX = "dc=example,dc=org"
ADMIN = f"cn=admin,{SUFFIX}"
PASSWORD = "secret"

_INDEXES = (
    "objectClass,entryUUID,entryCSN,member eq",
    "uid,cn,mail,sn,givenName,displayName,telephoneNumber,mobile eq,sub,pres",
)
_OWN_INDEXES = ("scimId,scimExternalId,scimActive,scimPlace,scimCreated,scimLastModified,scimInexact eq",)

_OWN = "scimVersion,scimExternalId,scimActive"
_STANDARD = ("core", "cosine", "inetorgperson")
_LATER_UNIQUE = "what becomes unique later is claimed when an entry is next changed"


@dataclass(frozen=True)
class Overlays:
    """Lines of a configuration that come after the database, and the modules for them."""

    directives: Sequence[str]
    modules: Sequence[str]


# Two bases may have one value.
_EACH_BASE = [f'unique_uri "serialize ldap:///ou=t{number},{SUFFIX}?uid?sub"' for number in range(1, 100)]
GUARDS = Overlays(
    [
        *("overlay unique", *_EACH_BASE),
        # Looks for values where none is.
        f'unique_uri "ldap:///{SUFFIX}?cn,sn,mail,displayName,title,{_OWN}?sub?(objectClass=country)"',
        *("overlay memberof", "memberof-group-oc groupOfMembers", "memberof-member-ad member"),
        *("overlay refint", "refint_attributes member owner"),
        *("overlay ppolicy", f'ppolicy_default "cn=policy,{SUFFIX}"', "ppolicy_hash_cleartext"),
    ],
    ["unique", "memberof", "refint", "ppolicy"],
)


class LdapServer(ServerProcess):
    """slapd with the schema that we ship, or without; a database is a subtree of one suffix."""

    limits: Mapping[str, str] = {
        "test_an_attribute_that_becomes_unique_is_from_then_on": _LATER_UNIQUE,
        "test_who_shares_a_value_that_becomes_unique_is_named": _LATER_UNIQUE,
    }

    def __init__(
        self,
        with_schema: bool = True,
        directives: Sequence[str] = (),
        modules: Sequence[str] = (),
        schemes: Sequence[str] = ("ldap",),
        files: Mapping[str, str] = MappingProxyType({}),
        before: Sequence[str] = (),
        schema: str = "",
        standard: Sequence[str] = _STANDARD,
    ) -> None:
        super().__init__("openldap")
        self.with_schema = with_schema
        self._standard = standard
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self._is_encrypted = bool(files)
        self._before = before
        self._schema = schema
        self.configure(directives, modules)
        slapd = program("slapd", "/usr/sbin/slapd")
        self.urls = [f"{s}://127.0.0.1:{free_port() if i else self.port}" for i, s in enumerate(schemes)]
        command = [slapd, "-f", str(self.folder / "slapd.conf"), "-h", " ".join(self.urls), "-d", "stats"]
        self.start(command, self._ask)
        self._databases = 0

    def configure(self, directives: Sequence[str] = (), modules: Sequence[str] = ()) -> None:
        """Write the configuration, for the next start."""
        folder = self.folder
        certificates = [
            f"TLSCACertificateFile {folder}/ca.pem",
            f"TLSCertificateFile {folder}/server.pem",
            f"TLSCertificateKeyFile {folder}/server.key",
        ]
        shipped = Path(storage.ldap.__file__).parent
        schemas = [f"/etc/ldap/schema/{name}.schema" for name in self._standard]
        if self._schema:
            (self.folder / "more.schema").write_text(self._schema)
            schemas.append(str(self.folder / "more.schema"))
        for name in ("scim.schema", "groupofmembers.schema") if self.with_schema else ():
            # The server may not be allowed to read where the package is.
            schemas.append(str(shutil.copy(shipped / name, self.folder)))
        indexes = (*_INDEXES, *(_OWN_INDEXES if self.with_schema else ()))
        if self._standard != _STANDARD:
            # Attributes of other schemas cannot be indexed.
            indexes = ()
        self.run("mkdir", "-p", str(self.folder / "db"))
        lines = [
            *(f"include {schema}" for schema in schemas),
            "modulepath /usr/lib/ldap",
            *(f"moduleload {module}" for module in ("back_mdb", *modules)),
            *(certificates if self._is_encrypted else ()),
            *self._before,
            "database mdb",
            f'suffix "{SUFFIX}"',
            f'rootdn "{ADMIN}"',
            f"rootpw {PASSWORD}",
            f"directory {self.folder}/db",
            "maxsize 1073741824",
            "dbnosync",
            *(f"index {index}" for index in indexes),
            *directives,
        ]
        (self.folder / "slapd.conf").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """The URI of the first listener."""
        return self.urls[0]

    def connect(self, username: str = ADMIN, password: str = PASSWORD) -> Any:
        """Return a connection of an ordinary LDAP client."""
        connection = ldap.initialize(f"ldap://127.0.0.1:{self.port}")
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
        connection.simple_bind_s(username, password)
        return connection

    def _ask(self) -> None:
        self.connect().unbind_s()

    @classmethod
    def guarded(cls) -> "LdapServer":
        """Return a server whose overlays look at other entries, and change them, during each write."""
        server = cls(directives=GUARDS.directives, modules=GUARDS.modules)
        server.new_database()
        connection = server.connect()
        policy = [("objectClass", [b"device", b"pwdPolicy"]), ("pwdAttribute", b"userPassword")]
        policy += [("pwdLockout", b"TRUE"), ("pwdMaxFailure", b"5"), ("pwdInHistory", b"2")]
        connection.add_s(f"cn=policy,{SUFFIX}", policy)
        connection.unbind_s()
        return server

    def new_database(self) -> str:
        """Return the name of a base with nothing below it."""
        self._databases += 1
        base = f"ou=t{self._databases},{SUFFIX}"
        connection = self.connect()
        with suppress(ldap.ALREADY_EXISTS):
            organization = [("objectClass", [b"dcObject", b"organization"]), ("dc", b"example"), ("o", b"x")]
            connection.add_s(SUFFIX, organization)
        connection.add_s(base, [("objectClass", b"organizationalUnit")])
        connection.unbind_s()
        return base

    def environ(self, database: str) -> dict[str, str]:
        return {
            "LDAP_HOSTNAME": self.url,
            "LDAP_BASENAME": database,
            "LDAP_USERNAME": ADMIN,
            "LDAP_PASSWORD": PASSWORD,
        }

    def options(self, database: str) -> dict[str, Any]:
        """Return the options of an adapter on a base."""
        return {name.lower(): value for name, value in self.environ(database).items()}

    def empty(self, database: str) -> None:
        """Delete every entry below a base but for its units."""
        connection = self.connect()
        names = [dn for dn, _ in self.entries(connection, database)]
        # Many at a time, but slapd does not let 1000 operations wait.
        for start in range(0, len(names), 200):
            for message in [connection.delete(dn) for dn in names[start : start + 200]]:
                connection.result(message)
        connection.unbind_s()

    @staticmethod
    def entries(
        connection: Any, base: str, text: str = "(!(objectClass=organizationalUnit))", *attributes: str
    ) -> list[tuple[str, dict[str, list[bytes]]]]:
        """Return the entries below a base as an ordinary client sees them, however many there are."""
        paging = SimplePagedResultsControl(True, size=500, cookie="")
        found: list[tuple[str, dict[str, list[bytes]]]] = []
        while True:
            message = connection.search_ext(
                base, ldap.SCOPE_SUBTREE, text, list(attributes) or ["1.1"], serverctrls=[paging]
            )
            _, entries, _, controls = connection.result3(message)
            found += [(dn, values) for dn, values in entries if dn]
            paging.cookie = controls[0].cookie
            if not paging.cookie:
                return found

    def log(self, since: int = 0) -> str:
        """Return what slapd has logged from a position on: each operation, its parameters and its result.

        It logs a result after it has sent it: that is waited for.
        """
        path, end = self.folder / "log", time.monotonic() + 2
        while True:
            with path.open(errors="replace") as file:
                file.seek(since)
                text = file.read()
            asked = set(re.findall(r"(conn=\d+ op=\d+) SRCH base", text))
            answered = set(re.findall(r"(conn=\d+ op=\d+) SEARCH RESULT", text))
            if asked <= answered or time.monotonic() > end:
                return text
            time.sleep(0.005)

    def logged(self) -> int:
        """Return the position in the log behind all that has been asked."""
        self.log(max(0, (self.folder / "log").stat().st_size - 100_000))
        return (self.folder / "log").stat().st_size
