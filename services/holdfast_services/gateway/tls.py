"""TLS ended in the gateway: a certificate and its key from files, loaded anew when they are replaced."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final, Self

from cryptography import x509

from holdfast_contract import names
from holdfast_services.logs import Log

__all__ = ["Tls"]

_LOOK_S: Final = 2.0
"""How often the files are looked at: far more often than Kubernetes replaces them."""
_PROTOCOLS: Final = ["http/1.1"]

_log = Log("gateway.tls")

_Look = tuple[tuple[int, int, int], ...]


class Tls:
    """What a listener needs to end TLS 1.2 or 1.3, with whatever certificate the files hold at a handshake."""

    expires_at: float
    """When the certificate in use ends, in Unix seconds."""

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        """Raises ValueError, with the remedy, where the pair cannot be used."""
        self._files = (certificate_file, key_file)
        self._seen = self._look()
        self._current = self._load()
        self.context = self._current
        """For the listener. It hands each handshake to the newest pair, so it stays the same for ever."""
        self.context.sni_callback = self._choose

    @classmethod
    def of(cls, files: tuple[Path, Path] | None) -> Self | None:
        """None where no files are declared. Raises ValueError as the constructor does."""
        return None if files is None else cls(*files)

    async def run(self) -> None:
        """Load the files whenever they changed. Never returns."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.renew()

    def renew(self) -> None:
        """Load the files if they changed. A pair that cannot be used is logged, and the one before it goes on."""
        look = self._look()
        if look == self._seen:
            return
        try:
            self._current = self._load()
        except ValueError as error:
            if self._look() != look:
                return  # the files were replaced between the two reads: the next look sees a whole pair
            _log.error(
                "the new certificate cannot be used: the one before it goes on",
                reason=str(error),
                expires_at=self.expires_at,
            )
        else:
            _log.info("certificate loaded", expires_at=self.expires_at)
        self._seen = look

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _listener: ssl.SSLContext) -> None:
        """Called in every handshake. A new context for each pair, because one that failed halfway holds no pair."""
        connection.context = self._current

    def _look(self) -> _Look:
        """What tells one content of the files from another; empty while one of them is missing."""
        try:
            stats = [file.stat() for file in self._files]
        except OSError:
            return ()
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        certificate_file, key_file = self._files
        for name, file in zip(
            (names.ENV_TLS_CERTIFICATE_FILE, names.ENV_TLS_KEY_FILE), self._files, strict=True
        ):
            try:
                file.read_bytes()
            except OSError as error:
                raise ValueError(
                    f"{name} is {str(file)!r}, which cannot be read ({error.strerror}): "
                    "mount the Secret of type kubernetes.io/tls there, or correct the path"
                ) from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(_PROTOCOLS)
        try:
            # Without a password OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(certificate_file, key_file, password="")
            leaf = x509.load_pem_x509_certificates(certificate_file.read_bytes())[0]
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{names.ENV_TLS_CERTIFICATE_FILE} {str(certificate_file)!r} and {names.ENV_TLS_KEY_FILE} "
                f"{str(key_file)!r} are no pair that can be used ({_reason(error)}): give a certificate chain in PEM, "
                "the gateway's own certificate first, and the key that it was made with, without a passphrase"
            ) from None
        self.expires_at = leaf.not_valid_after_utc.timestamp()
        return context


def _reason(error: Exception) -> str:
    """OpenSSL's own word, such as KEY_VALUES_MISMATCH."""
    return (isinstance(error, ssl.SSLError) and error.reason) or str(error) or type(error).__name__
