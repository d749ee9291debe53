"""The project's own program under the real engine and the official Kubernetes provider, without a cluster.

The provider renders manifests to a folder instead of applying them; plans, diffs and state are those of a cluster.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi_project import Project, Pulumi

from holdfast_cli.comment import comment
from holdfast_cli.previewplan import read

ROOT = Path(__file__).resolve().parents[2]
BROKER_SECRET = "hush-77aa-never-in-plain-text-anywhere"
SHARED_CONFIG = {
    "holdfast:servicesImage": "ghcr.io/acme/services:1",
    "holdfast:baseUrl": "https://gpu.example",
    "holdfast:registrySecret": "acme/registry",
}
TOKEN = "sha256:abcd:" + "0" * 64
CHILDREN = ("document", "deployment", "scaledobject")
ADDED = """
    holdfast.Endpoint("chat", {"platform": platform, "image": "ghcr.io/acme/chat:1", "hardware": "a10g"})
"""


class Stacks:
    """A copy of `stacks/` with both of its layers, in a folder where tests may edit it."""

    def __init__(self, folder: Path, pulumi: Pulumi) -> None:
        self._folder = folder
        self.program = folder / "stacks" / "endpoints.py"
        self.shared = Project(folder, pulumi, {"PULUMI_STACK": "prod-shared"})
        self.endpoints = Project(folder, pulumi, {"PULUMI_STACK": "prod"})
        shutil.copytree(
            ROOT / "stacks", folder / "stacks", ignore=shutil.ignore_patterns("Pulumi.*", "__pycache__")
        )
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        self._init(self.shared, "prod-shared", SHARED_CONFIG)
        self.shared.run("config", "set", "--secret", "holdfast:brokerSecret", BROKER_SECRET)
        self._init(self.endpoints, "prod", {"holdfast:tokens": json.dumps([TOKEN])})

    def _init(self, project: Project, stack: str, configuration: dict[str, str]) -> None:
        project.run("stack", "init", f"organization/holdfast/{stack}")
        rendered = {"kubernetes:renderYamlToDirectory": str(self._folder / "rendered" / stack)}
        for key, value in {**rendered, **configuration}.items():
            project.run("config", "set", "--plaintext", key, value)

    def edit(self, old: str, new: str) -> None:
        """Replace a piece of the endpoints' program; it must be there."""
        text = self.program.read_text()
        assert old in text
        self.program.write_text(text.replace(old, new))

    def add(self, lines: str) -> None:
        """Add lines to `declare`."""
        self.program.write_text(self.program.read_text() + lines)

    def rendered(self, stack: str) -> list[dict[str, Any]]:
        """Every manifest that the provider wrote."""
        files = sorted((self._folder / "rendered" / stack).rglob("*.yaml"))
        return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def changes(project: Project) -> dict[str, str]:
    """What a preview would change; reading the other stack's outputs is none."""
    return {name: step for name, step in project.steps().items() if step != "read"}


@pytest.fixture
def stacks(pulumi: Pulumi, tmp_path: Path) -> Stacks:
    """Both layers, nothing deployed."""
    return Stacks(tmp_path / "checkout", pulumi)


@pytest.fixture(scope="module")
def once(make_pulumi: Callable[[Path], Pulumi], tmp_path_factory: pytest.TempPathFactory) -> Stacks:
    """Both layers, up; made once, for it takes many seconds."""
    folder = tmp_path_factory.mktemp("deployed")
    made = Stacks(folder / "checkout", make_pulumi(folder / "state"))
    made.shared.up()
    made.endpoints.up()
    return made


@pytest.fixture
def deployed(once: Stacks) -> Iterator[Stacks]:
    """Both layers, up; the program and the broker's secret are put back after the test."""
    program = once.program.read_text()
    yield once
    once.program.write_text(program)
    once.shared.run("config", "set", "--secret", "holdfast:brokerSecret", BROKER_SECRET)


def test_a_preview_of_the_shared_stack_needs_no_cluster(stacks: Stacks) -> None:
    steps = changes(stacks.shared)
    assert steps["holdfast-nats"] == steps["holdfast-gateway"] == steps["holdfast-scaler"] == "create"
    assert set(steps.values()) == {"create"}


def test_up_twice_changes_nothing_in_either_layer(deployed: Stacks) -> None:
    deployed.shared.expect_no_changes()
    deployed.endpoints.expect_no_changes()


def test_an_endpoint_is_told_with_its_address_scale_and_cost(deployed: Stacks) -> None:
    receipts = deployed.endpoints.outputs()["endpoints"]["receipts"]
    assert receipts["url"] == "https://gpu.example/e/receipts"
    assert (receipts["visibility"], receipts["min"], receipts["max"]) == ("private", 0, 3)
    assert receipts["cost"]["floor_usd_month"] == 0
    assert receipts["cost"]["ceiling_usd_month"] > 0


