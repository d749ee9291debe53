"""Credentials and secrets: where they are, never what they are."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from pulumi_holdfast.spec.model import AbsolutePath, Spec, Whole
from pulumi_holdfast.spec.problems import refused

WIRED_VALUE: Final = "known at deployment"
"""Stands for a value of the program, which no spec holds."""
SERVICES_PULL_SECRET: Final = "holdfast-services-pull"
"""The pull secret of the services' image, in the system's namespace and the endpoints'."""
TEMPLATES_PULL_SECRET: Final = "holdfast-templates-pull"
"""The pull secret of the platform's template registry, in the endpoints' namespace."""
_SECRET_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,512}")
_HOST: Final = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?")


def _secret_name(name: str) -> str:
    if not _SECRET_NAME.fullmatch(name):
        raise refused(
            "not the name of a Secrets Manager secret", "use its name or ARN: letters, digits and /_+=.@:-"
        )
    return name


def _registry_host(host: str) -> str:
    if "://" in host:
        raise refused("a URL", "write the host alone, such as ghcr.io")
    if not _HOST.fullmatch(host):
        raise refused("not a registry's host", "write host or host:port in lower case, such as ghcr.io")
    return host


def _wired(given: Any) -> Any:
    if given != WIRED_VALUE:
        raise refused(
            "neither text nor an output of the program", "give the value itself, or name a secret instead"
        )
    return given


SecretName = Annotated[str, AfterValidator(_secret_name)]


def pull_secret_name(endpoint: str) -> str:
    """The pull secret of an endpoint that declares credentials of its own."""
    return f"{endpoint}-pull"


class RegistryCredentialsSpec(Spec):
    """Where the password of the image's registry is kept. None at all: public, or ECR by the node's role."""

    secret: SecretName
    """Name or ARN in AWS Secrets Manager. Its value is a JSON object with `username` and `password` (and
    `registry`, if it is not the image's), or a whole docker configuration with `auths`: both are
    recognised."""
    registry: Annotated[str, AfterValidator(_registry_host)] | None = None
    """Registry host that a username and password belong to. None, the default: the image's own."""
    refresh_s: Whole = Field(default=300, ge=1, le=24 * 3600)
    """How often the secret is read again, so that a rotation is followed. 300 by default: 0.05 $ a month."""


class EndpointSecretSpec(Spec):
    """One secret of an endpoint, given to the model container as an environment variable or a file."""

    secret: SecretName | None = None
    """Name or ARN in AWS Secrets Manager; exclusive with `value`."""
    key: str | None = Field(default=None, min_length=1)
    """One key of a secret whose value is a JSON object. None, the default: the whole value."""
    version: str | None = Field(default=None, min_length=1)
    """Version id in Secrets Manager. None, the default: the current one, whenever it is read. Declaring it
    makes a new version a visible diff that rolls the replicas."""
    value: Annotated[str, BeforeValidator(_wired)] | None = None
    """A value of the Pulumi program itself (a config secret), as text or an output, rather than of Secrets Manager;
    given instead of a mapping, it is the variable's value."""
    file: AbsolutePath | None = None
    """Path of a file in the container to put the value into. None, the default: an environment variable."""
