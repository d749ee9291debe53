"""The catalogue's files agree with each other; no template is run."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pulumi_holdfast.spec.hardware import hardware_table

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = sorted(file.parent for file in (ROOT / "templates").glob("*/template.yaml"))
BUILT = [folder for folder in TEMPLATES if (folder / "Dockerfile").is_file()]
"""Those whose image is made here; the others take a published one as it is."""
each_template = pytest.mark.parametrize("folder", TEMPLATES, ids=lambda folder: folder.name)

each_built = pytest.mark.parametrize("folder", BUILT, ids=lambda folder: folder.name)


def _declaration(folder: Path) -> dict[str, Any]:
    content = yaml.safe_load((folder / "template.yaml").read_text())
    assert isinstance(content, dict)
    return content


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^\s\\;]+)", lock.read_text(), re.MULTILINE))


def test_there_is_a_template() -> None:
    assert "ocr" in [folder.name for folder in TEMPLATES]


@each_template
def test_the_name_is_the_folders(folder: Path) -> None:
    assert _declaration(folder)["name"] == folder.name


@each_template
def test_an_image_carries_the_version_or_is_pinned_by_tag_and_digest(folder: Path) -> None:
    declaration = _declaration(folder)
    if folder in BUILT:
        assert declaration["image"] == f"{folder.name}:{declaration['version']}"
    else:
        assert re.fullmatch(r"[a-z.]+/[a-z/-]+:[a-z0-9.-]*[0-9]@sha256:[0-9a-f]{64}", declaration["image"])


@each_template
def test_a_template_for_a_gpu_says_so_plainly_and_what_was_not_seen(folder: Path) -> None:
    declaration, card = _declaration(folder), (folder / "README.md").read_text()
    on_gpu = hardware_table().presets[declaration["hardware"]].gpus > 0
    assert ("**Needs a GPU.**" in card) == on_gpu
    assert ("Needs a GPU" in declaration["description"]) == on_gpu
    assert ("has seen no GPU" in card) == on_gpu


@each_template
def test_the_weights_and_their_licence_are_named_in_the_card(folder: Path) -> None:
    declaration, card = _declaration(folder), (folder / "README.md").read_text()
    assert declaration["model"]["licence"].split()[0] in card
    fetched = "egress" in declaration
    assert fetched == ("revision" in declaration["model"]["source"])
    if fetched:
        revision = declaration["model"]["source"].split("revision ")[1][:40]
        assert f"--revision={revision}" in declaration["args"]
        assert "cache" in declaration
        assert f"weights, {declaration['sizes']['weights_gb']} GB," in card


@each_built
def test_the_dockerfile_says_the_declarations_version_and_port(folder: Path) -> None:
    declaration, dockerfile = _declaration(folder), (folder / "Dockerfile").read_text()
    assert f'image.version="{declaration["version"]}"' in dockerfile
    assert f"EXPOSE {declaration['port']}\n" in dockerfile
    assert "USER 65532:65532\n" in dockerfile


@each_built
def test_the_declarations_environment_is_the_images_default(folder: Path) -> None:
    dockerfile = (folder / "Dockerfile").read_text()
    for name, value in _declaration(folder).get("env", {}).items():
        assert f" {name}={value}" in dockerfile


@each_template
def test_every_file_that_the_declaration_names_is_there(folder: Path) -> None:
    declaration = _declaration(folder)
    named = [declaration["input_schema"], declaration["output_schema"]]
    for example in declaration["examples"]:
        named += [example[key] for key in ("body_file", "answer_file") if key in example]
    assert [name for name in named if not (folder / name).is_file()] == []


@each_template
def test_the_schemas_are_schemas_and_recorded_answers_follow_them(folder: Path) -> None:
    declaration = _declaration(folder)
    schemas = {
        side: json.loads((folder / declaration[f"{side}_schema"]).read_text()) for side in ("input", "output")
    }
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for example in declaration["examples"]:
        if "body_json" in example:
            jsonschema.validate(example["body_json"], schemas["input"])
        if "answer_file" in example:
            answer = (folder / example["answer_file"]).read_text()
            jsonschema.validate(json.loads(answer), schemas["output"])
            assert example.get("expect_text", "") in answer


@each_template
def test_the_input_path_is_what_the_first_example_asks(folder: Path) -> None:
    declaration = _declaration(folder)
    assert declaration["examples"][0]["path"] == declaration["input_path"]


@each_built
def test_the_lock_has_every_requirement(folder: Path) -> None:
    pins = _pins(folder / "requirements.lock")
    wanted = re.findall(r"^([a-z0-9-]+)", (folder / "requirements.in").read_text(), re.MULTILINE)
    assert wanted
    assert [name for name in wanted if name not in pins] == []


@each_template
def test_the_overview_lists_it(folder: Path) -> None:
    assert f"]({folder.name}/README.md)" in (ROOT / "templates" / "README.md").read_text()


def test_the_services_lock_has_the_services_extra_at_the_versions_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [re.split(r"[><=\[]", line)[0] for line in project["optional-dependencies"]["services"]]
    services, tested = (
        _pins(ROOT / "services" / "requirements.lock"),
        _pins(ROOT / "requirements" / "all.lock"),
    )
    assert [name for name in wanted if name not in services] == []
    assert {name: pin for name, pin in services.items() if tested.get(name) != pin} == {}
