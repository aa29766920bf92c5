"""Servers that refuse, that are encrypted, that set limits, and how they get the schema."""

import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ldap
import pytest
from ldif import LDIFRecordList

import storage.ldap
from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection
from storage.errors import (
    BackendTimeout,
    StorageReadOnly,
    StorageUnavailable,
    ValueRefused,
)
from storage.search import search
from storage.testing import GROUP, REGISTRY, USER, change_members, members_of, represent, stored
from tests.backends import open_backend
from tests.openldap import ADMIN, SUFFIX, LdapServer
from tests.storage.ldap.conftest import Start, make_place


def opened(server: LdapServer, base: str, **options: Any) -> Any:
    adapter = open_backend("ldap", **server.options(base) | options)
    adapter.prepare(REGISTRY.resource_types)
    return adapter


def found(adapter: Any, text: str) -> list[str]:
    selection = Selection(resolve(parse_filter(text), USER))
    return [r.id for r in search(adapter, USER, selection, represent).resources]


# -- what the server refuses


@pytest.mark.parametrize("start_tls", [False, True])
def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, start_tls: bool) -> None:
    monkeypatch.setattr("storage.ldap.server._ANSWER_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        options = {"ldap_hostname": url, "ldap_basename": SUFFIX, "ldap_start_tls": start_tls}

        with pytest.raises(BackendTimeout):
            open_backend("ldap", **options).prepare(REGISTRY.resource_types)


def test_refused_credentials_are_said_without_the_password(ldap: LdapServer) -> None:
    base = ldap.new_database()

    with pytest.raises(StorageUnavailable, match="refuses the credentials of cn=admin") as caught:
        opened(ldap, base, ldap_password="wr0ng")

    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ldap_username": "admin"}, "refuses the credentials of admin: Invalid DN syntax"),
        ({"ldap_password": ""}, f"refuses the credentials of {ADMIN}: .*no password"),
        ({"ldap_basename": "example.org"}, "LDAP_BASENAME: 'example.org' is not a DN"),
        ({"ldap_ca_file": "/nowhere/ca.pem"}, "no certificates can be read from /nowhere/ca.pem"),
    ],
)
def test_a_wrong_setting_is_named(ldap: LdapServer, options: dict[str, str], said: str) -> None:
    adapter = open_backend("ldap", **ldap.options(ldap.new_database()) | options)

    with pytest.raises(StorageUnavailable, match=said):
        adapter.prepare(REGISTRY.resource_types)


def test_resources_cannot_be_where_unique_values_are(ldap: LdapServer) -> None:
    with pytest.raises(ValueError, match="scim-unique cannot be"):
        open_backend("ldap", **ldap.options(SUFFIX), user_model_name="SCIM-unique")


@pytest.mark.parametrize("url", ["ldap://127.0.0.1:1", "ldap://nowhere.invalid"])
def test_a_server_that_is_not_there_is_said(url: str) -> None:
    with pytest.raises(StorageUnavailable, match=re.escape(url)):
        open_backend("ldap", ldap_hostname=url, ldap_basename=SUFFIX).prepare([USER])


def test_a_base_that_the_server_does_not_have_is_said(ldap: LdapServer) -> None:
    with pytest.raises(StorageUnavailable, match="dc=elsewhere"):
        opened(ldap, "dc=elsewhere,dc=net")


def test_a_base_is_made_where_there_is_none(start_server: Start) -> None:
    server = start_server()
    adapter = opened(server, SUFFIX, user_model_name="People")

    adapter.create(USER, stored("1", userName="a"))

    assert server.connect().read_s(f"scimId=1,ou=People,{SUFFIX}")


def test_a_read_only_server_is_read_and_says_what_it_is(start_server: Start) -> None:
    server = start_server()
    place = make_place(server)
    for name in "ab":
        place.adapter.create(USER, stored(name, userName=name))
    place.adapter.create(GROUP, stored("g", displayName="G"))
    server.stop()
    server.configure(["readonly on"])
    server.restart()

    adapter = opened(server, place.base)

    for change in (
        lambda: adapter.create(USER, stored("2", userName="c")),
        lambda: adapter.replace(USER, stored("a", userName="c")),
        lambda: adapter.delete(USER, "a"),
        lambda: change_members(adapter, "g", [Member("a", "User")], ()),
    ):
        with pytest.raises(StorageReadOnly):
            change()
    assert [r.document["userName"] for r in adapter.scan(USER)] == ["a", "b"]


