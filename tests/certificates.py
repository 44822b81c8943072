"""A certificate authority of its own, and certificates for a name and for none of ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files."""

    authority: Path
    key: Path
    localhost: Path
    elsewhere: Path


def certificates_in(folder: Path) -> Certificates:
    """New ones, for two days."""
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def build(subject: str, public: ec.EllipticCurvePublicKey, *, ca: bool, names: list[x509.GeneralName]) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("Test authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    made = Certificates(folder / "ca.pem", folder / "key.pem", folder / "localhost.pem", folder / "elsewhere.pem")
    made.authority.write_bytes(build("Test authority", ca_key.public_key(), ca=True, names=[]))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    made.localhost.write_bytes(build("localhost", key.public_key(), ca=False, names=[x509.DNSName("localhost")]))
    made.elsewhere.write_bytes(
        build(
            "elsewhere", key.public_key(), ca=False,
            names=[x509.DNSName("elsewhere.example"), x509.IPAddress(ip_address("192.0.2.1"))],
        )
    )  # fmt: skip
    return made


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
