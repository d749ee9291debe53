"""The EKS cluster, its add-ons and its system nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pulumi_holdfast.plan.aws.network import Network
from pulumi_holdfast.plan.aws.resource import Json, Planned, document, out, tags
from pulumi_holdfast.plan.aws.roles import POD_IDENTITY, allow, attachments, role
from pulumi_holdfast.spec.aws import AwsSpec
from pulumi_holdfast.spec.aws_pools import PoolKind
from pulumi_holdfast.spec.aws_rules import ADDONS

NODE_POLICIES: Final = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")
"""What a node needs: to register, and to pull from this account's registry. Pods' rights are their own."""
AUTO_POLICIES: Final = (
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
)
"""What EKS needs on the cluster's role to run Auto Mode."""
ADDON_IDENTITIES: Final = {
    "vpc-cni": ("aws-node", "AmazonEKS_CNI_Policy"),
    "aws-ebs-csi-driver": ("ebs-csi-controller-sa", "service-role/AmazonEBSCSIDriverPolicy"),
}
"""Service account (in kube-system) and policy of the add-ons that call AWS."""
BEFORE_NODES: Final = ("eks-pod-identity-agent", "kube-proxy", "vpc-cni")
"""Add-ons that a node needs to become ready; the others need nodes to run on."""
SYSTEM_LABEL: Final = {"holdfast.dev/system": "true"}
_POLICY: Final = "arn:{partition}:eks::aws:cluster-access-policy/{name}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What other parts use, as holes where the cluster is made here."""

    name: str
    endpoint: str
    certificate_authority: str
    security_group_id: str
    system_scaling_groups: tuple[str, ...]


def cluster_of(spec: AwsSpec) -> Cluster:
    """The cluster as other parts see it."""
    existing = spec.cluster.existing
    if existing is not None:
        return Cluster(
            existing.name,
            existing.endpoint,
            existing.certificate_authority,
            existing.security_group_id,
            existing.system_scaling_groups,
        )
    return Cluster(
        out("cluster", "name"),
        out("cluster", "endpoint"),
        out("cluster", "certificateAuthority.data"),
        out("cluster", "vpcConfig.clusterSecurityGroupId"),
        (out("system", "resources.0.autoscalingGroups.0.name"),),
    )


def cluster_name(spec: AwsSpec) -> str:
    """The cluster's name, known before it exists: policies and tags contain it."""
    return spec.cluster.existing.name if spec.cluster.existing else spec.name


def cluster(spec: AwsSpec, network: Network) -> list[Planned]:
    """Key, log group, cluster, who may enter, add-ons, system nodes; nothing where the cluster exists."""
    if spec.cluster.existing is not None:
        return []
    auto = spec.has(PoolKind.AUTO)
    cluster_role = role(
        spec,
        "cluster-role",
        "eks.amazonaws.com",
        ("AmazonEKSClusterPolicy", *(AUTO_POLICIES if auto else ())),
    )
    if auto:
        # EKS tags the machines that it starts; its trust needs the session's tags.
        cluster_role[0].props["assumeRolePolicy"] = _auto_trust()
    nodes = node_role(spec)
    return [
        *_key(spec),
        _logs(spec),
        *cluster_role,
        _cluster(spec, network, attachments(cluster_role)),
        *_entries(spec),
        *nodes,
        *_addons(spec, BEFORE_NODES, ()),
        launch_template(spec, "system", disk(spec.cluster.system.disk_gib)),
        _system(spec, network, attachments(nodes)),
        *_addons(spec, tuple(name for name in ADDONS if name not in BEFORE_NODES), ("system",)),
    ]


def node_role(spec: AwsSpec) -> list[Planned]:
    """The role of every node. Pods cannot take it: the metadata service answers the node alone."""
    pulls = spec.identities.ecr_repositories
    statements = (
        [
            allow(
                "PullFromOtherAccounts",
                ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                pulls,
            )
        ]
        if pulls
        else []
    )
    return role(spec, "node-role", "ec2.amazonaws.com", NODE_POLICIES, statements)


def disk(gib: int, throughput_mib_s: int = 125, iops: int = 3000, device: str = "/dev/xvda") -> Json:
    """An encrypted gp3 disk; its defaults are what gp3 gives without a surcharge."""
    return {
        "deviceName": device,
        "ebs": {
            "volumeSize": gib,
            "volumeType": "gp3",
            "throughput": throughput_mib_s,
            "iops": iops,
            "encrypted": "true",
            "deleteOnTermination": "true",
        },
    }


def launch_template(spec: AwsSpec, owner: str, *disks: Json, more: Json | None = None) -> Planned:
    """A node group's launch template: disks, and a metadata service that pods cannot reach (one hop)."""
    child = f"{owner}-template"
    return Planned(
        child,
        "aws:ec2/launchTemplate:LaunchTemplate",
        {
            "updateDefaultVersion": True,
            "blockDeviceMappings": list(disks),
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpTokens": "required",
                "httpPutResponseHopLimit": 1,
            },
            "tagSpecifications": [
                {"resourceType": kind, "tags": tags(spec, owner)} for kind in ("instance", "volume")
            ],
            "tags": tags(spec, child),
            **(more or {}),
        },
    )


def _auto_trust() -> str:
    actions = ["sts:AssumeRole", "sts:TagSession"]
    return document([{"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": actions}])


def _key(spec: AwsSpec) -> list[Planned]:
    if spec.cluster.kms_key_arn is not None:
        return []
    return [
        Planned(
            "secrets-key",
            "aws:kms/key:Key",
            {
                "description": f"Kubernetes Secrets of {spec.name}",
                "enableKeyRotation": True,
                "deletionWindowInDays": 30,
                "tags": tags(spec, "secrets-key"),
            },
        )
    ]


