"""Previews that look ahead, under the real engine: what cannot be had is found before anything is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi_project import Project, Pulumi, new_project

from holdfast_cli.comment import comment
from holdfast_cli.previewplan import read

pytestmark = pytest.mark.timeout(300)

PROGRAM = """
    import pathlib
    import pulumi
    import pulumi_holdfast as holdfast
    from pulumi_holdfast import testing

    config = pulumi.Config("holdfast")
    path = lambda key: pathlib.Path(config.get(key)) if config.get(key) else None
    platform = testing.platform()
    platform.look_ahead(holdfast.Foresight(
        feasibility=holdfast.Feasibility(config.get("feasibility") or "warn"),
        answers=path("answers"), record=path("record"), traces=path("traces"),
    ))
    for name, image in (("chat", "ghcr.io/acme/chat:1"), ("vision", "ghcr.io/acme/vision:7")):
        holdfast.Endpoint(name, {
            "platform": platform, "image": image, "hardware": "a10g",
            "registry_credentials": {"secret": "acme/ghcr"},
            "secrets": {"DB_URL": {"secret": "acme/db", "key": "url"}},
            "scaling": {"max_replicas": 3, "startup_budget_s": 60},
        })
"""
ANSWERS: dict[str, Any] = {
    "recorded": "2026-11-24T22:00:00Z",
    "region": "us-east-1",
    "images": {
        "ghcr.io/acme/chat:1": {"digest": "sha256:" + "1" * 64, "bytes": 10_000_000_000},
        "ghcr.io/acme/vision:7": {"failure": "not-found"},
    },
    "secrets": {"acme/ghcr": {"keys": ["password", "username"]}, "acme/db": {"keys": ["host"]}},
    "zones": {},
    "quotas": {"L-DB2E81BA": {"vcpus": 16}},
}


@pytest.fixture
def project(pulumi: Pulumi, tmp_path: Path) -> Project:
    """Two endpoints on a platform that is known."""
    made = new_project(tmp_path / "project", pulumi)
    made.write(PROGRAM)
    made.run("config", "set", "kubernetes:renderYamlToDirectory", str(tmp_path / "rendered"))
    return made


@pytest.fixture
def recorded(project: Project) -> Project:
    """The same with recorded answers: nobody is asked."""
    (project.folder / "answers.json").write_text(json.dumps(ANSWERS))
    project.run("config", "set", "holdfast:answers", "answers.json")
    return project


def test_recorded_answers_show_what_cannot_be_had_and_the_preview_goes_on(recorded: Project) -> None:
    shown = recorded.preview()
    for text in (
        'endpoint "vision": refused: image is "ghcr.io/acme/vision:7", not in its registry: push it first, '
        "or correct "
        "its name, tag or digest (as recorded 2026-11-24T22:00:00Z)",
        'endpoint "chat": refused: secrets.DB_URL.key is "url", not in secret acme/db: its keys are host: '
        "correct the key",
        'endpoint "vision": refused: scaling.max_replicas is what brings 2 endpoints to 24 vCPUs of running '
        "on-demand G",
        'endpoint "chat": warning: scaling.startup_budget_s is 60, not above the 128 s that a cold start '
        "takes at least",
        'endpoint "chat": not checked: zones of g5.xlarge, g5.2xlarge',
    ):
        assert text in shown
    assert 'endpoint "chat": refused: image' not in shown
    assert f'endpoint "chat": checked: image ghcr.io/acme/chat:1 is sha256:{"1" * 64}, 10 GB to pull' in shown
    assert "Traceback" not in shown


def test_enforced_it_fails_before_anything_is_made(recorded: Project) -> None:
    recorded.run("config", "set", "holdfast:feasibility", "enforce")
    done = recorded.attempt("preview")
    assert done.returncode != 0
    assert 'endpoint "vision": refused: image is' in done.stdout
    assert 'endpoint "chat": refused: secrets.DB_URL.key is' in done.stdout
    assert "Traceback" not in done.stdout
    assert recorded.attempt("up", "--yes").returncode != 0
    assert recorded.export()["deployment"].get("resources", []) == []


def test_the_comment_says_what_was_refused_and_what_was_not_checked(recorded: Project) -> None:
    text = comment(read(recorded.run("preview", "--json")))
    assert "**Refused**" in text
    assert "not in its registry" in text
    assert "**Not checked**" in text
    assert "zones of g5.xlarge" in text


def test_asked_live_what_the_stand_in_knows_is_told_and_recorded(
    project: Project, aws: Any, make_pulumi: Callable[[Path], Pulumi]
) -> None:
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name="acme/db", SecretString=json.dumps({"url": "postgres://hush-77aa"}))
    project.run("config", "set", "holdfast:record", "answers.json")
    shown = project.preview()
    assert 'refused: registry_credentials.secret is "acme/ghcr", not in Secrets Manager in us-east-1' in shown
    assert "secrets.DB_URL" not in shown.replace("checked: secrets.DB_URL", "")
    kept = (project.folder / "answers.json").read_text()
    assert json.loads(kept)["secrets"]["acme/db"] == {"detail": "", "keys": ["url"], "registries": []}
    assert "hush" not in kept + shown


def test_a_trace_is_replayed_under_the_declared_scaling(recorded: Project) -> None:
    folder = recorded.folder / "traces"
    folder.mkdir()
    (folder / "chat.csv").write_text("at_s,service_s\n0,10\n5,10\n2000,10\n")
    recorded.run("config", "set", "holdfast:traces", "traces")
    assert 'endpoint "chat": replay of 3 requests: 2 cold starts, waiting p50' in recorded.preview()
    (folder / "chat.csv").write_text("at_s,service_s\n0,ten\n")
    done = recorded.attempt("preview")
    assert done.returncode != 0
    assert "traces/chat.csv: trace line 2: service_s is 'ten', not a number of seconds" in done.stdout
