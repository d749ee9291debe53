"""EKS. The AWS stand-in has clusters and node groups, as records of an API and not as machines."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn

from botocore.exceptions import ClientError

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Tags, Update, Values
from holdfast_sandbox.plugins.aws.records import recorded
from holdfast_sandbox.plugins.aws.session import ProviderError

_EKS_TAGS: Final = Tags(
    add="tag_resource",
    remove="untag_resource",
    owner=("resourceArn", "arn"),
    path="tags",
    key="",
    tags_parameter="tags",
    keys_parameter="tagKeys",
)
_OWN_TAGS: Final = ("aws:", "kubernetes.io/cluster/")
"""Beginnings of the names of tags that EKS puts on node groups."""
_VPC_FIELDS: Final = (
    "subnetIds",
    "securityGroupIds",
    "endpointPublicAccess",
    "endpointPrivateAccess",
    "publicAccessCidrs",
)


def _vpc(values: Values) -> dict[str, Any]:
    given = values.get("vpcConfig", {})
    return {name: given[name] for name in _VPC_FIELDS if given.get(name) is not None}


def _found_vpc(found: Any, values: Values) -> dict[str, Any]:
    """EKS makes a security group for the cluster and its nodes; the stand-in takes the network's own for it."""
    config = dict(found["resourcesVpcConfig"])
    if not config.get("clusterSecurityGroupId") and config.get("subnetIds"):
        ec2 = values.session.client("ec2", values.get("region"))
        network = ec2.describe_subnets(SubnetIds=config["subnetIds"][:1])["Subnets"][0]["VpcId"]
        own = [{"Name": "vpc-id", "Values": [network]}, {"Name": "group-name", "Values": ["default"]}]
        config["clusterSecurityGroupId"] = ec2.describe_security_groups(Filters=own)["SecurityGroups"][0][
            "GroupId"
        ]
    return config


def _logging(values: Values) -> dict[str, Any] | None:
    types = values.get("enabledClusterLogTypes")
    return {"clusterLogging": [{"types": types, "enabled": True}]} if types else None


def _network(values: Values) -> dict[str, Any] | None:
    given = values.get("kubernetesNetworkConfig")
    if not given:
        return None
    return {name: given[name] for name in ("serviceIpv4Cidr", "ipFamily") if given.get(name)} or None


def _encryption(values: Values) -> list[dict[str, Any]] | None:
    given = values.get("encryptionConfig")
    if not given:
        return None
    return [{"resources": given["resources"], "provider": {"keyArn": given["provider"]["keyArn"]}}]


def _no_upgrade(_client: Client, values: Values) -> NoReturn:
    raise ProviderError(
        f"the AWS stand-in cannot change the version of the cluster {values.id}: `pulumi up --replace` makes a new "
        "one, or leave the version as it is in the sandbox"
    )


def _no_encryption(_client: Client, values: Values) -> NoReturn:
    raise ProviderError(
        f"the AWS stand-in cannot change the encryption of the cluster {values.id}: `pulumi up --replace` makes a new "
        "one, or leave it as it is in the sandbox"
    )


def _no_node_upgrade(_client: Client, values: Values) -> NoReturn:
    raise ProviderError(
        f"the AWS stand-in cannot change version or launch template of the node group {values.id}: `pulumi up "
        "--replace` makes a new one, or leave it as it is in the sandbox"
    )


CLUSTER: Final = Row(
    token="aws:eks/cluster:Cluster",
    service="eks",
    required=("roleArn", "vpcConfig"),
    name="name",
    name_length=100,
    create=Call(
        "create_cluster",
        {
            "name": "name",
            "version": "version",
            "roleArn": "roleArn",
            "resourcesVpcConfig": _vpc,
            "kubernetesNetworkConfig": _network,
            "logging": _logging,
            "encryptionConfig": _encryption,
        },
    ),
    identity="cluster.name",
    read=Call("describe_cluster", {"name": "@id"}),
    found="cluster",
    outputs={
        "name": "name",
        "arn": "arn",
        "endpoint": "endpoint",
        "version": "version",
        "platformVersion": "platformVersion",
        "status": "status",
        "createdAt": "createdAt",
        "roleArn": "roleArn",
        "certificateAuthority": lambda found, _values: {"data": found["certificateAuthority"]["data"]},
        "vpcConfig": _found_vpc,
        "identities": lambda found, _values: [
            {"oidcs": [{"issuer": found.get("identity", {}).get("oidc", {}).get("issuer", "")}]}
        ],
    },
    updates=(
        Update(("version",), _no_upgrade),
        Update(("encryptionConfig",), _no_encryption),
        Update(
            ("enabledClusterLogTypes",),
            Call("update_cluster_config", {"name": "@id", "logging": _logging}),
        ),
        Update(
            ("vpcConfig",),
            Call("update_cluster_config", {"name": "@id", "resourcesVpcConfig": _vpc}),
        ),
    ),
    delete=Call("delete_cluster", {"name": "@id"}),
    tags=_EKS_TAGS,
    adds=frozenset({"vpcConfig"}),
    inputs=("kubernetesNetworkConfig", "bootstrapSelfManagedAddons"),
    # Kept as declared: the stand-in has no Auto Mode, access modes or upgrade policies that could act on them.
    local=frozenset(
        {
            "accessConfig",
            "computeConfig",
            "storageConfig",
            "upgradePolicy",
            "zonalShiftConfig",
            "deletionProtection",
            "defaultAddonsToRemoves",
        }
    ),
)


