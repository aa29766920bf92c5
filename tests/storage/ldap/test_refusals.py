"""Directories that cannot hold resources, or refuse changes for good: nothing of a change stays."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import ldap as ldap_client
import pytest
from click.testing import CliRunner

from app.cli import main
from schema.values import format_date_time
from storage.adapter import Member
from storage.errors import (
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    UnsupportedByBackend,
)
from storage.foreign_entries import ForeignEntries
from storage.hashing import Hasher
from storage.ldap.adapter import LdapAdapter
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.server import Target
from storage.shared_options import Hashing
from storage.testing import GROUP, REGISTRY, USER, change_members, members_of, stored
from tests.backends import open_backend
from tests.openldap import ADMIN, PASSWORD, SUFFIX, LdapServer
from tests.storage.ldap.conftest import Place, Start, make_place

ACCOUNT = f"cn=scim,{SUFFIX}"
BASE = f"ou=t1,{SUFFIX}"
_READ = f'access to dn.subtree="{SUFFIX}" by dn.exact="{ACCOUNT}" read by * read'
_WRITE = f'access to dn.subtree="{SUFFIX}" by dn.exact="{ACCOUNT}" write by * read'
# A person with the classes that users have, and hardly an attribute.
_MINIMAL = """
attributetype ( 1.3.6.1.4.1.4203.666.1.1 NAME 'displayName'
\tEQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )

