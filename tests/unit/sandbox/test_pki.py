from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast_sandbox import pki

URL = "https://10.244.0.1:6443"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of a node."""
    made = tmp_path_factory.mktemp("pki") / "pki"
    pki.ensure(made, "node", ["10.244.0.1"], URL)
    return made


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def test_every_certificate_is_signed_by_its_authority(folder: Path) -> None:
    for leaf in pki.leaves("node", ["10.244.0.1"]):
        certificate(folder, leaf.name).verify_directly_issued_by(certificate(folder, leaf.authority))


def test_the_api_server_is_known_by_its_service_and_its_addresses(folder: Path) -> None:
    names = (
        certificate(folder, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )

    assert "kubernetes.default.svc.cluster.local" in names.get_values_for_type(x509.DNSName)
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address(address) for address in ("127.0.0.1", "10.96.0.1", "10.244.0.1")
    }


def test_the_kubelet_is_what_node_authorization_wants(folder: Path) -> None:
    subject = certificate(folder, "kubelet").subject

    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:node"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_servers_and_clients_are_not_interchangeable(folder: Path) -> None:
    for leaf in pki.leaves("node", ["10.244.0.1"]):
        purposes = (
            certificate(folder, leaf.name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        )
        wanted = ExtendedKeyUsageOID.SERVER_AUTH if leaf.server else ExtendedKeyUsageOID.CLIENT_AUTH
        assert list(purposes) == [wanted], leaf.name


def test_keys_and_kubeconfigs_are_readable_by_the_owner_only(folder: Path) -> None:
    secret = [*folder.glob("*.key"), *folder.glob("*.kubeconfig")]

    assert len(secret) > 10
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_is_made_is_kept(folder: Path) -> None:
    before = (folder / "ca.crt").read_bytes()
    pki.ensure(folder, "node", ["10.244.0.1"], URL)

    assert (folder / "ca.crt").read_bytes() == before


def test_another_name_makes_other_certificates(tmp_path: Path) -> None:
    pki.ensure(tmp_path, "one", ["10.244.0.1"], URL)
    before = (tmp_path / "kubelet.crt").read_bytes()
    pki.ensure(tmp_path, "two", ["10.244.0.1"], URL)

    assert (tmp_path / "kubelet.crt").read_bytes() != before