def _logs(spec: AwsSpec) -> Planned:
    """Made before the cluster, which would otherwise make one that keeps everything for ever."""
    return Planned(
        "cluster-logs",
        "aws:cloudwatch/logGroup:LogGroup",
        {
            "name": f"/aws/eks/{spec.name}/cluster",
            "retentionInDays": spec.cluster.log_days,
            "tags": tags(spec, "cluster-logs"),
        },
    )


def _cluster(spec: AwsSpec, network: Network, after: tuple[str, ...]) -> Planned:
    declared = spec.cluster
    props: Json = {
        "name": spec.name,
        "version": declared.version,
        "roleArn": out("cluster-role", "arn"),
        "vpcConfig": {
            "subnetIds": list(network.private),
            "endpointPrivateAccess": True,
            "endpointPublicAccess": bool(declared.public_cidrs),
        },
        # Who made the cluster has no rights by that: everybody who has stands among the entries.
        "accessConfig": {
            "authenticationMode": "API",
            "bootstrapClusterCreatorAdminPermissions": False,
        },
        "encryptionConfig": {
            "resources": ["secrets"],
            "provider": {"keyArn": declared.kms_key_arn or out("secrets-key", "arn")},
        },
        "enabledClusterLogTypes": [kind.value for kind in declared.log_types],
        "bootstrapSelfManagedAddons": False,
        "deletionProtection": declared.deletion_protection,
        "upgradePolicy": {"supportType": "STANDARD"},
        "tags": tags(spec, "cluster"),
    }
    if declared.public_cidrs:
        props["vpcConfig"]["publicAccessCidrs"] = list(declared.public_cidrs)
    if spec.has(PoolKind.AUTO):
        props["computeConfig"] = {"enabled": True}
        props["storageConfig"] = {"blockStorage": {"enabled": True}}
        props["kubernetesNetworkConfig"] = {"elasticLoadBalancing": {"enabled": True}}
    return Planned("cluster", "aws:eks/cluster:Cluster", props, after=("cluster-logs", *after))


def _entries(spec: AwsSpec) -> list[Planned]:
    """Who may enter, in the order of the declaration."""
    planned = []
    groups = (
        ("admin", spec.cluster.admins, "AmazonEKSClusterAdminPolicy"),
        ("viewer", spec.cluster.viewers, "AmazonEKSViewPolicy"),
    )
    for kind, principals, policy in groups:
        for principal in principals:
            child = f"{kind}-{_who(spec, principal)}"
            entry = {"clusterName": out("cluster", "name"), "principalArn": principal}
            planned += [
                Planned(
                    child,
                    "aws:eks/accessEntry:AccessEntry",
                    {**entry, "type": "STANDARD", "tags": tags(spec, child)},
                ),
                Planned(
                    f"{child}-rights",
                    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
                    {
                        **entry,
                        "policyArn": _POLICY.format(partition=spec.partition, name=policy),
                        "accessScope": {"type": "cluster"},
                    },
                    after=(child,),
                ),
            ]
    return planned


def _who(spec: AwsSpec, principal: str) -> str:
    """A principal as part of a child's name: `role-deploy`, with the account where it is another one."""
    account, name = principal.split(":", 5)[4:]
    plain = name.replace("/", "-")
    return plain if account == spec.account else f"{account}-{plain}"


def _addons(spec: AwsSpec, names: tuple[str, ...], after: tuple[str, ...]) -> list[Planned]:
    planned = []
    for name in names:
        waits = after
        props: Json = {
            "clusterName": out("cluster", "name"),
            "addonName": name,
            "addonVersion": spec.cluster.addons[name],
            "resolveConflictsOnCreate": "OVERWRITE",
            "resolveConflictsOnUpdate": "PRESERVE",
            "tags": tags(spec, f"addon-{name}"),
        }
        if name in ADDON_IDENTITIES:
            account, policy = ADDON_IDENTITIES[name]
            own = role(spec, f"addon-{name}-role", POD_IDENTITY, (policy,))
            planned += own
            waits = (*after, *attachments(own))
            props["podIdentityAssociations"] = [
                {"serviceAccount": account, "roleArn": out(f"addon-{name}-role", "arn")}
            ]
        planned.append(Planned(f"addon-{name}", "aws:eks/addon:Addon", props, after=waits))
    return planned


def _system(spec: AwsSpec, network: Network, after: tuple[str, ...]) -> Planned:
    declared = spec.cluster.system
    props: Json = {
        "clusterName": out("cluster", "name"),
        "nodeRoleArn": out("node-role", "arn"),
        "subnetIds": list(network.private),
        "instanceTypes": list(declared.instance_types),
        "amiType": "AL2023_x86_64_STANDARD",
        "launchTemplate": {"id": out("system-template"), "version": out("system-template", "latestVersion")},
        "labels": dict(SYSTEM_LABEL),
        "scalingConfig": {
            "minSize": declared.min_nodes,
            "maxSize": declared.max_nodes,
            "desiredSize": declared.min_nodes,
        },
        "updateConfig": {"maxUnavailable": 1},
        "tags": tags(spec, "system"),
    }
    if declared.release is not None:
        props["releaseVersion"] = declared.release
    return Planned(
        "system",
        "aws:eks/nodeGroup:NodeGroup",
        props,
        after=(*after, *(f"addon-{name}" for name in BEFORE_NODES)),
        # How many there are is the autoscaler's from then on.
        ignore=("scalingConfig.desiredSize",),
    )
