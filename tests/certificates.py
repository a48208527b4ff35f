"""Certificates of a test's certificate authority, for a server on the loopback addresses and for a client."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files. The server's certificate is valid for localhost, 127.0.0.1 and ::1."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    encrypted_client_key: Path


def create_certificates(folder: Path) -> Certificates:
    """Create a certificate authority, and the certificates of a server and a client, signed by this authority."""
    files = Certificates(
        authority=folder / "ca.crt",
        server=folder / "server.crt",
        server_key=folder / "server.key",
        client=folder / "client.crt",
        client_key=folder / "client.key",
        encrypted_client_key=folder / "encrypted.key",
    )
    authority_key, server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    authority = _sign("SyncKairos test CA", authority_key, None, authority_key)
    server = _sign("SyncKairos test server", server_key, authority, authority_key)
    client = _sign("SyncKairos test client", client_key, authority, authority_key)
    for path, certificate in ((files.authority, authority), (files.server, server), (files.client, client)):
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
    _write_key(files.server_key, server_key, NoEncryption())
    _write_key(files.client_key, client_key, NoEncryption())
    _write_key(files.encrypted_client_key, client_key, BestAvailableEncryption(b"password"))
    return files


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Create a certificate for `name`, signed by `authority`. Without `authority`, create a certificate authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    loopback = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *loopback]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption) -> None:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