objectclass ( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP organizationalPerson STRUCTURAL MAY uid )
"""


def below(server: LdapServer, base: str) -> list[str]:
    """Return the entries below a base, and those of its units."""
    connection = server.connect()
    found = [dn for dn, _ in server.entries(connection, base, "(objectClass=*)") if dn != base]
    connection.unbind_s()
    return sorted(found)


def opened(server: LdapServer, base: str, **options: Any) -> Any:
    return open_backend("ldap", **server.options(base) | options)


# -- what the schema lacks


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"with_schema": False}, "the object class inetOrgPerson; the attribute type uniqueIdentifier"),
        ({"schema": _MINIMAL}, "the attribute givenName in an entry of the classes top, person, "),
    ],
)
def test_a_directory_whose_schema_lacks_something_is_refused(
    start_server: Start, options: dict[str, Any], said: str
) -> None:
    server = start_server(standard=("core",), **options)
    base = server.new_database()

    with pytest.raises(StorageUnavailable, match=f"cannot hold resources: its schema lacks .*{said}"):
        opened(server, base).prepare(REGISTRY.resource_types)

    assert below(server, base) == []


def test_a_directory_like_active_directory_is_refused(plain_ldap: LdapServer) -> None:
    def without(server: ServerCapabilities) -> ServerCapabilities:
        return replace(server, classes=server.classes - {"extensibleobject"})

    base = plain_ldap.new_database()
    target = Target(plain_ldap.url, ADMIN, PASSWORD)
    adapter = LdapAdapter(
        target, base, {}, 10, without, foreign_entries=ForeignEntries(), hasher=Hasher(Hashing())
    )

    with pytest.raises(StorageUnavailable, match="lacks the object class extensibleObject$"):
        adapter.prepare(REGISTRY.resource_types)

    assert below(plain_ldap, base) == []


# -- what may not be changed


def restricted(start_server: Start, access: Sequence[str], before: Callable[[Any], object]) -> Place:
    """Return a base that had no restriction while `before` used it, and an adapter with an account."""
    server = start_server()
    place = make_place(server)
    before(place.adapter)
    connection = server.connect()
    account = [("objectClass", [b"device", b"simpleSecurityObject"]), ("userPassword", b"pw")]
    connection.add_s(ACCOUNT, account)
    connection.unbind_s()
    server.stop()
    limits = f'limits dn.exact="{ACCOUNT}" size.prtotal=unlimited'
    server.configure(["access to attrs=userPassword by anonymous auth", *access, limits])
    server.restart()
    adapter = opened(server, place.base, ldap_username=ACCOUNT, ldap_password="pw")
    adapter.prepare(REGISTRY.resource_types)
    return Place(server, place.base, adapter)


def some(adapter: Any) -> None:
    adapter.create(USER, stored("a", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))


@pytest.mark.parametrize(
    "access",
    [
        [_READ],
        [_READ.replace(SUFFIX, f"ou=Users,{BASE}", 1), _READ.replace(SUFFIX, f"ou=Groups,{BASE}", 1), _WRITE],
        [_READ.replace(SUFFIX, f"ou=scim-unique,{BASE}", 1), _WRITE],
    ],
    ids=["everything", "resources", "reservations"],
)
def test_an_account_without_the_right_to_write_leaves_nothing(
    start_server: Start, access: Sequence[str]
) -> None:
    place = restricted(start_server, access, some)
    before = below(place.server, place.base)

    with pytest.raises(StorageReadOnly):
        place.adapter.check_writable()
    changes: list[Callable[[], object]] = [
        lambda: place.adapter.create(USER, stored("b", userName="b", externalId="b")),
        lambda: place.adapter.replace(USER, stored("a", userName="c")),
    ]
    for change in changes:
        with pytest.raises(StorageReadOnly):
            change()

    assert below(place.server, place.base) == before
    assert place.adapter.get(USER, "a").document["userName"] == "a"


def test_an_account_that_may_write_below_the_units_alone_may_write(start_server: Start) -> None:
    entries = "|".join(("Users", "Groups", "scim-unique"))
    kept = f'access to dn.regex="^ou=({entries}),{BASE}$" attrs=description,ou,objectClass by * read'
    place = restricted(start_server, [kept, _WRITE], some)
    before = below(place.server, place.base)

    place.adapter.check_writable()

    assert below(place.server, place.base) == before
    place.adapter.create(USER, stored("b", userName="b"))


def test_a_base_that_cannot_be_written_is_not_begun(start_server: Start) -> None:
    server = start_server()
    base = server.new_database()
    server.stop()
    server.configure(["readonly on"])
    server.restart()

    with pytest.raises(StorageReadOnly):
        opened(server, base).prepare(REGISTRY.resource_types)

    assert below(server, base) == []


def test_an_entry_that_cannot_be_deleted_stays_a_resource(place: Place) -> None:
    some(place.adapter)
    change_members(place.adapter, "g", [Member("a", "User")], ())
    dn = place.entry("(uid=a)", "1.1")["dn"][0].decode()
    before = place.adapter.get(USER, "a")
    place.add(f"cn=book,{dn.removesuffix(f',{place.base}')}", objectClass=b"device")

    for _ in range(2):
        with pytest.raises(UnsupportedByBackend, match="cannot make the change"):
            place.adapter.delete(USER, "a", place.adapter.get(USER, "a").version)

    after = place.adapter.get(USER, "a")
    assert (after.document, after.last_modified) == (before.document, before.last_modified)
    assert [m.resource_id for m in members_of(place.adapter, "g")] == ["a"]
    with pytest.raises(UniquenessConflict):
        place.adapter.create(USER, stored("b", userName="A"))
    place.adapter.replace(USER, stored("a", userName="c"))
    connection = place.server.connect()
    connection.delete_s(f"cn=book,{dn}")
    connection.unbind_s()
    place.adapter.delete(USER, "a")


def test_an_account_that_may_not_delete_leaves_the_entry_a_resource(start_server: Start) -> None:
    no_delete = f'access to dn.subtree="{SUFFIX}" attrs=entry by dn.exact="{ACCOUNT}" =arscxd by * read'
    place = restricted(start_server, [no_delete, _WRITE], some)

    with pytest.raises(StorageReadOnly):
        place.adapter.delete(USER, "a")

    assert place.adapter.get(USER, "a").document["userName"] == "a"
    place.adapter.replace(USER, stored("a", userName="b"))


def test_an_entry_that_may_not_be_changed_does_not_end_an_adoption(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = f'access to dn.base="uid=a,ou=Users,{BASE}" by dn.exact="{ACCOUNT}" read by * read'
    place = restricted(start_server, [kept, _WRITE], lambda adapter: None)
    for name in "ab":
        place.add(f"uid={name},ou=Users", objectClass=b"inetOrgPerson", cn=b"x", sn=b"x")
    environ = {**place.server.environ(place.base), "LDAP_USERNAME": ACCOUNT, "LDAP_PASSWORD": "pw"}
    for name, value in {**environ, "API_KEY": "key", "LOGLEVEL": "CRITICAL"}.items():
        monkeypatch.setenv(name, value)

    adopted = CliRunner().invoke(main, ["adopt", "id pr"])

    assert adopted.exit_code == 1
    assert "does not accept the change" in adopted.stderr
    assert adopted.stdout.splitlines()[-1] == "adopted 1, failed 1"
    assert [one.document["userName"] for one in place.adapter.scan(USER)] == ["b"]


def test_an_interrupted_deletion_keeps_its_id_for_a_while(place: Place) -> None:
    some(place.adapter)
    layout = place.adapter._tree.units["User"].layout
    dn = place.entry("(uid=a)", "1.1")["dn"][0]

    def begin(at: datetime) -> None:
        begun = layout.time(format_date_time(at)).encode()
        marks = [(ldap_client.MOD_REPLACE, layout.version, b"0")]
        place.change(dn, *marks, (ldap_client.MOD_REPLACE, layout.modified, begun))

    begin(datetime.now(UTC))
    with pytest.raises(UniquenessConflict, match="id"):
        place.adapter.create(USER, stored("a", userName="z"))
    begin(datetime.now(UTC) - timedelta(seconds=40))
    place.adapter.create(USER, stored("a", userName="z"))

    assert [one.document["userName"] for one in place.adapter.scan(USER)] == ["z"]
