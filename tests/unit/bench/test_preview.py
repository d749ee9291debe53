"""What previews are compared with, and which figure of several counts."""

from __future__ import annotations

import json
from typing import Any

from bench.preview import Figures, groups_of, typical


def _step(parent: str, kind: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    above = f"urn:pulumi:dev::shop::holdfast:index:Endpoint::{parent}"
    return {
        "urn": f"urn:pulumi:dev::shop::holdfast:index:Endpoint${kind}::{name}",
        "newState": {"parent": above, "inputs": inputs},
    }


def test_the_resources_by_hand_are_those_of_the_endpoints_without_marks_of_secrets() -> None:
    hidden = {"4dabf18193072939515e22adb298388d": "…", "plaintext": json.dumps({"token": "a"})}
    steps = [
        {"urn": "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev", "newState": {}},
        {"urn": "urn:pulumi:dev::shop::holdfast:index:Endpoint::chat", "newState": {}},
        _step("chat", "kubernetes:core/v1:Secret", "chat-broker", {"stringData": hidden}),
        _step("chat", "kubernetes:apps/v1:Deployment", "chat-deployment", {"spec": {"args": [hidden]}}),
        _step("ocr", "kubernetes:core/v1:ConfigMap", "ocr-document", {"data": {"a": "b"}}),
    ]
    assert groups_of(steps) == {
        "chat": [
            {
                "type": "kubernetes:core/v1:Secret",
                "name": "chat-broker",
                "inputs": {"stringData": {"token": "a"}},
                "ignore": [],
            },
            {
                "type": "kubernetes:apps/v1:Deployment",
                "name": "chat-deployment",
                "inputs": {"spec": {"args": [{"token": "a"}]}},
                "ignore": ["spec.replicas"],
            },
        ],
        "ocr": [
            {
                "type": "kubernetes:core/v1:ConfigMap",
                "name": "ocr-document",
                "inputs": {"data": {"a": "b"}},
                "ignore": [],
            }
        ],
    }


def test_of_several_previews_the_median_of_each_figure_counts() -> None:
    previews = [Figures(3.0, 9.0, 100.0, 8), Figures(1.0, 7.0, 300.0, 8), Figures(2.0, 30.0, 200.0, 8)]
    assert typical(previews) == Figures(2.0, 9.0, 200.0, 8)
