"""The AWS stand-in: moto's server on the loopback, filled with what the examples read.

There is no AWS in a sandbox. Components, External Secrets and `aws:` resources talk to it through the same API
as to the real one, at another address. It keeps nothing over a restart: it is filled at every start, and one that had
run before says what that means.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from holdfast_sandbox import processes, registry
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress

PORT: Final = 5566
URL: Final = f"http://127.0.0.1:{PORT}"
REGION: Final = "us-east-1"
REGISTRY_SECRET: Final = "sandbox/registry"
DEMO_SECRET: Final = "sandbox/demo"
ENVIRONMENT: Final = {
    "AWS_ENDPOINT_URL": URL,
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    # Without it, clients that find no keys ask an address in the network for some.
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What makes AWS clients talk to the stand-in. The keys open nothing anywhere."""


def client(service: str) -> Any:
    """A boto3 client of the stand-in."""
    make: Any = boto3.client  # typed for literal service names only
    return make(
        service,
        endpoint_url=URL,
        region_name=REGION,
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=10),
    )


def start(paths: Paths, progress: Progress) -> None:
    """Start the stand-in and fill it. Says what is lost where it had run before."""
    ran_before = (paths.log / "aws.log").is_file()
    server = Path(sys.executable).with_name("moto_server")
    # Without them no role can have one of AWS's own policies, as every role of EKS does; 42 MiB at first use.
    settings = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    started = processes.start(paths, "aws", [server, "-H", "127.0.0.1", "-p", str(PORT)], settings)
    processes.wait_until("the AWS stand-in does not answer", _answers, 30, paths, "aws")
    put_secret(REGISTRY_SECRET, {"username": registry.USER, "password": registry.password(paths)})
    put_secret(DEMO_SECRET, {"greeting": "hello from Secrets Manager"})
    if started and ran_before:
        progress.say(
            "the AWS stand-in was started anew and has forgotten all but the sandbox's own secrets: put yours in "
            "again; `pulumi refresh`, then `pulumi up`, brings back what a stack declares of `aws:`"
        )


def put_secret(name: str, value: dict[str, str]) -> None:
    """Create a secret, or give it a new version where the value differs."""
    manager = client("secretsmanager")
    text = json.dumps(value)
    try:
        if manager.get_secret_value(SecretId=name)["SecretString"] != text:
            manager.put_secret_value(SecretId=name, SecretString=text)
    except manager.exceptions.ResourceNotFoundException:
        manager.create_secret(Name=name, SecretString=text)


def _answers() -> bool:
    try:
        client("sts").get_caller_identity()
    except (BotoCoreError, ClientError):
        return False
    return True
