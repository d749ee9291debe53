"""Certificates and kubeconfigs of the sandbox's cluster; made once, kept with the state, readable by root only."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

VALID_DAYS: Final = 3650
"""A sandbox outlives no decade; rotation would be a feature that nobody uses."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate to make."""

    name: str
    common_name: str
    organization: str | None = None
    authority: str = "ca"
    server: bool = False
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def leaves(node: str, addresses: Sequence[str]) -> tuple[Leaf, ...]:
    """Every certificate of a one-node cluster. `addresses`: the node's, besides the loopback."""
    cluster = "kubernetes.default.svc.cluster.local"
    api_names = (*(".".join(cluster.split(".")[:n]) for n in (1, 2, 3)), cluster, "localhost", node)
    return (
        Leaf(
            "apiserver",
            "kube-apiserver",
            server=True,
            names=api_names,
            addresses=("127.0.0.1", "10.96.0.1", *addresses),
        ),
        Leaf(
            "kubelet-server",
            f"system:node:{node}",
            "system:nodes",
            server=True,
            names=(node, "localhost"),
            addresses=("127.0.0.1", *addresses),
        ),
        Leaf("apiserver-kubelet", "apiserver-kubelet-client", "system:masters"),
        Leaf("front-proxy", "front-proxy-client", authority="front-proxy-ca"),
        Leaf("admin", "admin", "system:masters"),
        Leaf("kube-controller-manager", "system:kube-controller-manager"),
        Leaf("kube-scheduler", "system:kube-scheduler"),
        Leaf("kubelet", f"system:node:{node}", "system:nodes"),
        Leaf("kube-proxy", "system:kube-proxy"),
        Leaf("coredns", "coredns", "system:masters"),
        Leaf("external-secrets", "external-secrets", "system:masters"),
    )


def ensure(folder: Path, node: str, addresses: Sequence[str], server_url: str) -> None:
    """Make what is missing. A folder made for another node name or address is made anew."""
    stamp = folder / "made-for"
    wanted = f"{node} {' '.join(addresses)} {server_url}\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    authorities = {name: _authority(folder, name) for name in ("ca", "front-proxy-ca")}
    for leaf in leaves(node, addresses):
        _issue(folder, leaf, *authorities[leaf.authority])
        if not leaf.server:
            _kubeconfig(folder, leaf.name, server_url)
    _service_account_key(folder)
    stamp.write_text(wanted)


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        key_encipherment=not signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(folder: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"holdfast-sandbox-{name}")
    certificate = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / f"{name}.key", key)
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _issue(
    folder: Path, leaf: Leaf, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    purposes: list[ObjectIdentifier] = [
        ExtendedKeyUsageOID.SERVER_AUTH if leaf.server else ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    builder = (
        _builder(_name(leaf.common_name, leaf.organization), authority.subject, key.public_key())
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
    )
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in leaf.names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in leaf.addresses]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(authority_key, hashes.SHA256())
    _write_key(folder / f"{leaf.name}.key", key)
    (folder / f"{leaf.name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _service_account_key(folder: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(folder / "service-accounts.key", key)
    (folder / "service-accounts.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _kubeconfig(folder: Path, name: str, server_url: str) -> None:
    file = folder / f"{name}.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(
        f"""apiVersion: v1
kind: Config
clusters:
- name: holdfast-sandbox
  cluster: {{server: "{server_url}", certificate-authority: {folder}/ca.crt}}
users:
- name: {name}
  user: {{client-certificate: {folder}/{name}.crt, client-key: {folder}/{name}.key}}
contexts:
- name: holdfast-sandbox
  context: {{cluster: holdfast-sandbox, user: {name}}}
current-context: holdfast-sandbox
"""
    )