def _group(values: Values) -> tuple[str, str]:
    """A node group's id is `<cluster>:<name>`."""
    cluster, _, name = values.id.partition(":")
    return cluster, name


def _create_group(client: Client, values: Values) -> Any:
    fields = {
        "clusterName": "clusterName",
        "nodegroupName": "nodeGroupName",
        "nodeRole": "nodeRoleArn",
        "subnets": "subnetIds",
        "instanceTypes": "instanceTypes",
        "amiType": "amiType",
        "capacityType": "capacityType",
        "diskSize": "diskSize",
        "labels": "labels",
        "taints": "taints",
        "scalingConfig": "scalingConfig",
        "updateConfig": "updateConfig",
        "version": "version",
        "releaseVersion": "releaseVersion",
    }
    given = {
        parameter: values.get(name) for parameter, name in fields.items() if values.get(name) is not None
    }
    given["tags"] = values.get("@tags", {})
    template = values.get("launchTemplate")
    if template:
        given["launchTemplate"] = {k: str(v) for k, v in template.items() if k in ("id", "name", "version")}
    made = client.create_nodegroup(**given)["nodegroup"]
    try:
        _create_scaling_group(values, made)
    except Exception:
        _delete_group(client, Values({}, f"{made['clusterName']}:{made['nodegroupName']}", values.session))
        raise
    return made


def _create_scaling_group(values: Values, made: dict[str, Any]) -> None:
    """EKS makes an auto scaling group; the stand-in only names one. Without nodes: nothing would run on them."""
    scaling = values.session.client("autoscaling", values.get("region"))
    ec2 = values.session.client("ec2", values.get("region"))
    name = made["resources"]["autoScalingGroups"][0]["name"]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    scaling.create_launch_configuration(LaunchConfigurationName=name, ImageId=image, InstanceType="t3.medium")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName=name,
        MinSize=0,
        MaxSize=int(values["scalingConfig"]["maxSize"]),
        DesiredCapacity=0,
        VPCZoneIdentifier=",".join(values["subnetIds"]),
    )


def _delete_group(client: Client, values: Values) -> None:
    cluster, name = _group(values)
    found = client.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
    scaling = values.session.client("autoscaling", values.get("region"))
    for group in found["resources"]["autoScalingGroups"]:
        with suppress(ClientError):
            scaling.delete_auto_scaling_group(AutoScalingGroupName=group["name"], ForceDelete=True)
        with suppress(ClientError):
            scaling.delete_launch_configuration(LaunchConfigurationName=group["name"])
    client.delete_nodegroup(clusterName=cluster, nodegroupName=name)


def _configure_group(client: Client, values: Values) -> None:
    cluster, name = _group(values)
    found = client.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
    labels, taints = values.get("labels", {}), values.get("taints", [])
    present = found.get("taints") or []
    client.update_nodegroup_config(
        clusterName=cluster,
        nodegroupName=name,
        labels={
            "addOrUpdateLabels": labels,
            "removeLabels": [label for label in found.get("labels") or {} if label not in labels],
        },
        taints={
            "addOrUpdateTaints": taints,
            "removeTaints": [one for one in present if one not in taints],
        },
        scalingConfig=values["scalingConfig"],
    )


def _tag_group(client: Client, values: Values, tags: Mapping[str, str]) -> None:
    cluster, name = _group(values)
    present = client.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"].get("tags", {})
    if {name: value for name, value in present.items() if not name.startswith(_OWN_TAGS)} != dict(tags):
        raise ProviderError(
            f"the AWS stand-in cannot change the tags of the node group {values.id}: `pulumi up --replace` makes a "
            "new one, or leave them as they are in the sandbox"
        )


