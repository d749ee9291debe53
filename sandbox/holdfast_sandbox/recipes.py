"""What is built from source and how: data, one entry per tool."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import SOURCE

KUBERNETES_VERSION: Final = "1.34.4"
KUBERNETES_PROVIDER_VERSION: Final = "4.34.2"
"""What pulumi_kubernetes in the lock file asks the engine for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one tool is built."""

    name: str
    """The folder below `sandbox/go/`."""
    version: str
    packages: tuple[str, ...]
    """What `go build` is given; `.` for the folder's own main package."""
    binaries: tuple[tuple[str, str], ...]
    """(what go calls its output, the name in the cache)."""
    links: tuple[str, ...] = ()
    """Further names for the first binary."""
    stamps: tuple[tuple[str, str], ...] = ()
    """(variable, value) set by the linker."""
    version_command: tuple[str, ...] | None = None
    """A command whose output contains the version, to recognise an installed tool; None: never looked for, since it is
    one program under many names here, has no such command, or comes with more than its program."""
    copied: tuple[tuple[str, str, str], ...] = ()
    """(module, file in it, name in the folder) put beside main.go before the build."""
    kept: tuple[tuple[str, str], ...] = ()
    """(module, folder in it) kept in the cache beside the binaries: manifests."""
    typical_s: int = field(default=60, repr=False)
    """Seconds of a first build on two cores, for the progress line; measured. No part of the key."""

    @property
    def folder(self) -> Path:
        """The Go module of the tool."""
        return SOURCE / "go" / self.name

    def key(self) -> str:
        """`<name>-<version>-<hash of everything that the build depends on>`."""
        digest = hashlib.sha256(repr(self).encode())
        for file in sorted(self.folder.iterdir()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


_COMPONENT_BASE: Final = "k8s.io/component-base/version"
_CLIENT_GO: Final = "k8s.io/client-go/pkg/version"
_KEDA: Final = "github.com/kedacore/keda/v2"
_PROVIDER: Final = "github.com/pulumi/pulumi-kubernetes/provider/v4"

RECIPES: Final[tuple[Recipe, ...]] = (
    Recipe(
        name="nats",
        version="2.15.2",
        packages=("github.com/nats-io/nats-server/v2",),
        binaries=(("nats-server", "nats-server"),),
        version_command=("nats-server", "--version"),
        typical_s=60,
    ),
    Recipe(
        name="pulumi",
        version="3.259.0",
        packages=("github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",),
        binaries=(("pulumi", "pulumi"),),
        stamps=(("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version", "v3.259.0"),),
        version_command=("pulumi", "version"),
        typical_s=160,
    ),
    Recipe(
        name="pulumi-kubernetes",
        version=KUBERNETES_PROVIDER_VERSION,
        packages=(".",),
        binaries=(("pulumi-resource-kubernetes", "pulumi-resource-kubernetes"),),
        stamps=((f"{_PROVIDER}/pkg/version.Version", f"v{KUBERNETES_PROVIDER_VERSION}"),),
        copied=(
            (_PROVIDER, "cmd/pulumi-resource-kubernetes/schema.json", "schema-embed.json"),
            (
                _PROVIDER,
                "cmd/pulumi-resource-kubernetes/terraform-mapping.json",
                "terraform-mapping-embed.json",
            ),
        ),
        typical_s=420,
    ),
    Recipe(
        name="kube",
        version=KUBERNETES_VERSION,
        packages=(".",),
        binaries=(("kube", "kube"),),
        links=(
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        ),
        stamps=(
            (f"{_COMPONENT_BASE}.gitVersion", f"v{KUBERNETES_VERSION}"),
            (f"{_COMPONENT_BASE}.gitMajor", "1"),
            (f"{_COMPONENT_BASE}.gitMinor", "34"),
            (f"{_COMPONENT_BASE}.gitTreeState", "clean"),
            (f"{_COMPONENT_BASE}.buildDate", "2026-01-01T00:00:00Z"),
            (f"{_CLIENT_GO}.gitVersion", f"v{KUBERNETES_VERSION}"),
            (f"{_CLIENT_GO}.gitMajor", "1"),
            (f"{_CLIENT_GO}.gitMinor", "34"),
        ),
        typical_s=250,
    ),
    Recipe(
        name="registry",
        version="3.1.2",
        packages=("github.com/distribution/distribution/v3/cmd/registry",),
        binaries=(("registry", "registry"),),
        version_command=("registry", "--version"),
        typical_s=110,
    ),
    Recipe(
        name="coredns",
        version="1.14.7",
        packages=(".",),
        binaries=(("coredns", "coredns"),),
        version_command=("coredns", "-version"),
        typical_s=80,
    ),
    Recipe(
        name="keda",
        version="2.20.2",
        packages=(f"{_KEDA}/cmd/operator", f"{_KEDA}/cmd/adapter", f"{_KEDA}/cmd/webhooks"),
        binaries=(
            ("operator", "keda-operator"),
            ("adapter", "keda-adapter"),
            ("webhooks", "keda-webhooks"),
        ),
        stamps=((f"{_KEDA}/version.Version", "2.20.2"), (f"{_KEDA}/version.GitCommit", "module")),
        kept=((_KEDA, "config"),),
        typical_s=310,
    ),
    Recipe(
        name="external-secrets",
        version="0.19.2",
        packages=("github.com/external-secrets/external-secrets",),
        binaries=(("external-secrets", "external-secrets"),),
        kept=(("github.com/external-secrets/external-secrets", "config/crds/bases"),),
        typical_s=200,
    ),
    Recipe(
        name="pause",
        version="1",
        packages=(".",),
        binaries=(("pause", "pause"),),
        typical_s=5,
    ),
)
"""In the order in which they are built: what the tests of the faster levels need comes first."""


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises SandboxError naming those that exist."""
    for candidate in RECIPES:
        if candidate.name == name:
            return candidate
    known = ", ".join(r.name for r in RECIPES)
    raise SandboxError(f"tool is {name!r}, not one that is built here: name one of {known}")
