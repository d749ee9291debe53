"""What goes into a cluster on AWS: charts with pinned versions, pools of Karpenter and Auto Mode, spares, pre-pulls."""

from __future__ import annotations

from typing import Any

import pytest
from aws_args import aws_args

from pulumi_holdfast.plan.aws.charts import AUTOSCALER_CUTOFF, SPARE_PRIORITY, PlannedChart, charts
from pulumi_holdfast.plan.aws.objects import objects
from pulumi_holdfast.plan.manifest import Manifest
from pulumi_holdfast.plan.timeouts import grace_s
from pulumi_holdfast.spec.aws import parse_aws
from pulumi_holdfast.spec.scaling import ScalingSpec

ALIAS = "al2023@v20251120"


def planned(kind: str = "karpenter", **fields: Any) -> dict[str, Manifest]:
    """The objects of a platform with one pool, by child."""
    return {one.child: one for one in objects(parse_aws("gpu", aws_args(pools=pool(kind, **fields))))}


def pool(kind: str, **fields: Any) -> dict[str, Any]:
    """A platform's `pools` with one pool."""
    more = {"ami_alias": ALIAS} if kind == "karpenter" else {}
    return {"l4": {"kind": kind, "instance_types": ("g6.xlarge", "g5.xlarge"), **more, **fields}}


def releases(**changes: Any) -> dict[str, PlannedChart]:
    """The charts by child."""
    return {chart.child: chart for chart in charts(parse_aws("gpu", aws_args(**changes)))}


def test_nodes_end_when_empty_and_for_no_other_reason() -> None:
    spec = planned()["nodes-l4"].body["spec"]
    assert spec["disruption"] == {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "300s"}
    assert spec["template"]["spec"]["expireAfter"] == "Never"
    grace = spec["template"]["spec"]["terminationGracePeriod"]
    assert int(grace.removesuffix("s")) > grace_s(ScalingSpec(max_request_s=900))


def test_a_pool_of_karpenter_is_limited_tainted_and_labelled() -> None:
    spec = planned(max_nodes=3, capacity={"kind": "spot"}, zones=("us-east-1a",))["nodes-l4"].body["spec"]
    assert spec["limits"] == {"nvidia.com/gpu": "3"}
    template = spec["template"]
    assert template["spec"]["taints"] == [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    ]
    assert template["metadata"]["labels"]["holdfast.dev/gpu"] == "true"
    requirements = {one["key"]: one["values"] for one in template["spec"]["requirements"]}
    assert requirements == {
        "node.kubernetes.io/instance-type": ["g6.xlarge", "g5.xlarge"],
        "karpenter.sh/capacity-type": ["spot"],
        "topology.kubernetes.io/zone": ["us-east-1a"],
    }


def test_a_class_of_karpenter_uses_our_profile_our_subnets_and_a_pinned_image() -> None:
    spec = planned()["class-l4"].body["spec"]
    assert spec["amiSelectorTerms"] == [{"alias": ALIAS}]
    assert spec["instanceProfile"] == "gpu-us-east-1-karpenter"
    assert "role" not in spec
    assert spec["subnetSelectorTerms"] == [
        {"id": "⟦private-us-east-1a.id⟧"},
        {"id": "⟦private-us-east-1b.id⟧"},
    ]
    assert spec["metadataOptions"]["httpPutResponseHopLimit"] == 1
    assert "FastImagePull: true" in spec["userData"]
    assert spec["blockDeviceMappings"][0]["ebs"]["throughput"] == 600


def test_reserved_capacity_is_chosen_by_its_id() -> None:
    made = planned(capacity={"kind": "reservation", "reservations": ("cr-0123456789abcdef0",)})
    assert made["class-l4"].body["spec"]["capacityReservationSelectorTerms"] == [
        {"id": "cr-0123456789abcdef0"}
    ]
    requirements = made["nodes-l4"].body["spec"]["template"]["spec"]["requirements"]
    assert {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["reserved"]} in requirements