NODE_GROUP: Final = Row(
    token="aws:eks/nodeGroup:NodeGroup",
    service="eks",
    required=("clusterName", "nodeRoleArn", "subnetIds", "scalingConfig"),
    name="nodeGroupName",
    name_length=63,
    create=_create_group,
    identity=lambda answer, _values: f"{answer['clusterName']}:{answer['nodegroupName']}",
    read=Call(
        "describe_nodegroup",
        {"clusterName": lambda v: _group(v)[0], "nodegroupName": lambda v: _group(v)[1]},
    ),
    found="nodegroup",
    outputs={
        "arn": "nodegroupArn",
        "clusterName": "clusterName",
        "nodeGroupName": "nodegroupName",
        "nodeRoleArn": "nodeRole",
        "subnetIds": "subnets",
        "instanceTypes": "instanceTypes",
        "amiType": "amiType",
        "capacityType": "capacityType",
        "diskSize": "diskSize",
        "labels": "labels",
        "taints": "taints",
        "scalingConfig": "scalingConfig",
        "status": "status",
        "version": "version",
        "resources": lambda found, _values: [
            {
                "autoscalingGroups": [
                    {"name": group["name"]} for group in found["resources"]["autoScalingGroups"]
                ],
                "remoteAccessSecurityGroupId": found["resources"].get("remoteAccessSecurityGroup", ""),
            }
        ],
    },
    updates=(
        Update(("labels", "taints", "scalingConfig"), _configure_group),
        Update(("version", "releaseVersion", "launchTemplate"), _no_node_upgrade),
    ),
    delete=_delete_group,
    tags=Tags(replace=_tag_group, path="tags", key="", ignored=_OWN_TAGS),
    inputs=("nodeGroupNamePrefix",),
    local=frozenset({"updateConfig", "forceUpdateVersion", "nodeRepairConfig"}),
)


def _place(values: Values) -> str:
    return f"{values.get('region') or values.session.region}:{values.session.account}"


def _arn(kind: str, *names: str) -> Any:
    return lambda values: (
        f"arn:aws:eks:{_place(values)}:{kind}/" + "/".join(str(values[name]) for name in names) + "/recorded"
    )


ADDON: Final = recorded(
    "aws:eks/addon:Addon",
    identity=lambda values: f"{values['clusterName']}:{values['addonName']}",
    properties=(
        "clusterName",
        "addonName",
        "addonVersion",
        "configurationValues",
        "serviceAccountRoleArn",
        "podIdentityAssociations",
        "resolveConflictsOnCreate",
        "resolveConflictsOnUpdate",
        "preserve",
    ),
    computed={"arn": _arn("addon", "clusterName", "addonName")},
    required=("clusterName", "addonName"),
    fixed=("clusterName", "addonName"),
    tagged=True,
)

ACCESS_ENTRY: Final = recorded(
    "aws:eks/accessEntry:AccessEntry",
    identity=lambda values: f"{values['clusterName']}:{values['principalArn']}",
    properties=("clusterName", "principalArn", "type", "kubernetesGroups", "userName"),
    computed={
        "accessEntryArn": lambda values: (
            f"arn:aws:eks:{_place(values)}:access-entry/{values['clusterName']}/recorded"
        )
    },
    required=("clusterName", "principalArn"),
    fixed=("clusterName", "principalArn", "type"),
    tagged=True,
)

ACCESS_POLICY_ASSOCIATION: Final = recorded(
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    identity=lambda values: "#".join(
        str(values[name]) for name in ("clusterName", "principalArn", "policyArn")
    ),
    properties=("clusterName", "principalArn", "policyArn", "accessScope"),
    computed={},
    required=("clusterName", "principalArn", "policyArn", "accessScope"),
    fixed=("clusterName", "principalArn", "policyArn", "accessScope"),
)

POD_IDENTITY_ASSOCIATION: Final = recorded(
    "aws:eks/podIdentityAssociation:PodIdentityAssociation",
    identity=lambda values: ",".join(
        str(values[name]) for name in ("clusterName", "namespace", "serviceAccount")
    ),
    properties=("clusterName", "namespace", "serviceAccount", "roleArn"),
    computed={
        "associationArn": _arn("podidentityassociation", "clusterName", "namespace", "serviceAccount"),
        "associationId": lambda values: f"a-{values['namespace']}-{values['serviceAccount']}",
    },
    required=("clusterName", "namespace", "serviceAccount", "roleArn"),
    fixed=("clusterName", "namespace", "serviceAccount"),
    tagged=True,
)

ROWS: Final = (
    CLUSTER,
    NODE_GROUP,
    ADDON,
    ACCESS_ENTRY,
    ACCESS_POLICY_ASSOCIATION,
    POD_IDENTITY_ASSOCIATION,
)
