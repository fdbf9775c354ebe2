"""A certificate for `localhost` that nobody vouches for, as servers of tests use it."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

BEGAN, EXPIRES = datetime(2020, 1, 1, tzinfo=UTC), datetime(2200, 1, 2, 3, 4, 5, tzinfo=UTC)


def for_localhost(folder: Path, expires_at: datetime = EXPIRES) -> tuple[str, ssl.SSLContext]:
    """The certificate in PEM, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    built = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), BEGAN, expires_at
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = certificate.public_bytes(Encoding.PEM)
    file = folder / "server.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(file)
    return pem.decode(), ours