def test_auto_mode_has_a_class_of_its_own_kind_and_no_image() -> None:
    made = planned("auto")
    assert (made["class-l4"].api_version, made["class-l4"].kind) == ("eks.amazonaws.com/v1", "NodeClass")
    spec = made["class-l4"].body["spec"]
    assert spec["role"] == "⟦auto-node-role.name⟧"
    assert "userData" not in spec
    reference = made["nodes-l4"].body["spec"]["template"]["spec"]["nodeClassRef"]
    assert reference == {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "l4"}


@pytest.mark.parametrize("kind", ["managed", "karpenter", "auto"])
def test_spare_nodes_are_kept_by_pods_that_any_replica_displaces(kind: str) -> None:
    made = planned(kind, warm_spare=2)
    assert made["spare-priority"].body["value"] == SPARE_PRIORITY
    assert AUTOSCALER_CUTOFF < SPARE_PRIORITY < 0
    spec = made["spare-l4"].body["spec"]
    assert spec["replicas"] == 2
    pod = spec["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert pod["terminationGracePeriodSeconds"] == 0
    assert pod["nodeSelector"] == {"holdfast.dev/pool": "l4"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"


def test_without_spares_there_is_no_priority_class() -> None:
    assert "spare-priority" not in planned()


def test_declared_images_are_pulled_onto_every_node_whatever_is_in_them() -> None:
    made = planned(prepull=("ghcr.io/acme/chat:1", "ghcr.io/acme/voice:2"))["prepull-l4"]
    assert made.kind == "DaemonSet"
    pod = made.body["spec"]["template"]["spec"]
    tool, *pulls = pod["initContainers"]
    assert tool["command"] == ["cp", "/bin/busybox", "/holdfast-tool/true"]
    assert [one["image"] for one in pulls] == ["ghcr.io/acme/chat:1", "ghcr.io/acme/voice:2"]
    assert {tuple(one["command"]) for one in pulls} == {("/holdfast-tool/true",)}
    # No GPU is asked for: a pre-pull must not take the place of a replica.
    assert "nvidia.com/gpu" not in str([one["resources"] for one in [tool, *pulls, *pod["containers"]]])


def test_brokers_have_encrypted_disks_that_outlive_their_claims() -> None:
    made = planned()["storage-class"].body
    assert made["parameters"] == {"type": "gp3", "encrypted": "true"}
    assert made["reclaimPolicy"] == "Retain"


def test_only_charts_that_are_needed_come_and_each_has_a_pinned_version() -> None:
    assert set(releases(pools=None)) == {"keda", "external-secrets"}
    managed = releases()
    assert set(managed) == {"keda", "external-secrets", "device-plugin", "cluster-autoscaler"}
    karpenter = releases(pools=pool("karpenter"))
    assert set(karpenter) == {"keda", "external-secrets", "device-plugin", "karpenter"}
    assert set(releases(pools=pool("auto"))) == {"keda", "external-secrets"}
    assert all(chart.version[0].isdigit() for chart in [*managed.values(), *karpenter.values()])


def test_a_chart_can_be_there_already_come_from_a_mirror_and_be_set() -> None:
    made = releases(
        charts={
            "keda": {"install": False},
            "external_secrets": {"repository": "oci://mirror.example/charts", "values": {"replicaCount": 2}},
            "device_plugin": {"version": "0.21.0", "repository": "https://mirror.example"},
        }
    )
    assert "keda" not in made
    secrets = made["external-secrets"]
    assert (secrets.chart, secrets.repository) == ("oci://mirror.example/charts/external-secrets", None)
    assert secrets.values["replicaCount"] == 2
    assert secrets.values["serviceAccount"] == {"name": "external-secrets"}
    plugin = made["device-plugin"]
    assert (plugin.version, plugin.repository) == ("0.21.0", "https://mirror.example")


def test_the_device_plugin_runs_on_the_pools_that_lack_it() -> None:
    values = releases()["device-plugin"].values
    terms = values["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "holdfast.dev/pool", "operator": "In", "values": ["l4"]}]}
    ]


def test_karpenters_objects_wait_for_its_chart_and_not_for_one_that_is_there() -> None:
    assert "karpenter" in planned()["class-l4"].after
    spec = parse_aws("gpu", aws_args(pools=pool("karpenter"), charts={"karpenter": {"install": False}}))
    (found,) = [one for one in objects(spec) if one.child == "class-l4"]
    assert "karpenter" not in found.after
