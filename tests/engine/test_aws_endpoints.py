"""A whole stack on AWS with twenty endpoints: every figure in a preview without an account, then up and down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_project import declare, leftovers

PROGRAM = Path(__file__).parent / "programs" / "aws_twenty.py"
NAMES = [f"e{number:02}" for number in range(20)]
NOWHERE = "http://127.0.0.1:9"
"""A port that nothing listens on: whoever asks AWS fails."""
ANSWERS: dict[str, Any] = {
    "recorded": "2026-11-24T22:00:00Z",
    "region": "us-east-1",
    "images": {
        f"ghcr.io/acme/model-{name[1:]}:1": {"digest": "sha256:" + "1" * 64, "bytes": 9_000_000_000}
        for name in NAMES
    },
    "secrets": {"acme/ghcr": {"keys": ["password", "username"]}},
    "zones": {},
    "quotas": {"L-DB2E81BA": {"vcpus": 768}},
}
TLS_IN_THE_GATEWAY = {"kind": "nlb", "tls_secret": "gpu-tls", "max_request_s": 3600}
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def twenty(project: Any, aws: Any) -> Any:
    """The project, declared; not yet brought up."""
    project.write(PROGRAM.read_text())
    (project.folder / "answers.json").write_text(json.dumps(ANSWERS))
    project.run("config", "set", "--secret", "brokerSecret", "a secret for the brokers of tests")
    declare(project, aws, ingress=TLS_IN_THE_GATEWAY)
    return project


def test_a_preview_of_twenty_endpoints_needs_no_account_and_shows_every_figure(twenty: Any) -> None:
    twenty.environment["AWS_ENDPOINT_URL"] = NOWHERE
    output = twenty.run("preview", "--json", timeout_s=400)
    plan = json.loads(output[output.index("{") :])
    declared = {
        step["urn"].rpartition("::")[2]: step["newState"]["inputs"]["declared"]
        for step in plan["steps"]
        if step["newState"]["type"] == "holdfast:index:Endpoint"
    }
    assert sorted(declared) == NAMES
    for number, name in enumerate(NAMES):
        cost = declared[name]["cost"]
        machine_usd = cost["ceiling_usd_month"] / 2
        assert machine_usd > 500
        assert cost["floor_usd_month"] == pytest.approx(0 if number % 5 else machine_usd, rel=1e-3)
    shown = "\n".join(one["message"] for one in plan["diagnostics"])
    for number, name in enumerate(NAMES):
        assert f'endpoint "{name}": checked: image ghcr.io/acme/model-{name[1:]}:1 is sha256:' in shown
        assert f'endpoint "{name}": not checked: zones of' in shown
        assert (f'endpoint "{name}": a cold start takes at least' in shown) is (number % 5 != 0)


def test_a_preview_shows_what_the_platform_costs_at_rest(twenty: Any) -> None:
    twenty.environment["AWS_ENDPOINT_URL"] = NOWHERE
    outputs = twenty.run("preview", timeout_s=400).partition("Outputs:")[2]
    assert "at_rest" in outputs
    assert outputs.count("usd_month") >= 6


def test_the_same_program_comes_up_stays_and_leaves_nothing(twenty: Any, aws: Any) -> None:
    twenty.run("up", "--yes", "--skip-preview", timeout_s=400)
    rendered = twenty.folder / "rendered"
    made = [path.name for path in rendered.rglob("*.yaml")]
    assert all(any(f"deployment-holdfast-{name}." in one for one in made) for name in NAMES)
    assert_tls_is_passed_through(aws)
    twenty.run("up", "--yes", "--skip-preview", "--expect-no-changes", timeout_s=400)
    # Rendered objects cannot be read back, so only the way in is.
    way_in = [
        flag for name in ("balancer", "targets", "listener") for flag in ("--target", f"**::gpu-{name}")
    ]
    twenty.run("refresh", "--yes", "--skip-preview", "--expect-no-changes", *way_in, timeout_s=100)
    twenty.run("destroy", "--yes", "--skip-preview", timeout_s=400)
    assert leftovers(aws) == {}
    assert list(rendered.rglob("*.yaml")) == []


def assert_tls_is_passed_through(aws: Any) -> None:
    """One listener for TCP, silent for as long as the longest request, before gateways that are asked by TLS."""
    balancing = aws.client("elbv2")
    (balancer,) = balancing.describe_load_balancers()["LoadBalancers"]
    (listener,) = balancing.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    (targets,) = balancing.describe_target_groups()["TargetGroups"]
    kept = balancing.describe_listener_attributes(ListenerArn=listener["ListenerArn"])["Attributes"]
    assert balancer["Type"] == "network"
    assert (listener["Protocol"], listener["Port"]) == ("TCP", 443)
    assert "Certificates" not in listener
    assert {"Key": "tcp.idle_timeout.seconds", "Value": "3630"} in kept
    assert listener["DefaultActions"][0]["TargetGroupArn"] == targets["TargetGroupArn"]
    assert (targets["Protocol"], targets["HealthCheckProtocol"]) == ("TCP", "HTTPS")
    assert aws.client("acm").list_certificates()["CertificateSummaryList"] == []