def test_adding_an_endpoint_shows_its_resources_and_no_others(deployed: Stacks) -> None:
    deployed.add(ADDED)
    steps = changes(deployed.endpoints)
    assert steps == dict.fromkeys(
        (
            "chat",
            "chat-broker",
            "chat-document",
            "chat-deployment",
            "chat-scaledobject",
            "chat-network",
            "chat-disruption",
        ),
        "create",
    )


def test_more_replicas_update_the_autoscaler_and_the_document_and_roll_nothing(deployed: Stacks) -> None:
    deployed.edit('"max_replicas": 3', '"max_replicas": 5')
    assert changes(deployed.endpoints) == {
        "receipts": "update",
        "receipts-scaledobject": "update",
        "receipts-document": "update",
    }


def test_more_replicas_show_what_they_cost_against_what_is_deployed(deployed: Stacks) -> None:
    deployed.edit('"max_replicas": 3', '"max_replicas": 30')
    shown = deployed.endpoints.run("preview", "--diff")
    assert re.search(r"max_replicas\s*: 3 => 30", shown)
    assert re.search(r"ceiling_usd_month\s*: [0-9.]+ => [0-9.]+", shown)


def test_the_comment_of_a_preview_says_what_changes_and_what_it_costs(deployed: Stacks) -> None:
    deployed.edit('"max_replicas": 3', '"max_replicas": 30')
    deployed.add(ADDED)
    text = comment(read(deployed.endpoints.run("preview", "--json", "--show-secrets=false")))
    head, rows = text.splitlines()[2], [line for line in text.splitlines() if line.startswith("| ")]
    assert "**prod**: 2 endpoints of 2 change" in head
    assert any(row.startswith("| chat | create | 0–1 | 0.00 | 734.38 | +734.38 |") for row in rows)
    assert any(row.startswith("| receipts | update | 0–3 → 0–30 | 0.00 | ") for row in rows)
    assert "- create kubernetes:apps/v1:Deployment chat-deployment" in text
    assert TOKEN not in text


def test_removing_an_endpoint_deletes_its_resources_and_no_others(deployed: Stacks) -> None:
    deployed.add(ADDED)
    deployed.endpoints.up()
    deployed.edit(ADDED, "")
    steps = changes(deployed.endpoints)
    assert set(steps.values()) == {"delete"}
    assert {name.partition("-")[0] for name in steps} == {"chat"}
    deployed.endpoints.up()
    assert set(deployed.endpoints.outputs()["endpoints"]) == {"receipts"}


def test_no_secret_stands_in_state_preview_or_diff(deployed: Stacks) -> None:
    shared = deployed.shared
    logins = [m["data"] for m in deployed.rendered("prod-shared") if m["kind"] == "Secret"]
    encoded = [value for login in logins for key, value in login.items() if key != "user"]
    passwords = [*encoded, *(base64.b64decode(value).decode() for value in encoded)]
    assert len(passwords) >= 3, "this test would find nothing"
    shared.run("config", "set", "holdfast:brokerSecret", "--secret", f"{BROKER_SECRET}-rotated")
    seen = shared.run("stack", "export") + shared.run("preview", "--diff") + shared.run("preview", "--json")
    leaked = [text for text in (*passwords, BROKER_SECRET) if text in seen]
    assert leaked == []


def test_a_new_broker_secret_rolls_the_system_and_is_one_visible_change(deployed: Stacks) -> None:
    deployed.shared.run("config", "set", "holdfast:brokerSecret", "--secret", f"{BROKER_SECRET}-rotated")
    steps = changes(deployed.shared)
    rolled = {name for name, step in steps.items() if step == "update"}
    assert {"holdfast-nats", "holdfast-gateway", "holdfast-scaler"} <= rolled
    assert "replace" in steps["holdfast-broker"]


def test_replicas_take_credentials_from_a_new_broker_secret_by_rolling(deployed: Stacks) -> None:
    shared = deployed.shared
    shared.run("config", "set", "holdfast:brokerSecret", "--secret", f"{BROKER_SECRET}-rotated")
    shared.run("config", "set", "holdfast:previousBrokerSecret", "--secret", BROKER_SECRET)
    shared.up()
    try:
        steps = changes(deployed.endpoints)
        assert "replace" in steps["receipts-broker"]
        assert steps["receipts-deployment"] == "update"
    finally:
        shared.run("config", "set", "holdfast:brokerSecret", "--secret", BROKER_SECRET)
        shared.run("config", "rm", "holdfast:previousBrokerSecret")
        shared.up()


