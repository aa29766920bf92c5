"""Encrypted connections, and authentication by PAM over them."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from storage.errors import BackendTimeout, StorageUnavailable, ValueRefused
from storage.testing import REGISTRY, USER, stored
from tests.backends import open_backend
from tests.fake_irods import ADMIN, PASSWORD, ZONE, FakeZone
from tests.storage.irods.store import create


def make_certificate(folder: Path, address: str) -> Path:
    """Write a key and a certificate for an address, signed by itself, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{address}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def zone_with(certificate: Path) -> FakeZone:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return FakeZone(context)


@pytest.fixture(scope="module")
def zone(certificate: Path) -> Iterator[FakeZone]:
    zone = zone_with(certificate)
    yield zone
    zone.stop()


def options(zone: FakeZone, **more: Any) -> dict[str, Any]:
    known = {
        "irods_host": "127.0.0.1",
        "irods_port": zone.port,
        "irods_zone": ZONE,
        "irods_admin_username": ADMIN,
        "irods_admin_password": PASSWORD,
    }
    return {**known, "irods_tls": True, "remote_timeout": 2.0, **more}


@pytest.mark.parametrize("authentication", ["native", "pam"])
def test_encrypted_connections_work(zone: FakeZone, certificate: Path, authentication: str) -> None:
    zone.empty()
    trusted = options(zone, irods_ca_file=certificate)
    adapter = open_backend("irods", **trusted, irods_authentication=authentication)
    adapter.prepare(REGISTRY.resource_types)

    user = create(adapter, USER, userName="a", title="t" * 20_000)

    assert adapter.get(USER, user.id).document["title"] == "t" * 20_000
    connections = zone.mischief.connections
    adapter.check()
    assert zone.mischief.connections == connections
    adapter.close()


def test_who_answers_is_verified(zone: FakeZone, certificate: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="TLS with iRODS at .*self.signed certificate"):
        open_backend("irods", **options(zone)).check()
    other = zone_with(make_certificate(tmp_path, "127.0.0.2"))
    with pytest.raises(StorageUnavailable, match="TLS with iRODS at .*not valid for '127.0.0.1'"):
        open_backend("irods", **options(other, irods_ca_file=tmp_path / "127.0.0.2.pem")).check()
    other.stop()


def test_encryption_is_not_given_up(certificate: Path) -> None:
    plain = FakeZone()
    with pytest.raises(StorageUnavailable, match="refuses encrypted connections: see IRODS_TLS"):
        open_backend("irods", **options(plain, irods_ca_file=certificate)).check()
    plain.stop()


def test_a_zone_that_wants_encryption_refuses_plain_connections(zone: FakeZone) -> None:
    with pytest.raises(StorageUnavailable, match="demands encrypted connections: see IRODS_TLS"):
        open_backend("irods", **options(zone, irods_tls=False)).check()


@pytest.mark.parametrize("authentication", ["native", "pam"])
def test_a_wrong_zone_is_told_from_wrong_credentials(
    zone: FakeZone, certificate: Path, authentication: str
) -> None:
    wrong = options(zone, irods_ca_file=certificate, irods_authentication=authentication, irods_zone="other")

    with pytest.raises(StorageUnavailable, match=f"serves the zone {ZONE}, not other: see IRODS_ZONE"):
        open_backend("irods", **wrong).check()


def test_a_ca_file_that_is_not_there_is_named(zone: FakeZone, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="IRODS_CA_FILE"):
        open_backend("irods", **options(zone, irods_ca_file=tmp_path / "none.pem"))


def test_a_wrong_pam_password_is_said_without_telling_it(zone: FakeZone, certificate: Path) -> None:
    trusted = options(zone, irods_ca_file=certificate, irods_authentication="pam")
    wrong = {**trusted, "irods_admin_password": "wr0ng-Secret"}

    with pytest.raises(StorageUnavailable, match="refuses the credentials of rods$") as caught:
        open_backend("irods", **wrong).check()
    assert "wr0ng" not in str(caught.value)


def test_with_pam_passwords_are_not_set_here(zone: FakeZone, certificate: Path) -> None:
    zone.empty()
    adapter = open_backend("irods", **options(zone, irods_ca_file=certificate, irods_authentication="pam"))
    adapter.prepare(REGISTRY.resource_types)

    with pytest.raises(ValueRefused, match="^password: .*PAM"):
        adapter.create(USER, replace(stored("1", userName="a"), secrets={"password": "s3cret"}))
    adapter.close()


def test_silence_ends_encrypted_connections_in_time_too(zone: FakeZone, certificate: Path) -> None:
    adapter = open_backend("irods", **options(zone, irods_ca_file=certificate, remote_timeout=0.8))
    adapter.check()

    with zone.mischief.in_place_of(702, zone.mischief.silence), pytest.raises(BackendTimeout):
        adapter.check()
    adapter.check()
    adapter.close()
