"""What AWS says: secrets and their keys, zones that offer a machine, quotas. Reads only; values go nowhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pulumi_holdfast.plan.feasibility import Failure, QuotaAnswer, SecretAnswer, ZonesAnswer
from pulumi_holdfast.probe.registry import Login
from pulumi_holdfast.spec.endpoint import registry_of

_QUICK: Final = Config(connect_timeout=3, read_timeout=8, retries={"total_max_attempts": 2})
ECR: Final = re.compile(r"\d{12}\.dkr\.ecr(-fips)?\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_MISSING: Final = frozenset({"ResourceNotFoundException", "NoSuchResourceException", "InvalidInstanceType"})


class Aws:
    """AWS in one region, with the identity that the program runs with."""

    def __init__(self, region: str, client: Callable[[str, str], Any] | None = None) -> None:
        """`client`: makes a client from service and region; boto3 by default."""
        self.region = region
        self._make = client or _boto3
        self._clients: dict[tuple[str, str], Any] = {}
        self._logins: dict[str, Any] = {}

    def secret(self, name: str) -> SecretAnswer:
        """A secret's shape. Its value is read, looked at and dropped."""
        try:
            value = self._client("secretsmanager").get_secret_value(SecretId=name).get("SecretString")
        except (BotoCoreError, ClientError) as error:
            failure, detail = _failure(error)
            return SecretAnswer(failure=failure, detail=detail)
        parsed = _json(value)
        if value is None:
            return SecretAnswer(
                failure=Failure.MALFORMED, detail="binary, which External Secrets cannot split into keys"
            )
        self._logins[name] = parsed
        if not isinstance(parsed, dict):
            return SecretAnswer()
        auths = parsed.get("auths")
        registries = tuple(sorted(auths)) if isinstance(auths, dict) else ()
        return SecretAnswer(keys=tuple(sorted(parsed)), registries=registries)

    def login(self, secret: str | None, image: str) -> Login | None:
        """How to log in to an image's registry: with a secret, or on ECR with one's own identity."""
        registry = registry_of(image)
        if secret is None:
            return self._ecr(registry)
        parsed = self._logins.get(secret)
        if not isinstance(parsed, dict):
            return None
        if isinstance(parsed.get("auths"), dict):
            return _from_docker(parsed["auths"], registry)
        if "username" in parsed and "password" in parsed:
            return Login(str(parsed["username"]), str(parsed["password"]))
        return None

    def zones(self, instance_type: str) -> ZonesAnswer:
        """The region's zones that offer a machine."""
        wanted = [{"Name": "instance-type", "Values": [instance_type]}]
        try:
            found = self._client("ec2").describe_instance_type_offerings(
                LocationType="availability-zone", Filters=wanted
            )
        except (BotoCoreError, ClientError) as error:
            failure, detail = _failure(error)
            return ZonesAnswer(failure=Failure.UNKNOWN, detail=detail or failure.value)
        return ZonesAnswer(zones=tuple(sorted(one["Location"] for one in found["InstanceTypeOfferings"])))

    def quota(self, code: str) -> QuotaAnswer:
        """A quota of EC2 by its code: the account's own value, else AWS's default."""
        client = self._client("service-quotas")
        try:
            try:
                found = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)
            except ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                found = client.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)
        except (BotoCoreError, ClientError) as error:
            return QuotaAnswer(
                failure=Failure.UNKNOWN, detail=_failure(error)[1] or "Service Quotas does not know it"
            )
        return QuotaAnswer(vcpus=float(found["Quota"]["Value"]))

    def _ecr(self, registry: str) -> Login | None:
        host = ECR.fullmatch(registry)
        if host is None:
            return None
        try:
            told = self._client("ecr", host[2]).get_authorization_token()["authorizationData"][0]
        except (BotoCoreError, ClientError):
            return None
        return _decoded(told["authorizationToken"])

    def _client(self, service: str, region: str = "") -> Any:
        key = (service, region or self.region)
        if key not in self._clients:
            self._clients[key] = self._make(*key)
        return self._clients[key]


def _boto3(service: str, region: str) -> Any:
    import boto3  # takes tenths of a second, and many previews need no AWS

    return boto3.Session().client(service, region_name=region, config=_QUICK)  # type: ignore[call-overload]


def _failure(error: Exception) -> tuple[Failure, str]:
    """What an error means; its detail never repeats a message, which may hold anything."""
    if isinstance(error, ClientError):
        code = _code(error)
        if code in _MISSING:
            return Failure.NOT_FOUND, ""
        if "AccessDenied" in code or "Unauthorized" in code:
            return Failure.UNKNOWN, f"the identity that runs this lacks the permission ({code})"
        return Failure.UNKNOWN, f"AWS answered {code}"
    return Failure.UNKNOWN, f"AWS cannot be asked ({type(error).__name__})"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except json.JSONDecodeError:
        return text


def _from_docker(auths: dict[str, Any], registry: str) -> Login | None:
    for key in _keys(registry):
        entry = auths.get(key)
        if not isinstance(entry, dict):
            continue
        if isinstance(entry.get("auth"), str):
            return _decoded(entry["auth"])
        if "username" in entry and "password" in entry:
            return Login(str(entry["username"]), str(entry["password"]))
    return None


def _keys(registry: str) -> Iterator[str]:
    if registry == "docker.io":
        yield from ("https://index.docker.io/v1/", "index.docker.io", "docker.io")
    else:
        yield from (registry, f"https://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/")


def _decoded(auth: str) -> Login | None:
    try:
        username, colon, password = base64.b64decode(auth).decode().partition(":")
    except ValueError:
        return None
    return Login(username, password) if colon else None
