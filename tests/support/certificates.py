"""Certificates for tests, in files as Kubernetes mounts a Secret of type kubernetes.io/tls."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate for 127.0.0.1, signed by itself, and its key; both PEM."""

    certificate: bytes
    key: bytes
    serial: int
    expires_at: float

    @classmethod
    def make(cls, days: int = 90, passphrase: bytes | None = None) -> Self:
        """A new one, of `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        # A client that trusts several finds the one to check against by its name.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gateway-{serial}")])
        now = datetime.now(UTC).replace(microsecond=0)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return cls(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption),
            serial,
            certificate.not_valid_after_utc.timestamp(),
        )


class Mounted:
    """A Secret as the kubelet mounts it: `..data` is a link to a folder, and is replaced as a whole."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self._folder = folder
        self._count = 0
        folder.mkdir()
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        for file in (self.certificate, self.key):
            file.symlink_to(Path("..data") / file.name)
        self.replace(pair.certificate, pair.key)

    def replace(self, certificate: bytes, key: bytes) -> None:
        """From one moment to the next both files are these."""
        self._count += 1
        version = self._folder / f"..{self._count}"
        version.mkdir()
        (version / self.certificate.name).write_bytes(certificate)
        (version / self.key.name).write_bytes(key)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._folder / "..data")


def trusting(*pairs: Pair) -> ssl.SSLContext:
    """A client that trusts these and nobody else."""
    context = ssl.create_default_context()
    for pair in pairs:
        context.load_verify_locations(cadata=pair.certificate.decode())
    return context


def serial_of(peer: ssl.SSLObject) -> int:
    """Of the certificate that the other side showed."""
    shown = peer.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number
