"""The AWS stand-in as this provider reaches it, and its errors in plain sentences."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

DEFAULT_REGION: Final = "us-east-1"
_MISSING: Final = re.compile(r"NotFound|NoSuch|^404$|NotExist|NonExistent")


class ProviderError(Exception):
    """Shown to the user as it is."""


class BotoSession:
    """Clients of one AWS stand-in, made when they are first needed."""

    def __init__(self, url: str, region: str) -> None:
        self._url = url
        self._region = region
        self._clients: dict[tuple[str, str], Any] = {}
        self._account: str | None = None
        self._lock = threading.Lock()

    @property
    def region(self) -> str:
        """The provider's region."""
        return self._region

    @property
    def account(self) -> str:
        """The account's number."""
        if self._account is None:
            self._account = str(self.client("sts").get_caller_identity()["Account"])
        return self._account

    def client(self, service: str, region: str | None = None) -> Any:
        """A client of one service."""
        key = (service, region or self._region)
        with self._lock:  # making boto3 clients is not safe in threads; using them is
            if key not in self._clients:
                self._clients[key] = boto3.client(
                    service,  # type: ignore[call-overload]
                    region_name=key[1],
                    endpoint_url=self._url,
                    aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", "sandbox"),
                    aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "sandbox"),
                    config=Config(
                        retries={"max_attempts": 2},
                        connect_timeout=3,
                        read_timeout=60,
                        max_pool_connections=32,
                        s3={"addressing_style": "path"},
                    ),
                )
            return self._clients[key]


def session_from(environment: Mapping[str, str], configuration: Mapping[str, Any]) -> BotoSession:
    """The session that the provider's configuration describes.

    Raises ProviderError where no address is given, or a real AWS one: this provider is no provider for AWS.
    """
    url = environment.get("AWS_ENDPOINT_URL", "")
    if not url:
        raise ProviderError(
            "AWS_ENDPOINT_URL is not set: this is the sandbox's stand-in for the AWS provider, which only talks to "
            'the sandbox; run `holdfast sandbox up` and `eval "$(holdfast sandbox env)"`, or install Pulumi\'s own '
            "AWS provider to work with an account"
        )
    host = urlsplit(url).hostname or ""
    if host.endswith(("amazonaws.com", "amazonaws.com.cn", "api.aws")):
        raise ProviderError(
            f"AWS_ENDPOINT_URL is {url}, which is AWS itself: this is the sandbox's stand-in for the AWS provider; "
            "install Pulumi's own AWS provider to work with an account"
        )
    region = (
        configuration.get("region")
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or DEFAULT_REGION
    )
    return BotoSession(url, str(region))


def is_missing(error: Exception) -> bool:
    """Whether an error of the API says that the thing is not there."""
    return isinstance(error, ClientError) and bool(_MISSING.search(error.response["Error"].get("Code", "")))


def explain(error: Exception, token: str, what: str, secrets: Collection[str] = ()) -> str:
    """An error as a sentence, without the values of parameters that boto3 refuses, and without these `secrets`.

    The API's own words may repeat what it was given; where they repeat one of `secrets`, they are left out.
    """
    if isinstance(error, ProviderError):
        return str(error)
    if isinstance(error, ClientError):
        details = error.response["Error"]
        code = details.get("Code", "unknown error")
        words = details.get("Message", "")
        if any(form in words for secret in secrets for form in (secret, json.dumps(secret)[1:-1])):
            words = "(the API's words repeat a secret value and are left out)"
        return f"{token}: {what}: {error.operation_name} was refused: {code}: {words}"
    if isinstance(error, ParamValidationError):
        fields = sorted(set(re.findall(r"parameter (?:in input: \")?([A-Za-z0-9_.\[\]]+)", str(error))))
        missing = sorted(set(re.findall(r'Missing required parameter in \S+ "(\w+)"', str(error))))
        named = ", ".join(dict.fromkeys([*missing, *(name for name in fields if name != "in")]))
        return f"{token}: {what}: the API takes no such values: look at {named or 'the inputs'}"
    if isinstance(error, BotoCoreError):
        return f"{token}: {what}: the AWS stand-in does not answer ({type(error).__name__}): run `holdfast sandbox up`"
    if isinstance(error, KeyError):
        return f"{token}: {what}: {error.args[0]} is missing"
    return f"{token}: {what}: {type(error).__name__}"
