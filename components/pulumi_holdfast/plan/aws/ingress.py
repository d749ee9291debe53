"""The way in: a load balancer before the gateway's port on the system nodes, its certificate and its names.

No controller in the cluster makes it: it exists before the cluster has a pod, and leaves with the stack.
"""

from __future__ import annotations

from typing import Final

from pulumi_holdfast.plan.aws.cluster import Cluster
from pulumi_holdfast.plan.aws.network import Network
from pulumi_holdfast.plan.aws.resource import Json, Planned, out, tags
from pulumi_holdfast.plan.timeouts import DRAIN_MARGIN_S
from pulumi_holdfast.spec.aws import AwsSpec, IngressKind
from pulumi_holdfast.spec.aws_rules import NLB_TCP_IDLE_MIN_S, NLB_TLS_IDLE_S

TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-2021-06"
DEREGISTRATION_S: Final = 60
"""How long a leaving node finishes what it has: as long as a stopping gateway takes."""
HTTPS: Final = 443
READY_PATH: Final = "/readyz"


def idle_s(spec: AwsSpec) -> int | None:
    """How long a connection may be silent; None without a load balancer of ours."""
    ingress = spec.ingress
    if ingress.kind is IngressKind.NONE:
        return None
    if ingress.kind is IngressKind.ALB:
        return ingress.max_request_s + DRAIN_MARGIN_S
    if ingress.tls_secret is None:
        return NLB_TLS_IDLE_S
    return max(ingress.max_request_s + DRAIN_MARGIN_S, NLB_TCP_IDLE_MIN_S)


def ingress(spec: AwsSpec, network: Network, cluster: Cluster) -> list[Planned]:
    """Certificate, load balancer, targets and records; nothing for `none`."""
    if spec.ingress.kind is IngressKind.NONE:
        return []
    return [
        *_certificate(spec),
        _balancer_group(spec, network),
        *_into_nodes(spec, cluster),
        _balancer(spec, network),
        _targets(spec, network),
        _listener(spec),
        *_attachments(cluster),
        *_records(spec),
    ]


def base_url(spec: AwsSpec) -> str | None:
    """The gateway as callers see it; None where something else decides."""
    return f"https://{spec.ingress.domain}" if spec.ingress.domain else None


def _certificate(spec: AwsSpec) -> list[Planned]:
    """For the gateway's name and every endpoint's; both are proved by the same record."""
    ingress, domain = spec.ingress, spec.ingress.domain
    if ingress.certificate_arn is not None or ingress.tls_secret is not None:
        return []
    option = "domainValidationOptions.0"
    return [
        Planned(
            "certificate",
            "aws:acm/certificate:Certificate",
            {
                "domainName": domain,
                "subjectAlternativeNames": [f"*.{domain}"],
                "validationMethod": "DNS",
                "tags": tags(spec, "certificate"),
            },
        ),
        Planned(
            "certificate-proof",
            "aws:route53/record:Record",
            {
                "zoneId": ingress.zone_id,
                "name": out("certificate", f"{option}.resourceRecordName"),
                "type": out("certificate", f"{option}.resourceRecordType"),
                "records": [out("certificate", f"{option}.resourceRecordValue")],
                "ttl": 60,
                "allowOverwrite": True,
            },
        ),
        Planned(
            "certificate-valid",
            "aws:acm/certificateValidation:CertificateValidation",
            {
                "certificateArn": out("certificate", "arn"),
                "validationRecordFqdns": [out("certificate-proof", "fqdn")],
            },
        ),
    ]


def _balancer_group(spec: AwsSpec, network: Network) -> Planned:
    return Planned(
        "balancer-group",
        "aws:ec2/securityGroup:SecurityGroup",
        {
            "vpcId": network.vpc_id,
            "description": "callers, to the load balancer",
            "ingress": [
                {
                    "protocol": "tcp",
                    "fromPort": HTTPS,
                    "toPort": HTTPS,
                    "cidrBlocks": list(spec.ingress.allowed_cidrs),
                }
            ],
            "tags": tags(spec, "balancer-group"),
        },
    )


