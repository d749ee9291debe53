"""Quickstart templates, and clones that remember where they came from."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi_kubernetes.core.v1 import ConfigMap

import pulumi_holdfast as holdfast
from holdfast_contract.document import EndpointDocument
from pulumi_holdfast import testing
from pulumi_holdfast.plan.document import document_of
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.quickstart import parse_quickstart
from pulumi_holdfast.spec.template import Catalogue, catalogue

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "sha256:abcd:" + "0" * 64


def _offered(*templates: Any, **how: Any) -> Callable[[], None]:
    def program() -> None:
        platform = holdfast.Platform.from_contract(
            testing.platform_contract(), [TOKEN], key=testing.PLATFORM_KEY
        )
        holdfast.offer_quickstarts(platform, templates, **how)
        pulumi.export("endpoints", dict(platform.endpoints))

    return program


def _document(program: Callable[[], None], name: str) -> EndpointDocument:
    recorded = testing.record(program)
    [found] = [one for one in recorded.resources if one.name == f"{name}-document"]
    return EndpointDocument.from_json(found.inputs["data"]["endpoint.json"])


def test_a_name_alone_offers_the_template_warm_private_and_with_15_requests_an_hour() -> None:
    document = _document(_offered("ocr"), "ocr")
    assert document.visibility.value == "private"
    assert [token.id for token in document.tokens] == ["abcd"]
    assert document.scaling.min_replicas == 1
    assert document.rate_limit is not None
    assert (document.rate_limit.requests, document.rate_limit.window_s) == (15, 3600)
    assert document.template is not None
    assert document.template.name == "ocr"


def test_what_is_declared_beside_the_name_counts() -> None:
    given = {
        "template": "ocr",
        "visibility": "public",
        "min_replicas": 2,
        "rate_limit": {"requests": 5, "window_s": 60},
    }
    document = _document(_offered(given), "ocr")
    assert (document.visibility.value, document.tokens) == ("public", ())
    assert (document.scaling.min_replicas, document.scaling.max_replicas) == (2, 2)
    assert document.rate_limit is not None
    assert document.rate_limit.requests == 5


def test_images_of_the_template_registry_are_pulled_with_its_password_and_public_ones_without() -> None:
    recorded = testing.record(_offered("ocr", "embeddings-gpu", registry_secret="acme/registry"))
    names = {one.name for one in recorded.resources}
    assert "ocr-pull" in names
    assert "embeddings-gpu-pull" not in names


def test_every_object_of_an_offer_waits_for_what_the_offer_depends_on() -> None:
    def program() -> None:
        shared = holdfast.SharedStack(
            "holdfast",
            {
                "services_image": "ghcr.io/acme/services:1",
                "base_url": "https://gpu.example",
                "broker_secret": pulumi.Output.secret("correct horse battery staple"),
            },
        )
        platform = holdfast.Platform.of(shared, [TOKEN])
        holdfast.offer_quickstarts(platform, ["ocr"], opts=pulumi.ResourceOptions(depends_on=[shared]))

    recorded = testing.record(program)
    awaited = {one.urn for one in recorded if one.parent == recorded["holdfast"].urn}
    children = [one for one in recorded if one.parent == recorded["ocr"].urn]
    assert awaited
    assert {"ocr-document", "ocr-deployment", "ocr-scaledobject"} <= {one.name for one in children}
    assert [one.name for one in children if not awaited <= set(one.depends_on)] == []
    recorded.assert_order("ocr-document", "ocr-deployment")


@pytest.mark.parametrize("listed", [True, False])
def test_children_of_an_endpoint_wait_for_what_it_depends_on(listed: bool) -> None:
    def program() -> None:
        first = ConfigMap("first")
        opts = pulumi.ResourceOptions(depends_on=[first] if listed else first)
        given: dict[str, Any] = {
            "platform": testing.platform(),
            "image": "ghcr.io/acme/chat:1",
            "tokens": [TOKEN],
        }
        holdfast.Endpoint("chat", given, opts)  # type: ignore[arg-type]

    recorded = testing.record(program)
    children = [one for one in recorded if one.parent == recorded["chat"].urn]
    assert children
    assert [one.name for one in children if recorded["first"].urn not in one.depends_on] == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["orc"], 'quickstart[0].template is "orc", not in the catalogue: did you mean ocr?'),
        ([5], 'quickstart[0] is 5, not a mapping: write {"field": value}'),
        (["ocr", "ocr"], 'quickstart[1].template is "ocr", offered twice: remove one of them'),
        ([{"template": "ocr", "min_replicas": 0}], "quickstart[0].min_replicas is 0, below 1: use 1 or more"),
        (
            [{"template": "ocr", "min_replicas": 3, "max_replicas": 2}],
            "quickstart[0].max_replicas is 2, below min_replicas=3: raise it",
        ),
        ([{"visibility": "public"}], "quickstart[0].template is missing, required"),
    ],
)
def test_a_wrong_offer_is_told_with_path_value_rule_and_remedy(given: list[Any], text: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_quickstart(given, catalogue())
    assert text in str(refused.value)


def _catalogue_with(folder: Path, version: str) -> Catalogue:
    shutil.copytree(ROOT / "templates" / "embeddings", folder / "embeddings")
    declaration = folder / "embeddings" / "template.yaml"
    text = re.sub(r'version: "[^"]+"', f'version: "{version}"', declaration.read_text())
    declaration.write_text(re.sub(r"image: embeddings:\S+", f"image: embeddings:{version}", text))
    return Catalogue(folder)


def test_a_newer_version_of_the_template_is_a_diff_of_every_clone_and_of_nothing_else(tmp_path: Path) -> None:
    documents = []
    for version in ("1.0.0", "1.1.0"):
        known = _catalogue_with(tmp_path / version, version)
        spec = parse_endpoint("mine", {"template": "embeddings"}, known)
        assert spec.image is not None
        documents.append(document_of(spec, namespace="holdfast", image=spec.image).to_json())
    changed = [
        line
        for line in difflib.ndiff(documents[0].splitlines(), documents[1].splitlines())
        if line[0] in "+-"
    ]
    assert [line.strip("+- ,") for line in changed] == [
        '"image": "embeddings:1.0.0"',
        '"image": "embeddings:1.1.0"',
        '"version": "1.0.0"',
        '"version": "1.1.0"',
    ]
