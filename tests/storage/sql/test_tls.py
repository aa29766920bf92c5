"""TLS to database servers: the options that docs/how-to/tls.md shows, against real servers."""

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.errors import StorageUnavailable
from storage.testing import REGISTRY
from tests.backends import open_backend
from tests.servers import MariadbServer, PostgresqlServer

# Of each server: its user, its settings, the options in the URL, and the statement that shows encryption.
SERVERS: dict[str, tuple[type[Any], str, tuple[str, str, str], str, str]] = {
    "postgresql": (
        PostgresqlServer,
        "postgres",
        ("ssl=on", "ssl_cert_file", "ssl_key_file"),
        "?sslmode=verify-full&sslrootcert={ca}",
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    ),
    "mariadb": (
        MariadbServer,
        "mysql",
        ("require-secure-transport=OFF", "ssl-cert", "ssl-key"),
        "?ssl_mode=verify_identity&ssl_ca={ca}",
        "SELECT variable_value <> '' FROM information_schema.session_status "
        "WHERE variable_name = 'Ssl_cipher'",
    ),
}


def certificate(folder: Path, name: str, address: str) -> Path:
    """Make a key and a certificate for an address that signs itself, and return the certificate."""
    made = folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}"]
    command += ["-addext", f"subjectAltName=IP:{address}", "-keyout", str(made.with_suffix(".key")), "-out"]
    subprocess.run([*command, str(made)], check=True, capture_output=True)
    return made


def start(kind: str, own: Path) -> Any:
    """Start a server with a certificate."""
    make, user, (switch, cert, key), *_ = SERVERS[kind]
    if os.getuid() == 0:
        os.chown(own.with_suffix(".key"), pwd.getpwnam(user).pw_uid, -1)
    name, _, value = switch.partition("=")
    return make(**{name: value, cert: str(own), key: str(own.with_suffix(".key"))})


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the users of the servers can read; pytest keeps its own to itself."""
    with tempfile.TemporaryDirectory(prefix="scim") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture(params=SERVERS)
def encrypted(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Any, str, str, Path]]:
    """A server for 127.0.0.1: itself, the options for its URL, what shows encryption, the certificate."""
    *_, options, shows = SERVERS[request.param]
    own = certificate(folder, "server", "127.0.0.1")
    server = start(request.param, own)
    yield server, options, shows, own
    server.remove()


@pytest.fixture
def mariadb_of_another_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database whose server has a certificate for another address, which the system trusts."""
    own = certificate(folder, "server", "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    server = start("mariadb", own)
    yield server.new_database()
    server.remove()


def test_a_server_is_verified_by_its_authority(
    encrypted: tuple[Any, str, str, Path], folder: Path
) -> None:
    server, options, shows, own = encrypted
    url = server.new_database()
    other = certificate(folder, "other", "127.0.0.1")

    adapter = open_backend("sql", database_url=url + options.format(ca=own))
    adapter.prepare(REGISTRY.resource_types)
    strange = open_backend("sql", database_url=url + options.format(ca=other))

    assert bool(adapter.state_database.row(shows)[0]) is True
    adapter.close()
    with pytest.raises(StorageUnavailable, match="certificate"):
        strange.prepare(REGISTRY.resource_types)
    strange.close()


def test_the_name_of_mariadb_is_verified_with_the_authorities_of_the_system_as_well(
    mariadb_of_another_name: str,
) -> None:
    url = f"{mariadb_of_another_name}?ssl_mode="
    adapter = open_backend("sql", database_url=f"{url}verify_identity")
    with pytest.raises(StorageUnavailable, match="not valid for '127.0.0.1'"):
        adapter.prepare(REGISTRY.resource_types)
    adapter.close()

    adapter = open_backend("sql", database_url=f"{url}verify_ca")
    adapter.prepare(REGISTRY.resource_types)
    adapter.close()
