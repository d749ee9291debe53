"""The gateway's certificate: loaded from files, loaded anew, and refused with a reason."""

from __future__ import annotations

import logging
import re
import ssl
from typing import TYPE_CHECKING

import pytest
from certificates import Mounted, Pair, serial_of, trusting

from holdfast_contract import names
from holdfast_services.gateway.settings import Settings
from holdfast_services.gateway.tls import Tls

if TYPE_CHECKING:
    from pathlib import Path


def shown(tls: Tls, *trusted: Pair) -> tuple[int, ssl.SSLObject]:
    """Serial of the certificate in a handshake, and the listener's side of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(*trusted).wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting, "the handshake did not end"
    return serial_of(client), server


def test_a_replaced_certificate_is_shown_in_the_next_handshake(tmp_path: Path) -> None:
    first, second = Pair.make(), Pair.make(days=30)
    mounted = Mounted(tmp_path / "tls", first)
    tls = Tls(mounted.certificate, mounted.key)
    tls.renew()
    assert shown(tls, first, second)[0] == first.serial
    assert tls.expires_at == first.expires_at
    mounted.replace(second.certificate, second.key)
    tls.renew()
    assert shown(tls, first, second)[0] == second.serial
    assert tls.expires_at == second.expires_at


def test_handshakes_below_tls_1_2_are_refused_before_and_after_a_rotation(tmp_path: Path) -> None:
    first, second = Pair.make(), Pair.make()
    mounted = Mounted(tmp_path / "tls", first)
    tls = Tls(mounted.certificate, mounted.key)
    for pair in (first, second):
        mounted.replace(pair.certificate, pair.key)
        tls.renew()
        serial, server = shown(tls, pair)
        assert serial == pair.serial
        assert server.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_rotation_that_cannot_be_used_is_logged_once_and_the_certificate_before_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Pair.make(), Pair.make()
    mounted = Mounted(tmp_path / "tls", first)
    tls = Tls(mounted.certificate, mounted.key)
    mounted.replace(second.certificate, first.key)
    with caplog.at_level(logging.ERROR, "holdfast.gateway.tls"):
        tls.renew()
        tls.renew()
    assert [record.getMessage() for record in caplog.records] == [
        "the new certificate cannot be used: the one before it goes on"
    ]
    assert "KEY_VALUES_MISMATCH" in caplog.records[0].fields["reason"]  # type: ignore[attr-defined]
    assert shown(tls, first)[0] == first.serial
    assert tls.expires_at == first.expires_at
    mounted.replace(second.certificate, second.key)
    tls.renew()
    assert shown(tls, second)[0] == second.serial


def test_files_that_are_gone_leave_the_certificate_in_use(tmp_path: Path) -> None:
    pair = Pair.make()
    mounted = Mounted(tmp_path / "tls", pair)
    tls = Tls(mounted.certificate, mounted.key)
    mounted.key.unlink()
    tls.renew()
    assert shown(tls, pair)[0] == pair.serial


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        (Pair.make().certificate, Pair.make().key, "KEY_VALUES_MISMATCH"),
        (b"", Pair.make().key, "PEM lib"),
        (Pair.make().certificate, b"no key", "PEM lib"),
    ],
    ids=["mismatch", "no-certificate", "no-key"],
)
def test_a_pair_that_cannot_be_used_is_refused_with_its_paths_a_reason_and_the_remedy(
    tmp_path: Path, certificate: bytes, key: bytes, reason: str
) -> None:
    mounted = Mounted(tmp_path / "tls", Pair.make())
    mounted.replace(certificate, key)
    with pytest.raises(ValueError, match="are no pair that can be used") as error:
        Tls(mounted.certificate, mounted.key)
    for part in (str(mounted.certificate), str(mounted.key), reason, "give a certificate chain in PEM"):
        assert part in str(error.value)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    pair = Pair.make(passphrase=b"secret")
    mounted = Mounted(tmp_path / "tls", pair)
    with pytest.raises(ValueError, match="without a passphrase"):
        Tls(mounted.certificate, mounted.key)


def test_a_missing_file_is_refused_with_the_variable_that_names_it(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path / "tls", Pair.make())
    missing = tmp_path / "missing.key"
    expected = (
        f"{names.ENV_TLS_KEY_FILE} is {str(missing)!r}, which cannot be read (No such file or directory): "
        "mount the Secret of type kubernetes.io/tls there, or correct the path"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        Tls(mounted.certificate, missing)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (names.ENV_TLS_CERTIFICATE_FILE, names.ENV_TLS_KEY_FILE),
        (names.ENV_TLS_KEY_FILE, names.ENV_TLS_CERTIFICATE_FILE),
    ],
)
def test_one_file_without_the_other_is_refused(one: str, other: str) -> None:
    expected = f"{one} is set without {other}: set both, or neither for plain HTTP"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        Settings.read({one: "/tls/file"})
    assert Settings.read({}).tls_files is None
