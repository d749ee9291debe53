"""What an endpoint's objects look like, and that nothing but the declaration decides it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from component_programs import endpoint

from holdfast_contract import names
from holdfast_contract.document import EndpointDocument
from pulumi_holdfast import testing
from pulumi_holdfast.plan.endpoint import plan_endpoint
from pulumi_holdfast.plan.manifest import Manifest
from pulumi_holdfast.plan.wiring import HOLE, WIRES, image_on, resolve
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.secrets import WIRED_VALUE
from pulumi_holdfast.spec.template import catalogue
from pulumi_holdfast.testing import platform_contract

IMAGE = "ghcr.io/acme/chat:1"


def _spec(**args: Any) -> EndpointSpec:
    return parse_endpoint("chat", {"image": IMAGE, **args}, catalogue())


def _filled(value: Any, wires: Mapping[str, Any]) -> Any:
    """A plan with its holes filled by plain values, as creation does with outputs."""
    if isinstance(value, Mapping):
        return {key: _filled(inner, wires) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, wires) for inner in value]
    if isinstance(value, str) and HOLE.fullmatch(value):
        return wires[value[1:-1]]
    return HOLE.sub(lambda found: str(wires[found[1]]), value) if isinstance(value, str) else value


def _planned(platform: Mapping[str, Any] | None = None, **args: Any) -> dict[str, Manifest]:
    spec = _spec(**args)
    wires = {
        **resolve(spec, platform_contract(**(platform or {}))),
        "broker_secret": "chat-broker-1a2b3c",
        "worker_credentials": "…",
        "bodies_key": "…",
        "config_secret": "chat-config-secrets-1a2b3c",
        **{f"value.{name}": "…" for name in spec.secrets},
    }
    return {
        manifest.child: Manifest(
            child=manifest.child,
            api_version=manifest.api_version,
            kind=manifest.kind,
            metadata=_filled(manifest.metadata, wires),
            body=_filled(manifest.body, wires),
            after=manifest.after,
            ignore=manifest.ignore,
            timeout_s=manifest.timeout_s,
        )
        for manifest in plan_endpoint(spec)
    }


def _pod(**args: Any) -> dict[str, Any]:
    pod: dict[str, Any] = _planned(**args)["deployment"].body["spec"]["template"]["spec"]
    return pod


def _model(**args: Any) -> dict[str, Any]:
    model: dict[str, Any] = _pod(**args)["containers"][0]
    return model


def test_the_same_declaration_gives_the_same_plan() -> None:
    args: dict[str, Any] = {
        "secrets": {"B": {"secret": "b"}, "A": {"secret": "a"}},
        "env": {"Z": "1", "Y": "2"},
    }
    assert json.dumps([m.as_object() for m in plan_endpoint(_spec(**args))]) == json.dumps(
        [m.as_object() for m in plan_endpoint(_spec(**args))]
    )


@pytest.mark.parametrize(
    ("args", "expected_bytes"),
    [({}, 1_073_741_824), ({"max_result_mib": 1}, 1_048_576), ({"max_result_mib": 65536}, 68_719_476_736)],
)
def test_the_worker_is_told_the_largest_answer_to_keep_in_bytes(
    args: dict[str, Any], expected_bytes: int
) -> None:
    (worker,) = _pod(**args)["initContainers"]
    (told,) = [one["value"] for one in worker["env"] if one["name"] == names.ENV_MAX_RESULT_BYTES]
    assert told == str(expected_bytes)


def test_every_hole_of_a_plan_is_known() -> None:
    spec = _spec(
        registry_credentials={"secret": "a"},
        cache={"path": "/w"},
        secrets={"A": {"secret": "a"}, "B": {"value": WIRED_VALUE}},
    )
    text = yaml.safe_dump([manifest.as_object() for manifest in plan_endpoint(spec)], allow_unicode=True)
    assert set(HOLE.findall(text)) <= {
        *WIRES,
        "broker_secret",
        "worker_credentials",
        "bodies_key",
        "config_secret",
        "value.B",
    }


def test_an_endpoint_starts_at_its_floor_and_the_autoscaler_owns_the_number() -> None:
    deployment = _planned()["deployment"]
    assert deployment.body["spec"]["replicas"] == 0
    assert deployment.ignore == ("spec.replicas",)


def test_at_zero_nothing_is_waited_for() -> None:
    deployment = _planned()["deployment"]
    assert deployment.metadata["annotations"] == {"pulumi.com/skipAwait": "true"}
    assert deployment.timeout_s is None


@pytest.mark.parametrize("budget_s", [5, 120])
def test_above_zero_the_wait_lasts_as_long_as_the_declared_budget_and_no_ten_minutes(budget_s: int) -> None:
    deployment = _planned(scaling={"min_replicas": 1, "startup_budget_s": budget_s})["deployment"]
    assert "annotations" not in deployment.metadata
    assert deployment.body["spec"]["progressDeadlineSeconds"] == budget_s + 30
    assert deployment.timeout_s == budget_s + 60


def test_a_paused_endpoint_has_no_replicas_and_the_autoscaler_is_held() -> None:
    planned = _planned(state="paused", scaling={"min_replicas": 2, "max_replicas": 3})
    assert planned["deployment"].body["spec"]["replicas"] == 0
    assert planned["scaledobject"].metadata["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}


def test_the_worker_is_a_native_sidecar_and_both_containers_drain_through_it() -> None:
    pod = _pod()
    worker, model = pod["initContainers"][-1], pod["containers"][0]
    assert (worker["name"], worker["restartPolicy"]) == ("worker", "Always")
    drain = {"path": "/drain", "port": names.WORKER_PORT}
    assert worker["lifecycle"] == {"preStop": {"httpGet": drain}}
    # The kubelet also stops a model in order to restart it: the worker must then not have drained for good.
    until = {**drain, "path": "/drain?until=model-restart"}
    assert model["lifecycle"] == {"preStop": {"httpGet": until}}


def test_a_container_that_is_restarted_gets_seconds_to_stop_and_not_the_time_of_the_longest_request() -> None:
    pod = _pod(scaling={"max_request_s": 1200})
    worker, model = pod["initContainers"][-1], pod["containers"][0]
    for probe in (worker["livenessProbe"], model["livenessProbe"], model["startupProbe"]):
        assert probe["terminationGracePeriodSeconds"] == 10
    assert "terminationGracePeriodSeconds" not in model["readinessProbe"], "Kubernetes refuses it there"


def test_a_stopping_replica_gets_its_longest_request_and_half_a_minute() -> None:
    assert _pod(scaling={"max_request_s": 1200})["terminationGracePeriodSeconds"] == 1230


def test_the_model_may_start_as_long_as_its_budget_and_three_failures_restart_it() -> None:
    model = _model(scaling={"startup_budget_s": 400}, health_check_path="/ready", port=9000)
    startup = model["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == 400
    assert startup["periodSeconds"] == 1, "a fast model is not kept waiting"
    assert model["livenessProbe"]["failureThreshold"] == 3
    assert model["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 9000}


def test_a_health_check_that_computes_for_seconds_is_seen_to_be_ready() -> None:
    """As a server's that generates a token to say that it is well."""
    model = _model()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert model[probe]["timeoutSeconds"] >= 5