def test_a_resource_too_large_for_the_server_is_refused(ldap: LdapServer) -> None:
    adapter = opened(ldap, ldap.new_database())

    with pytest.raises(ValueRefused):
        adapter.create(USER, stored("1", userName="a", title="x" * 5_000_000))
    adapter.create(USER, stored("1", userName="a", title="x" * 500_000))

    assert len(adapter.get(USER, "1").document["title"]) == 500_000


# -- limits

ACCOUNT = f"cn=scim,{SUFFIX}"
_ACCESS = [
    f'access to dn.subtree="{SUFFIX}" attrs=userPassword '
    f'by dn.exact="{ACCOUNT}" write by anonymous auth by * none',
    f'access to dn.subtree="{SUFFIX}" by dn.exact="{ACCOUNT}" write by * read',
]


_NO_PASSWORDS = [_ACCESS[0].replace(" write ", " read "), _ACCESS[1]]


def limited(
    start_server: Start, limit: str, *modules: str, access: Sequence[str] = tuple(_ACCESS)
) -> tuple[LdapServer, Any]:
    directives = [*access, "sizelimit 50", *([limit] if limit else []), *(f"overlay {m}" for m in modules)]
    server = start_server(directives=directives, modules=modules)
    base = server.new_database()
    connection = server.connect()
    account = [("objectClass", [b"device", b"simpleSecurityObject"]), ("userPassword", b"pw")]
    connection.add_s(ACCOUNT, account)
    adapter = opened(server, base, ldap_username=ACCOUNT, ldap_password="pw")
    for number in range(120):
        adapter.create(USER, stored(str(number), userName=f"u{number}"))
    return server, adapter


@pytest.mark.parametrize("modules", [(), ("sssvlv",)])
def test_lists_are_longer_than_the_size_limit_of_a_search(
    start_server: Start, modules: tuple[str, ...]
) -> None:
    limit = f'limits dn.exact="{ACCOUNT}" size.prtotal=unlimited size.pr=20'
    server, adapter = limited(start_server, limit, *modules)

    page = search(adapter, USER, Selection(offset=100, limit=50), represent)

    assert (page.total, len(page.resources)) == (120, 20)
    page = search(adapter, USER, Selection(limit=100), represent)
    assert (page.total, len(page.resources)) == (120, 100)
    assert len(list(adapter.scan(USER))) == 120


def test_an_account_needs_no_more_rights_than_to_write_below_the_base(start_server: Start) -> None:
    server, adapter = limited(start_server, f'limits dn.exact="{ACCOUNT}" size.prtotal=unlimited')
    secret = replace(stored("s", userName="s"), secrets={"password": "pw1"})
    created = adapter.create(USER, secret)
    adapter.create(GROUP, stored("g", displayName="G"))

    change_members(adapter, "g", [Member("s", "User")], ())
    adapter.replace(USER, replace(secret, secrets={"password": "pw2"}), created.version)

    [(dn, values)] = server.connect().search_s(SUFFIX, ldap.SCOPE_SUBTREE, "(uid=s)")
    server.connect(dn, "pw2").unbind_s()
    assert values["uid"] == [b"s"]
    adapter.delete(USER, "s")
    assert list(members_of(adapter, "g")) == []


def test_a_password_that_the_account_may_not_set_leaves_nothing_behind(start_server: Start) -> None:
    unlimited = f'limits dn.exact="{ACCOUNT}" size.prtotal=unlimited'
    adapter = limited(start_server, unlimited, access=_NO_PASSWORDS)[1]

    with pytest.raises(StorageReadOnly):
        adapter.create(USER, replace(stored("s", userName="s"), secrets={"password": "x"}))
    with pytest.raises(StorageReadOnly):
        adapter.replace(USER, replace(stored("1", userName="t"), secrets={"password": "x"}))

    assert adapter.get(USER, "1").document["userName"] == "u1"
    assert found(adapter, 'userName eq "s"') == []
    adapter.create_many(USER, [stored("3000", userName="s"), stored("3001", userName="t")])


def test_a_limit_that_cuts_lists_is_said_and_never_taken_for_their_end(start_server: Start) -> None:
    server, adapter = limited(start_server, "")

    with pytest.raises(StorageUnavailable, match="raise its limits"):
        adapter.scan(USER)
    assert adapter.get(USER, "7").document["userName"] == "u7"
    assert found(adapter, 'userName eq "u7"') == ["7"]


# -- encryption


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*command: str) -> None:
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"),
        *("-keyout", "server.key", "-out", "server.csr"),
    )
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "names", "-out", "server.pem"),
    )
    return folder