def test_a_wrong_declaration_fails_the_preview_with_every_problem_and_no_traceback(deployed: Stacks) -> None:
    deployed.add(
        """
    holdfast.Endpoint("Chat", {"platform": platform, "image": "ghcr.io/acme/chat:1", "port": 8095})
"""
    )
    done = deployed.endpoints.attempt("preview")
    assert done.returncode != 0
    assert 'endpoint "Chat" has 2 problems:' in done.stdout
    assert 'name is "Chat", not a DNS label of at most 40 characters' in done.stdout
    assert "port is 8095, taken by the worker beside the model" in done.stdout
    assert "Traceback" not in done.stdout


def test_wrong_configuration_is_told_with_its_key(stacks: Stacks) -> None:
    stacks.shared.run("config", "set", "holdfast:queueServers", "many")
    done = stacks.shared.attempt("preview")
    assert done.returncode != 0
    assert "holdfast:queueServers" in done.stdout
    assert "Traceback" not in done.stdout


def test_missing_configuration_is_told_with_its_key(stacks: Stacks) -> None:
    stacks.shared.run("config", "rm", "holdfast:servicesImage")
    done = stacks.shared.attempt("preview")
    assert done.returncode != 0
    assert "missing configuration: holdfast:servicesImage" in done.stdout


def test_one_setting_of_the_shared_stack_offers_quickstart_templates(stacks: Stacks) -> None:
    offered = ["embeddings", {"template": "ocr", "visibility": "public"}]
    stacks.shared.run("config", "set", "--plaintext", "holdfast:quickstart", json.dumps(offered))
    stacks.shared.run("config", "set", "--plaintext", "holdfast:tokens", json.dumps([TOKEN]))
    stacks.shared.run(
        "config", "set", "--plaintext", "holdfast:templateRegistry", "registry.example/holdfast"
    )
    stacks.shared.run("config", "set", "--plaintext", "holdfast:templateRegistrySecret", "acme/registry")
    steps = changes(stacks.shared)
    assert {steps[f"{name}-{child}"] for name in ("embeddings", "ocr") for child in CHILDREN} == {"create"}
    assert steps["holdfast-templates-pull"] == "create"
    assert not {"embeddings-pull", "ocr-pull"} & set(steps)
    stacks.shared.run("config", "set", "--plaintext", "holdfast:quickstart", '["orc"]')
    done = stacks.shared.attempt("preview")
    assert 'quickstart[0].template is "orc", not in the catalogue: did you mean ocr?' in done.stdout
    assert "Traceback" not in done.stdout


def test_the_settings_of_the_shared_stack_say_what_is_watched(stacks: Stacks) -> None:
    def say(field: str, value: str) -> None:
        key = f"holdfast:observability.{field}"
        stacks.shared.run("config", "set", "--plaintext", "--path", key, value)

    unwatched = changes(stacks.shared)
    # As the guide writes them.
    say("monitors", "true")
    say("alerts", "true")
    say("labels.release", "prometheus")
    say("otlp_endpoint", "http://otel-collector.monitoring:4318")
    say("trace_ratio", "0.1")
    output = stacks.shared.run("preview", "--json")
    made = {
        step["urn"].rpartition("::")[2]: step["newState"]
        for step in json.loads(output[output.index("{") :])["steps"]
    }
    added = {name: made[name] for name in made.keys() - unwatched.keys()}
    kinds = [state["inputs"]["kind"] for state in added.values()]
    assert sorted(kinds) == ["PodMonitor", "PodMonitor", "PodMonitor", "PrometheusRule"]
    for state in added.values():
        assert state["inputs"]["metadata"]["labels"]["release"] == "prometheus"
    (gateway,) = made["holdfast-gateway"]["inputs"]["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in gateway["env"]}
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector.monitoring:4318"
    assert env["OTEL_TRACES_SAMPLER_ARG"] == "0.1"
    say("monitor", "true")
    done = stacks.shared.attempt("preview")
    assert "observability.monitor is (hidden), an unknown field: did you mean monitors?" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_newer_version_of_a_template_is_an_update_of_its_clones(deployed: Stacks, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "templates" / "ocr", tmp_path / "ocr")
    declaration = tmp_path / "ocr" / "template.yaml"
    text = declaration.read_text().replace('version: "1.0.0"', 'version: "1.1.0"')
    declaration.write_text(text.replace("image: ocr:1.0.0", "image: ocr:1.1.0"))
    newer = f"""
import pathlib, pulumi_holdfast.endpoint, pulumi_holdfast.spec.template as templates
pulumi_holdfast.endpoint.catalogue = lambda: templates.Catalogue(pathlib.Path({str(tmp_path)!r}))


def declare("""
    deployed.edit("\n\ndef declare(", newer)
    assert changes(deployed.endpoints) == {
        "receipts": "update",
        "receipts-document": "update",
        "receipts-deployment": "update",
    }
