"""One secret of the shared stack opens the registry of the catalogue's images to every clone."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

import pulumi_holdfast as holdfast
from holdfast_contract.platform import PlatformContract
from pulumi_holdfast import testing
from pulumi_holdfast.foresight import Looker
from pulumi_holdfast.plan.feasibility import Answers, Questions

PREFIX = "registry.example:5000/holdfast"
SECRET = "acme/registry"
TEMPLATES = [{"name": "holdfast-templates-pull"}]


def shared(**changes: Any) -> holdfast.SharedStack:
    """A shared stack with a registry of templates that has a password."""
    args: Any = {
        "services_image": "ghcr.io/acme/services:1",
        "broker_secret": pulumi.Output.secret("correct horse battery staple"),
        "base_url": "https://gpu.example",
        "template_registry": PREFIX,
        "template_registry_secret": SECRET,
        **changes,
    }
    return holdfast.SharedStack("holdfast", {key: value for key, value in args.items() if value is not None})


def pull_secrets(platform: dict[str, Any], **args: Any) -> tuple[list[dict[str, str]], set[str]]:
    """What the replicas of an endpoint pull with, and which objects the endpoint has."""

    def program() -> None:
        given: Any = {"platform": testing.platform(**platform), **args}
        holdfast.Endpoint("mine", given)

    made = testing.record(program)
    pod = made["mine-deployment"].inputs["spec"]["template"]["spec"]
    return pod["imagePullSecrets"], set(made.names)


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        (PREFIX, PREFIX),
        (f"{PREFIX}/", PREFIX),
        ("docker.io/acme", "https://index.docker.io/v1/"),
    ],
)
def test_the_secret_opens_what_lies_below_the_prefix_in_the_endpoints_namespace(
    prefix: str, key: str
) -> None:
    made = testing.record(lambda: shared(template_registry=prefix))
    pulled = made["holdfast-templates-pull"].inputs
    assert pulled["metadata"]["namespace"] == "holdfast"
    assert pulled["spec"]["dataFrom"] == [{"extract": {"key": SECRET}}]
    assert (
        "{{ else }}" + key + "{{ end }}" in pulled["spec"]["target"]["template"]["data"][".dockerconfigjson"]
    )
    made.assert_order("holdfast-endpoints-secret-store", "holdfast-templates-pull")


def test_the_contract_names_the_secret_for_previews_that_ask_the_registry() -> None:
    made = testing.record(lambda: pulumi.export("platform", shared().platform))
    contract = PlatformContract.model_validate(made.exports["platform"])
    assert (contract.template_registry, contract.template_registry_secret) == (PREFIX, SECRET)


def test_a_registry_without_a_password_has_no_pull_secret() -> None:
    made = testing.record(lambda: shared(template_registry_secret=None))
    assert "holdfast-templates-pull" not in made.names


def test_a_clone_needs_no_secret_of_its_own() -> None:
    platform = {"template_registry": PREFIX, "template_registry_secret": SECRET, "pull_secret": "services"}
    used, objects = pull_secrets(platform, template="ocr")
    assert used == [{"name": "services"}, *TEMPLATES]
    assert "mine-pull" not in objects


def test_a_clones_own_secret_goes_before_the_platforms() -> None:
    platform = {"template_registry": PREFIX, "template_registry_secret": SECRET}
    used, _ = pull_secrets(platform, template="ocr", registry_credentials={"secret": "mine"})
    assert used == [{"name": "mine-pull"}]


@pytest.mark.parametrize(
    ("platform", "args"),
    [
        ({"template_registry": PREFIX}, {"template": "ocr"}),
        ({"template_registry": PREFIX, "template_registry_secret": SECRET}, {"image": "ghcr.io/acme/chat:1"}),
        ({"template_registry": PREFIX, "template_registry_secret": SECRET}, {"template": "chat"}),
    ],
    ids=["no password", "no template", "a published image"],
)
def test_what_is_not_in_that_registry_is_pulled_without_its_password(
    platform: dict[str, Any], args: dict[str, Any]
) -> None:
    used, _ = pull_secrets(platform, **args)
    assert used == []


@pytest.mark.parametrize(("template", "credentials"), [("ocr", SECRET), ("chat", None)])
def test_a_preview_shows_that_password_to_that_registry_alone(template: str, credentials: str | None) -> None:
    asked: list[Questions] = []

    def nobody(region: str, questions: Questions) -> Answers:
        asked.append(questions)
        return Answers(recorded="2026-11-28T10:00:00Z")

    def program() -> None:
        platform = testing.platform(template_registry=PREFIX, template_registry_secret=SECRET)
        platform.looker = Looker(holdfast.Foresight(feasibility=holdfast.Feasibility.WARN), nobody)
        holdfast.Endpoint("mine", {"platform": platform, "template": template})

    testing.record(program, preview=True)
    assert [one.credentials for one in asked] == [credentials]


def test_a_secret_without_a_registry_is_refused() -> None:
    text = (
        'template_registry_secret is "acme/registry", the password of no registry: declare template_registry beside '
        "it, or leave it out"
    )
    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(lambda: shared(template_registry=None))
    assert [str(problem) for problem in caught.value.problems] == [text]
