"""What the environment says about a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from holdfast_contract import names
from holdfast_services.credentials import Login, read_secret
from holdfast_services.s3 import S3Bucket

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment says."""

    nats_url: str
    login: Login
    bodies_bucket: S3Bucket | None
    bodies_key: str = field(repr=False)
    """What endpoints' keys to bodies are made from; empty without a bucket."""
    nats_replicas: int
    namespace: str
    documents_dir: str | None
    bind: str
    port: int
    internal_port: int
    pod_ip: str
    base_url: str
    domain: str | None
    max_body_bytes: int
    max_connections: int | None
    """Of callers; None: as many as the files that may be open allow."""
    drain_s: float
    lame_duck_s: float
    tls_files: tuple[Path, Path] | None
    """Certificate chain and key of the callers' port; None: plain HTTP."""
    web_dir: str | None
    templates_dir: str | None
    forwarded_hops: int
    webhook_networks: tuple[IPv4Network | IPv6Network, ...]
    log_level: str
    otlp_endpoint: str | None
    trace_ratio: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Raises ValueError naming the variable that is wrong."""

        def number(name: str, default: float) -> float:
            text = environ.get(name) or str(default)
            try:
                return float(text)
            except ValueError:
                raise ValueError(f"{name} is {text!r}, not a number: correct or unset it") from None

        return cls(
            nats_url=environ.get(names.ENV_NATS_URL)
            or f"nats://nats.{names.SYSTEM_NAMESPACE}:{names.NATS_PORT}",
            login=Login.read(environ),
            bodies_bucket=_bucket(environ),
            bodies_key=read_secret(environ, names.ENV_BODIES_KEY),
            nats_replicas=int(number(names.ENV_NATS_REPLICAS, 1)),
            namespace=environ.get(names.ENV_NAMESPACE) or names.ENDPOINTS_NAMESPACE,
            documents_dir=environ.get(names.ENV_DOCUMENTS_DIR) or None,
            bind=environ.get(names.ENV_BIND) or "0.0.0.0",
            port=int(number(names.ENV_PORT, names.GATEWAY_PORT)),
            internal_port=int(number(names.ENV_INTERNAL_PORT, names.GATEWAY_INTERNAL_PORT)),
            pod_ip=environ.get(names.ENV_POD_IP) or "127.0.0.1",
            base_url=environ.get(names.ENV_BASE_URL) or "",
            domain=environ.get(names.ENV_DOMAIN) or None,
            max_body_bytes=int(number(names.ENV_MAX_BODY_BYTES, 256 * 1024 * 1024)),
            max_connections=_max_connections(environ),
            drain_s=number(names.ENV_DRAIN_S, 900),
            lame_duck_s=number(names.ENV_LAME_DUCK_S, 5),
            tls_files=_tls_files(environ),
            web_dir=environ.get(names.ENV_WEB_DIR) or None,
            templates_dir=environ.get(names.ENV_TEMPLATES_DIR) or None,
            forwarded_hops=int(number(names.ENV_FORWARDED_HOPS, 0)),
            webhook_networks=tuple(
                ip_network(part.strip())
                for part in (environ.get(names.ENV_WEBHOOK_NETWORKS) or "").split(",")
                if part.strip()
            ),
            log_level=environ.get(names.ENV_LOG_LEVEL) or "info",
            otlp_endpoint=environ.get(names.ENV_OTLP_ENDPOINT) or None,
            trace_ratio=number(names.ENV_TRACE_RATIO, 1),
        )


def _max_connections(environ: Mapping[str, str]) -> int | None:
    text = environ.get(names.ENV_MAX_CONNECTIONS)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f"{names.ENV_MAX_CONNECTIONS} is {text!r}, not a whole number from 1: correct or unset it"
        )
    return int(text)


def _tls_files(environ: Mapping[str, str]) -> tuple[Path, Path] | None:
    certificate = environ.get(names.ENV_TLS_CERTIFICATE_FILE)
    key = environ.get(names.ENV_TLS_KEY_FILE)
    if not certificate and not key:
        return None
    if not certificate or not key:
        one, other = names.ENV_TLS_CERTIFICATE_FILE, names.ENV_TLS_KEY_FILE
        if not certificate:
            one, other = other, one
        raise ValueError(f"{one} is set without {other}: set both, or neither for plain HTTP")
    return Path(certificate), Path(key)


def _bucket(environ: Mapping[str, str]) -> S3Bucket | None:
    name = environ.get(names.ENV_BODIES_BUCKET)
    if not name:
        return None
    if not environ.get(names.ENV_BODIES_KEY):
        raise ValueError(f"{names.ENV_BODIES_BUCKET} is set without {names.ENV_BODIES_KEY}: set both")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise ValueError(f"{names.ENV_BODIES_BUCKET} is set without AWS_REGION: set it to the bucket's")
    endpoint_url = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
    return S3Bucket(name, region, endpoint_url)
