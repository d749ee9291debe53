"""Load balancers, target groups and listeners of the AWS stand-in."""

from __future__ import annotations

import pytest
from aws_in_process import Aws, Refused, Resource

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGETS = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"


def _network(aws: Aws) -> tuple[str, str]:
    vpc = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return vpc, aws.client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20")["Subnet"]["SubnetId"]


def _targets(aws: Aws, vpc: str) -> Resource:
    return aws.create(TARGETS, name="t", vpcId=vpc, port=80, protocol="HTTP", deregistrationDelay=30)


def test_a_setting_that_is_no_longer_declared_is_the_usual_one_again(aws: Aws) -> None:
    _, subnet = _network(aws)
    balancer = aws.create(BALANCER, name="b", subnets=[subnet], enableDeletionProtection=True, idleTimeout=90)
    balancer.update(enableDeletionProtection=None, idleTimeout=None)
    found = aws.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=balancer.id)["Attributes"]
    now = {one["Key"]: one["Value"] for one in found}
    assert (now["deletion_protection.enabled"], now["idle_timeout.timeout_seconds"]) == ("false", "60")
    assert balancer.update(ipAddressType="dualstack")["ipAddressType"] == "dualstack"
    balancer.delete()


def test_a_setting_of_a_target_group_that_is_changed_from_outside_is_seen(aws: Aws) -> None:
    targets = _targets(aws, _network(aws)[0])
    client, delay = aws.client("elbv2"), "deregistration_delay.timeout_seconds"
    client.modify_target_group_attributes(
        TargetGroupArn=targets.id, Attributes=[{"Key": delay, "Value": "99"}]
    )
    targets.refresh()
    assert list(targets.diff(deregistrationDelay=30).diffs) == ["deregistrationDelay"]
    targets.update(deregistrationDelay=None)
    found = client.describe_target_group_attributes(TargetGroupArn=targets.id)["Attributes"]
    assert {one["Key"]: one["Value"] for one in found}[delay] == "300"


def test_a_target_group_keeps_the_addresses_of_clients_as_text(aws: Aws) -> None:
    vpc, _ = _network(aws)
    aws.create(TARGETS, name="t", vpcId=vpc, port=80, protocol="TCP", preserveClientIp="true")


def test_a_listener_keeps_clients_with_one_target_group(aws: Aws) -> None:
    vpc, subnet = _network(aws)
    balancer, targets = aws.create(BALANCER, name="b", subnets=[subnet]), _targets(aws, vpc)
    forward = {
        "targetGroups": [{"arn": targets.id, "weight": 1}],
        "stickiness": {"enabled": True, "duration": 600},
    }
    action = {"type": "forward", "forward": forward}
    listener = aws.create(
        LISTENER, loadBalancerArn=balancer.id, port=80, protocol="HTTP", defaultActions=[action]
    )
    found = aws.client("elbv2").describe_listeners(ListenerArns=[listener.id])["Listeners"][0]
    sticky = found["DefaultActions"][0]["ForwardConfig"]["TargetGroupStickinessConfig"]
    assert (sticky["Enabled"], sticky["DurationSeconds"]) == (True, 600)


def test_a_listener_that_would_ask_for_a_login_is_refused_instead_of_opened(aws: Aws) -> None:
    _, subnet = _network(aws)
    balancer = aws.create(BALANCER, name="b", subnets=[subnet])
    action = {"type": "authenticate-oidc", "authenticateOidc": {"clientId": "web"}}
    with pytest.raises(Refused, match=r"listeners do not model authenticateOidc: .* let through"):
        aws.create_only(
            LISTENER, loadBalancerArn=balancer.id, port=443, protocol="HTTPS", defaultActions=[action]
        )
