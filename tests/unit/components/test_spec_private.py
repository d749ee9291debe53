"""No error repeats a value that may be a secret, wherever in a declaration it was put by mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pulumi_holdfast.spec.aws import parse_aws
from pulumi_holdfast.spec.endpoint import EndpointSpec, sections
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.reference import _sections
from pulumi_holdfast.spec.shared import parse_shared
from pulumi_holdfast.spec.template import catalogue

PRIVATE = "hunter2 hunter2"
NO_MAPPING = 'not a mapping: write {"field": value}'


def _endpoint(args: Mapping[str, Any]) -> object:
    return parse_endpoint("chat", {"image": "ghcr.io/acme/chat:1", **args}, catalogue())


def _shared(args: Mapping[str, Any]) -> object:
    return parse_shared("gpu", {"services_image": "acme/services:1", "base_url": "https://a.b", **args})


MISTAKES: list[tuple[Callable[[Mapping[str, Any]], object], dict[str, Any], str]] = [
    (
        _endpoint,
        {"registry_credentials": {"secret": "a", "password": PRIVATE}},
        "registry_credentials.password is (hidden), an unknown field: choose one of refresh_s, registry, secret",
    ),
    (
        _endpoint,
        {"registry_credentials": {"secret": PRIVATE}},
        "registry_credentials.secret is (hidden), not the name of a Secrets Manager secret: "
        "use its name or ARN: letters, digits and /_+=.@:-",
    ),
    (_endpoint, {"registry_credentials": PRIVATE}, f"registry_credentials is (hidden), {NO_MAPPING}"),
    (_endpoint, {"secret": {"T": PRIVATE}}, "secret is (hidden), an unknown field: did you mean secrets?"),
    (_endpoint, {"secrets": [PRIVATE]}, 'secrets is (hidden), not a mapping: write {"name": value}'),
    (_endpoint, {"secrets": {"T": PRIVATE}}, f"secrets.T is (hidden), {NO_MAPPING}"),
    (_endpoint, {"env": [PRIVATE]}, 'env is (hidden), not a mapping: write {"name": value}'),
    (_endpoint, {"tokens": PRIVATE}, "tokens is (hidden), not a list: write [value, …]"),
    (
        _endpoint,
        {"contract": [{"name": "a", "headers": {"Authorization": [PRIVATE]}}]},
        "contract[0].headers.Authorization is (hidden), not text: put it in quotes",
    ),
    (
        _endpoint,
        {"contract": {"name": "a", "headers": {"Authorization": PRIVATE}}},
        "contract is (hidden), not a list: write [value, …]",
    ),
    (_endpoint, {"contract": [PRIVATE]}, f"contract[0] is (hidden), {NO_MAPPING}"),
    (
        _shared,
        {"broker_secert": PRIVATE},
        "broker_secert is (hidden), an unknown field: did you mean broker_secret?",
    ),
    (
        _shared,
        {"template_registry": "a", "template_registry_secret": PRIVATE},
        "template_registry_secret is (hidden), not the name of a Secrets Manager secret: "
        "use its name or ARN: letters, digits and /_+=.@:-",
    ),
    (
        _shared,
        {"observability": {"otlp_endpoint": "http://u:hunter2@otel:4318"}},
        "observability.otlp_endpoint is (hidden), a URL with a password: "
        "pods' settings are readable: let the collector take it without",
    ),
]


@pytest.mark.parametrize(
    ("parse", "args", "expected"), MISTAKES, ids=[said.split(" is ")[0] for *_, said in MISTAKES]
)
def test_an_error_does_not_repeat_what_may_be_a_secret(
    parse: Callable[[Mapping[str, Any]], object], args: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parse(args)
    assert [str(problem) for problem in caught.value.problems] == [expected]
    assert "hunter2" not in str(caught.value)


def test_a_field_that_only_begins_like_a_private_one_is_shown() -> None:
    with pytest.raises(SpecError) as caught:
        parse_aws("gpu", {"identities": {"secrets": ["acme db"]}})
    assert 'identities.secrets[0] is "acme db", not the name of' in str(caught.value)


@pytest.mark.parametrize("path", [path for path, _ in _sections("", EndpointSpec)])
def test_every_section_knows_its_fields_for_did_you_mean(path: str) -> None:
    assert path.removesuffix("[]") in sections()
