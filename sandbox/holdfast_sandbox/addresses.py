"""The sandbox's networks: fixed, because they are written into certificates, configuration and stacks."""

from __future__ import annotations

from typing import Final

BRIDGE: Final = "cni0"
"""The pods' bridge; what runs outside pods and is for pods listens on its address."""
BRIDGE_ADDRESS: Final = "10.244.0.1"
POD_NETWORK: Final = "10.244.0.0/24"
SERVICE_NETWORK: Final = "10.96.0.0/16"
DNS_ADDRESS: Final = "10.96.0.10"
API_URL: Final = f"https://{BRIDGE_ADDRESS}:6443"
