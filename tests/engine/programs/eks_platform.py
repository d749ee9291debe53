"""A whole platform on EKS, as the components will declare it: what the AWS stand-in's provider must carry."""

import json

import pulumi
import pulumi_aws as aws

config = pulumi.Config()
TAGS = {"project": config.get("project") or "holdfast"}


def role(name: str, service: str) -> aws.iam.Role:
    statement = {
        "Effect": "Allow",
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Principal": {"Service": service},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return aws.iam.Role(name, assume_role_policy=document, tags=TAGS)


# Network.
zones = aws.get_availability_zones(state="available").names[:2]
vpc = aws.ec2.Vpc(
    "main", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, enable_dns_support=True, tags=TAGS
)
gateway = aws.ec2.InternetGateway("main", vpc_id=vpc.id, tags=TAGS)
public_table = aws.ec2.RouteTable("public", vpc_id=vpc.id, tags=TAGS)
aws.ec2.Route(
    "public", route_table_id=public_table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id
)
public, private = [], []
for number, zone_name in enumerate(zones):
    public.append(
        aws.ec2.Subnet(
            f"public-{number}",
            vpc_id=vpc.id,
            cidr_block=f"10.0.{number}.0/24",
            availability_zone=zone_name,
            map_public_ip_on_launch=True,
            tags=TAGS,
        )
    )
    private.append(
        aws.ec2.Subnet(
            f"private-{number}",
            vpc_id=vpc.id,
            cidr_block=f"10.0.{10 + number}.0/24",
            availability_zone=zone_name,
            tags=TAGS,
        )
    )
address = aws.ec2.Eip("nat", domain="vpc", tags=TAGS)
nat = aws.ec2.NatGateway("nat", allocation_id=address.allocation_id, subnet_id=public[0].id, tags=TAGS)
private_table = aws.ec2.RouteTable(
    "private", vpc_id=vpc.id, routes=[{"cidrBlock": "0.0.0.0/0", "natGatewayId": nat.id}], tags=TAGS
)
for table, subnets in (("public", public), ("private", private)):
    for number, subnet in enumerate(subnets):
        aws.ec2.RouteTableAssociation(
            f"{table}-{number}",
            route_table_id=(public_table if table == "public" else private_table).id,
            subnet_id=subnet.id,
        )
aws.ec2.VpcEndpoint(
    "s3",
    vpc_id=vpc.id,
    service_name="com.amazonaws.us-east-1.s3",
    vpc_endpoint_type="Gateway",
    route_table_ids=[private_table.id],
    tags=TAGS,
)
ports = [443, 8443] if config.get_bool("second_port") else [443]
balancer_group = aws.ec2.SecurityGroup(
    "balancer",
    vpc_id=vpc.id,
    description="load balancer",
    ingress=[{"protocol": "tcp", "fromPort": p, "toPort": p, "cidrBlocks": ["0.0.0.0/0"]} for p in ports],
    egress=[{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
    tags=TAGS,
)
node_group = aws.ec2.SecurityGroup("nodes", vpc_id=vpc.id, description="nodes", tags=TAGS)
aws.vpc.SecurityGroupIngressRule(
    "node-port",
    security_group_id=node_group.id,
    referenced_security_group_id=balancer_group.id,
    ip_protocol="tcp",
    from_port=30080,
    to_port=30080,
)
aws.vpc.SecurityGroupEgressRule(
    "out", security_group_id=node_group.id, cidr_ipv4="0.0.0.0/0", ip_protocol="-1"
)
aws.ec2.SecurityGroupRule(
    "health",
    type="ingress",
    security_group_id=node_group.id,
    protocol="tcp",
    from_port=30081,
    to_port=30081,
    source_security_group_id=balancer_group.id,
)

# Cluster and nodes.
cluster_role, node_role = role("cluster", "eks.amazonaws.com"), role("nodes", "ec2.amazonaws.com")
attached = [
    aws.iam.RolePolicyAttachment(
        f"nodes-{name}", role=node_role.name, policy_arn=f"arn:aws:iam::aws:policy/{name}"
    )
    for name in ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryReadOnly")
]
key = aws.kms.Key("secrets", description="secrets", enable_key_rotation=True, tags=TAGS)
aws.cloudwatch.LogGroup(
    "cluster", name="/aws/eks/main/cluster", retention_in_days=config.get_int("retention") or 30, tags=TAGS
)
cluster = aws.eks.Cluster(
    "main",
    name="main",
    role_arn=cluster_role.arn,
    version=config.get("version") or "1.33",
    vpc_config={
        "subnetIds": [subnet.id for subnet in private],
        "endpointPrivateAccess": True,
        "endpointPublicAccess": True,
    },
    access_config={"authenticationMode": "API"},
    encryption_config={"resources": ["secrets"], "provider": {"keyArn": key.arn}},
    enabled_cluster_log_types=["api", "audit"],
    tags=TAGS,
)
template = aws.ec2.LaunchTemplate(
    "gpu",
    update_default_version=True,
    block_device_mappings=[
        {"deviceName": "/dev/xvda", "ebs": {"volumeSize": 200, "volumeType": "gp3", "encrypted": "true"}}
    ],
    metadata_options={"httpTokens": "required", "httpPutResponseHopLimit": 1},
    tags=TAGS,
)
nodes = aws.eks.NodeGroup(
    "gpu",
    cluster_name=cluster.name,
    node_role_arn=node_role.arn,
    subnet_ids=[subnet.id for subnet in private],
    instance_types=["g6.xlarge"],
    ami_type="AL2023_x86_64_NVIDIA",
    scaling_config={"minSize": 0, "maxSize": config.get_int("max_nodes") or 4, "desiredSize": 0},
    labels={"gpu": "l4"},
    taints=[{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}],
    launch_template={"id": template.id, "version": template.latest_version.apply(str)},
    tags=TAGS if not config.get("project") else {"project": "holdfast"},
    opts=pulumi.ResourceOptions(depends_on=attached),
)
scaling_group = nodes.resources[0].autoscaling_groups[0].name
aws.eks.Addon("cni", cluster_name=cluster.name, addon_name="vpc-cni", tags=TAGS)
aws.eks.AccessEntry(
    "admin", cluster_name=cluster.name, principal_arn=node_role.arn, type="STANDARD", tags=TAGS
)
aws.eks.AccessPolicyAssociation(
    "admin",
    cluster_name=cluster.name,
    principal_arn=node_role.arn,
    policy_arn="arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
    access_scope={"type": "cluster"},
)
aws.eks.PodIdentityAssociation(
    "secrets",
    cluster_name=cluster.name,
    namespace="external-secrets",
    service_account="external-secrets",
    role_arn=node_role.arn,
    tags=TAGS,
)
aws.iam.OpenIdConnectProvider(
    "cluster", url=cluster.identities[0].oidcs[0].issuer, client_id_lists=["sts.amazonaws.com"]
)
aws.iam.InstanceProfile("nodes", role=node_role.name)

# Names, certificate, load balancer.
zone = aws.route53.Zone("names", name="example.com", tags=TAGS)
certificate = aws.acm.Certificate("names", domain_name="*.example.com", validation_method="DNS", tags=TAGS)
option = certificate.domain_validation_options[0]
proof = aws.route53.Record(
    "proof",
    zone_id=zone.zone_id,
    name=option.resource_record_name,
    type=option.resource_record_type,
    records=[option.resource_record_value],
    ttl=60,
    allow_overwrite=True,
)
valid = aws.acm.CertificateValidation(
    "names", certificate_arn=certificate.arn, validation_record_fqdns=[proof.fqdn]
)
balancer = aws.lb.LoadBalancer(
    "gateway",
    load_balancer_type="application",
    security_groups=[balancer_group.id],
    subnets=[subnet.id for subnet in public],
    idle_timeout=config.get_int("idle_timeout") or 630,
    drop_invalid_header_fields=True,
    tags=TAGS,
)
targets = aws.lb.TargetGroup(
    "gateway",
    port=30080,
    protocol="HTTP",
    vpc_id=vpc.id,
    target_type="instance",
    deregistration_delay=30,
    health_check={"path": "/readyz", "port": "30081", "interval": 10, "timeout": 5, "matcher": "200"},
    tags=TAGS,
)
aws.lb.Listener(
    "gateway",
    load_balancer_arn=balancer.arn,
    port=443,
    protocol="HTTPS",
    ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06",
    certificate_arn=valid.certificate_arn,
    default_actions=[{"type": "forward", "targetGroupArn": targets.arn}],
    tags=TAGS,
)
aws.autoscaling.Attachment("gateway", autoscaling_group_name=scaling_group, lb_target_group_arn=targets.arn)
aws.autoscaling.Tag(
    "gpu",
    autoscaling_group_name=scaling_group,
    tag={"key": "node-template/label/gpu", "value": "l4", "propagateAtLaunch": False},
)
aws.route53.Record(
    "gateway",
    zone_id=zone.zone_id,
    name="gateway.example.com",
    type="A",
    aliases=[{"name": balancer.dns_name, "zoneId": balancer.zone_id, "evaluateTargetHealth": True}],
)

pulumi.export("cluster", cluster.name)
pulumi.export("endpoint", cluster.endpoint)
pulumi.export("authority", cluster.certificate_authority.data)
pulumi.export("balancer", balancer.arn)
pulumi.export("balancer_group", balancer_group.id)
pulumi.export("scaling_group", scaling_group)
pulumi.export("targets", targets.arn)