def _into_nodes(spec: AwsSpec, cluster: Cluster) -> list[Planned]:
    """The load balancer reaches the gateway's port and nothing else, and nobody else reaches that port."""
    port = spec.ingress.node_port
    between: Json = {"ipProtocol": "tcp", "fromPort": port, "toPort": port}
    return [
        Planned(
            "balancer-to-nodes",
            "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
            {
                "securityGroupId": out("balancer-group"),
                "referencedSecurityGroupId": cluster.security_group_id,
                **between,
            },
        ),
        Planned(
            "nodes-from-balancer",
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            {
                "securityGroupId": cluster.security_group_id,
                "referencedSecurityGroupId": out("balancer-group"),
                **between,
            },
        ),
    ]


def _balancer(spec: AwsSpec, network: Network) -> Planned:
    ingress = spec.ingress
    props: Json = {
        "internal": ingress.internal,
        "securityGroups": [out("balancer-group")],
        "subnets": list(network.private if ingress.internal else network.public),
        "tags": tags(spec, "balancer"),
    }
    if ingress.kind is IngressKind.ALB:
        props |= {
            "loadBalancerType": "application",
            "idleTimeout": idle_s(spec),
            "dropInvalidHeaderFields": True,
        }
    else:
        props |= {"loadBalancerType": "network", "enableCrossZoneLoadBalancing": True}
    return Planned(
        "balancer",
        "aws:lb/loadBalancer:LoadBalancer",
        props,
        after=() if spec.network.existing else ("public-internet",),
    )


def _targets(spec: AwsSpec, network: Network) -> Planned:
    """Nodes by their port. Only those with a ready gateway answer: its Service keeps traffic on the node."""
    application = spec.ingress.kind is IngressKind.ALB
    return Planned(
        "targets",
        "aws:lb/targetGroup:TargetGroup",
        {
            "port": spec.ingress.node_port,
            "protocol": "HTTP" if application else "TCP",
            "vpcId": network.vpc_id,
            "targetType": "instance",
            "deregistrationDelay": DEREGISTRATION_S,
            "healthCheck": {
                "path": READY_PATH,
                "protocol": "HTTP" if spec.ingress.tls_secret is None else "HTTPS",
                "port": "traffic-port",
                "interval": 10,
                "timeout": 5,
                "healthyThreshold": 2,
                "unhealthyThreshold": 2,
                "matcher": "200",
            },
            "tags": tags(spec, "targets"),
        },
    )


def _listener(spec: AwsSpec) -> Planned:
    if spec.ingress.tls_secret is not None:
        ends: Json = {"protocol": "TCP", "tcpIdleTimeoutSeconds": idle_s(spec)}
    else:
        ends = {
            "protocol": "HTTPS" if spec.ingress.kind is IngressKind.ALB else "TLS",
            "sslPolicy": TLS_POLICY,
            "certificateArn": spec.ingress.certificate_arn or out("certificate-valid", "certificateArn"),
        }
    return Planned(
        "listener",
        "aws:lb/listener:Listener",
        {
            "loadBalancerArn": out("balancer", "arn"),
            "port": HTTPS,
            **ends,
            "defaultActions": [{"type": "forward", "targetGroupArn": out("targets", "arn")}],
            "tags": tags(spec, "listener"),
        },
    )


def _attachments(cluster: Cluster) -> list[Planned]:
    return [
        Planned(
            f"targets-{index}",
            "aws:autoscaling/attachment:Attachment",
            {"autoscalingGroupName": group, "lbTargetGroupArn": out("targets", "arn")},
        )
        for index, group in enumerate(cluster.system_scaling_groups)
    ]


def _records(spec: AwsSpec) -> list[Planned]:
    """The gateway's name and one for all endpoints; none where the zone is elsewhere."""
    if spec.ingress.zone_id is None:
        return []
    alias = {
        "name": out("balancer", "dnsName"),
        "zoneId": out("balancer", "zoneId"),
        "evaluateTargetHealth": True,
    }
    domain = spec.ingress.domain
    return [
        Planned(
            child,
            "aws:route53/record:Record",
            {"zoneId": spec.ingress.zone_id, "name": name, "type": "A", "aliases": [alias]},
        )
        for child, name in (("name", domain), ("endpoint-names", f"*.{domain}"))
    ]