def test_replicas_do_not_run_before_the_policy_that_limits_them() -> None:
    made = testing.record(endpoint())
    made.assert_order("chat-network", "chat-deployment", "chat-scaledobject")


def test_the_model_runs_without_rights_unless_declared() -> None:
    assert _model()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 65532,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
    }
    rooted = _model(user=0, filesystem="writable")["securityContext"]
    assert (rooted["runAsNonRoot"], rooted["readOnlyRootFilesystem"]) == (False, False)


def test_gpus_are_limits_tolerated_and_selected() -> None:
    planned = _planned({"gpu_node_selector": {"pool": "gpu"}}, hardware={"preset": "a10g"})
    pod = planned["deployment"].body["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == [
        "g5.xlarge",
        "g5.2xlarge",
        "g5.4xlarge",
    ]


def test_where_nodes_do_not_say_their_machine_replicas_are_not_placed_by_it() -> None:
    planned = _planned({"instance_types": False}, hardware="a10g")
    assert planned["deployment"].body["spec"]["template"]["spec"]["affinity"] == {}


def test_the_autoscaler_asks_the_scaler_and_adds_no_cooldown_of_its_own() -> None:
    body = _planned(scaling={"max_replicas": 7, "timeout_s": 120})["scaledobject"].body["spec"]
    assert (body["minReplicaCount"], body["maxReplicaCount"], body["cooldownPeriod"]) == (0, 7, 0)
    assert body["triggers"] == [
        {
            "type": "external-push",
            "metadata": {"scalerAddress": "holdfast-scaler.holdfast-system:8090", "endpoint": "chat"},
        }
    ]
    behavior = body["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["policies"] == [{"type": "Pods", "value": 7, "periodSeconds": 15}]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 120
    assert "fallback" not in body


def test_the_document_says_what_was_declared_and_holds_hashes_only() -> None:
    token = "sha256:abcd:" + "0" * 64
    text = _planned(tokens=[token], hardware="a10g")["document"].body["data"]["endpoint.json"]
    document = EndpointDocument.from_json(text)
    assert (document.name, document.namespace, document.image, document.gpus) == (
        "chat",
        "holdfast",
        IMAGE,
        1,
    )
    assert document.tokens[0].id == "abcd"


def test_more_replicas_change_the_autoscaler_and_the_document_and_roll_nothing() -> None:
    before = {
        child: manifest.as_object() for child, manifest in _planned(scaling={"max_replicas": 1}).items()
    }
    after = {child: manifest.as_object() for child, manifest in _planned(scaling={"max_replicas": 3}).items()}
    assert {child for child in before if before[child] != after[child]} == {"scaledobject", "document"}


def test_swap_stops_the_old_replica_first() -> None:
    assert _planned()["deployment"].body["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }
    swap = _planned(rollout="swap")["deployment"].body["spec"]["strategy"]["rollingUpdate"]
    assert swap == {"maxSurge": 0, "maxUnavailable": 1}


def test_secrets_are_read_in_the_cluster_by_name_and_key() -> None:
    planned = _planned(secrets={"DB_URL": {"secret": "acme/db", "key": "url", "version": "v-1"}})
    assert planned["secrets"].body["spec"]["data"] == [
        {"secretKey": "DB_URL", "remoteRef": {"key": "acme/db", "property": "url", "version": "uuid/v-1"}}
    ]
    model = planned["deployment"].body["spec"]["template"]["spec"]["containers"][0]
    assert {
        "name": "DB_URL",
        "valueFrom": {"secretKeyRef": {"name": "chat-secrets", "key": "DB_URL"}},
    } in model["env"]
    assert "secrets" in planned["deployment"].after


def test_a_secret_as_a_file_is_mounted_and_is_no_variable() -> None:
    pod = _pod(secrets={"CERT": {"secret": "acme/cert", "file": "/etc/acme/cert.pem"}})
    mount = {"name": "secrets", "mountPath": "/etc/acme/cert.pem", "subPath": "CERT", "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]
    assert "CERT" not in [variable["name"] for variable in pod["containers"][0]["env"]]


def test_a_declared_secret_version_rolls_the_replicas() -> None:
    def annotations(version: str) -> dict[str, str]:
        planned = _planned(secrets={"A": {"secret": "a", "version": version}})
        found: dict[str, str] = planned["deployment"].body["spec"]["template"]["metadata"]["annotations"]
        return found

    assert annotations("v1") == {"holdfast.dev/secret-version": "A=v1"}
    assert annotations("v1") != annotations("v2")


def test_the_pull_secret_is_for_the_registry_of_the_image() -> None:
    planned = _planned(registry_credentials={"secret": "acme/ghcr"})
    spec = planned["pull"].body["spec"]
    assert spec["dataFrom"] == [{"extract": {"key": "acme/ghcr"}}]
    assert "ghcr.io" in spec["target"]["template"]["data"][".dockerconfigjson"]
    assert planned["deployment"].body["spec"]["template"]["spec"]["imagePullSecrets"] == [
        {"name": "chat-pull"}
    ]
    assert "pull" in planned["deployment"].after


def test_docker_hubs_credentials_stand_under_its_old_address() -> None:
    planned = _planned(image="acme/chat:1", registry_credentials={"secret": "a"})
    template = planned["pull"].body["spec"]["target"]["template"]["data"][".dockerconfigjson"]
    assert "https://index.docker.io/v1/" in template


def test_a_templates_image_is_found_below_the_platforms_registry_and_its_password_with_it() -> None:
    planned = _planned(
        {"template_registry": "registry.example:5000/holdfast"},
        image=None,
        template="ocr",
        registry_credentials={"secret": "a"},
    )
    model = planned["deployment"].body["spec"]["template"]["spec"]["containers"][0]
    assert model["image"].startswith("registry.example:5000/holdfast/ocr:")
    assert (
        "registry.example:5000"
        in planned["pull"].body["spec"]["target"]["template"]["data"][".dockerconfigjson"]
    )


def test_a_clone_keeps_what_it_does_not_declare_and_remembers_its_template() -> None:
    spec = parse_endpoint(
        "receipts",
        {
            "template": "ocr",
            "scaling": {"max_replicas": 3},
            "hardware": {"cpu": 0.3},
            "env": {"OCR_THREADS": "2"},
        },
        catalogue(),
    )
    assert spec.template_ref is not None
    assert spec.template_ref.name == "ocr"
    assert spec.scaling.startup_budget_s == 120
    assert (spec.scaling.max_replicas, spec.hardware.cpu, spec.hardware.memory_mib) == (3, 0.3, 1536)
    assert (spec.env["OCR_THREADS"], "OCR_MAX_MEGAPIXELS" in spec.env) == ("2", True)
    assert [example.name for example in spec.contract] == ["receipt"]


def test_only_prometheus_connects_to_a_replica_and_it_connects_to_the_platform_alone() -> None:
    policy = _planned()["network"].body["spec"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [[names.WORKER_PORT]]
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert sorted(ports) == [53, 53, names.NATS_PORT, 4318, names.GATEWAY_INTERNAL_PORT]
    opened = _planned(egress="internet")["network"].body["spec"]["egress"][-1]["to"][0]["ipBlock"]
    assert "169.254.0.0/16" in opened["except"], "the cloud's metadata address stays closed"


def test_every_name_stays_within_kubernetes_limit_for_the_longest_endpoint_name() -> None:
    spec = parse_endpoint(
        "a" * 40,
        {"image": IMAGE, "registry_credentials": {"secret": "a"}, "secrets": {"A": {"secret": "a"}}},
        catalogue(),
    )
    planned = {manifest.child: manifest.name for manifest in plan_endpoint(spec)}
    assert all(len(name) <= 63 for name in planned.values())
    assert len(planned["deployment"]) + len("-1234567890-12345") <= 63, "its pods"


@pytest.mark.parametrize("template", catalogue().names())
def test_every_template_of_the_catalogue_can_be_cloned_as_it_is(template: str) -> None:
    spec = parse_endpoint("mine", {"template": template}, catalogue())
    assert spec.template_ref is not None
    assert spec.contract, "a template proves itself by an example"
    assert plan_endpoint(spec)


def test_a_clone_for_a_gpu_takes_over_how_its_server_starts_and_where_weights_are_kept() -> None:
    spec = parse_endpoint("mine", {"template": "chat"}, catalogue())
    planned = {manifest.child: manifest.body for manifest in plan_endpoint(spec)}
    pod = planned["deployment"]["spec"]["template"]["spec"]
    [model] = pod["containers"]
    assert model["command"] == ["vllm", "serve"]
    assert model["args"][0] == "Qwen/Qwen3.5-9B"
    assert model["resources"]["limits"][names.GPU_RESOURCE] == "1"
    assert {"name": "cache", "mountPath": "/cache"} in model["volumeMounts"]
    assert "0.0.0.0/0" in str(planned["network"]["spec"]["egress"]), "weights are fetched"
    own = parse_endpoint("mine", {"template": "chat", "args": ["other"], "egress": "none"}, catalogue())
    assert (own.args, own.egress.value) == (("other",), "none"), "a clone's own words count"


def test_a_published_image_of_a_template_is_not_sought_in_the_template_registry() -> None:
    spec = parse_endpoint("mine", {"template": "chat"}, catalogue())
    platform = platform_contract(template_registry="registry.example.com/holdfast")
    assert image_on(platform, spec) == spec.image
    built = parse_endpoint("mine", {"template": "speech-to-text"}, catalogue())
    assert image_on(platform, built) == "registry.example.com/holdfast/speech-to-text:1.0.0"