@pytest.fixture(scope="module")
def encrypted(certificates: Path) -> Iterator[LdapServer]:
    texts = {name: (certificates / name).read_text() for name in ("ca.pem", "server.pem", "server.key")}
    server = LdapServer(schemes=("ldap", "ldaps"), files=texts)
    yield server
    server.remove()


@pytest.mark.parametrize("way", ["start_tls", "ldaps"])
def test_connections_are_encrypted_and_the_server_is_verified(
    encrypted: LdapServer, certificates: Path, way: str
) -> None:
    base = encrypted.new_database()
    options: dict[str, Any] = {"ldap_start_tls": True}
    if way == "ldaps":
        options = {"ldap_hostname": encrypted.urls[1]}

    adapter = opened(encrypted, base, ldap_ca_file=certificates / "ca.pem", **options)
    adapter.create(USER, stored("1", userName="a"))

    assert adapter.get(USER, "1").document["userName"] == "a"
    assert "TLS established" in encrypted.log()
    for wrong in ({"ldap_ca_file": certificates / "other.pem"}, {}):
        with pytest.raises(StorageUnavailable):
            opened(encrypted, base, **options, **wrong)


# -- the schema


@pytest.mark.parametrize("name", ["scim", "groupofmembers"])
def test_both_forms_of_the_schema_say_the_same(name: str) -> None:
    folder = Path(storage.ldap.__file__).parent
    text = (folder / f"{name}.schema").read_text()
    ldif = (folder / f"{name}.ldif").read_text().replace("\n ", "")

    pattern = r"^(?:attributetype|objectclass) (.*?)(?=^\S|\Z)"
    definitions = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    converted = re.findall(r"^olc(?:AttributeTypes|ObjectClasses): (.*)$", ldif, re.MULTILINE)

    assert [" ".join(one.split()) for one in definitions] == converted
    assert definitions


def test_the_schema_is_added_to_a_running_server(start_server: Start) -> None:
    """Debian configures slapd by entries below cn=config, to which a schema is added."""
    server = start_server(with_schema=False, before=["database config", "rootpw secret"])
    folder = Path(storage.ldap.__file__).parent
    connection = server.connect("cn=config", "secret")
    for name in ("scim", "groupofmembers"):
        with open(folder / f"{name}.ldif", "rb") as ldif:
            reader = LDIFRecordList(ldif)
            reader.parse()
        [(dn, entry)] = reader.all_records
        connection.add_s(dn, list(entry.items()))
    connection.unbind_s()

    place = make_place(server)
    place.adapter.create(GROUP, stored("1", displayName="G"))

    assert b"groupOfMembers" in place.entry("(cn=G)")["objectClass"]
    assert place.entry("(cn=G)")["scimId"] == [b"1"]


def test_entries_made_without_the_schema_are_used_and_rewritten_with_it(start_server: Start) -> None:
    server = start_server(with_schema=False)
    place = make_place(server)
    for name in "ab":
        document = {"userName": name, "externalId": f"e{name}", "displayName": "Stra\u00dfe"}
        place.adapter.create(USER, stored(name, **document))
    place.adapter.create(GROUP, stored("g", displayName="G"))
    change_members(place.adapter, "g", [Member("a", "User", "Shown")], ())
    before = [(r.text, r.created, r.last_modified, r.version, r.place) for r in place.adapter.scan(USER)]
    server.stop()
    server.with_schema = True
    server.configure()
    server.restart()
    adapter = place.another()

    after = [(r.text, r.created, r.last_modified, r.version, r.place) for r in adapter.scan(USER)]
    assert after == before
    assert found(adapter, 'externalId eq "eb"') == ["b"] and found(adapter, 'userName eq "A"') == ["a"]
    assert found(adapter, 'displayName eq "strasse"') == ["a", "b"]
    assert list(members_of(adapter, "g")) == [Member("a", "User", "Shown")]
    change_members(adapter, "g", [Member("b", "User", "Other")], ())
    adapter.replace(USER, stored("a", userName="a2", externalId="new"), adapter.get(USER, "a").version)
    assert [m.display for m in members_of(adapter, "g")] == ["Shown", "Other"]
    assert found(adapter, 'externalId eq "new"') == ["a"] and found(adapter, 'externalId eq "ea"') == []
    assert place.entry("(scimId=a)")["objectClass"].count(b"scimResource") == 1
    assert search(adapter, USER, Selection(limit=1), represent).total == 2
