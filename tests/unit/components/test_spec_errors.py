"""Every wrong declaration is told with path, value, rule and remedy, and all of them at once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.template import catalogue

IMAGE = "ghcr.io/acme/chat:1"
TOKEN = "sha256:abcd:" + "0" * 64

NAME = [
    (
        "Chat",
        'name is "Chat", not a DNS label of at most 40 characters: '
        "use lower-case letters, digits and -, start with a letter and end without -",
    ),
    (
        "a" * 41,
        f'name is "{"a" * 41}", not a DNS label of at most 40 characters: '
        "use lower-case letters, digits and -, start with a letter and end without -",
    ),
    (
        "chat-",
        'name is "chat-", not a DNS label of at most 40 characters: '
        "use lower-case letters, digits and -, start with a letter and end without -",
    ),
]

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"image": None},
        "image is missing, and so are code and template: declare exactly one of image, code, template",
    ),
    (
        {"code": {"path": "./chat", "repository": "ghcr.io/acme/chat"}},
        f'image is "{IMAGE}", beside code: declare exactly one of image, code, template',
    ),
    (
        {"template": "ocr"},
        f'image is "{IMAGE}", beside template: declare exactly one of image, code, template',
    ),
    (
        {"image": None, "code": "./chat"},
        "code.repository is missing, required: declare it",
    ),
    ({"image": None, "template": "ocrr"}, 'template is "ocrr", not in the catalogue: did you mean ocr?'),
    (
        {"image": "https://ghcr.io/acme/chat"},
        'image is "https://ghcr.io/acme/chat", a URL: write the image without http:// or https://',
    ),
    (
        {"image": "ghcr.io/Acme/chat"},
        'image is "ghcr.io/Acme/chat", not an image reference: '
        "write registry/repository:tag or registry/repository@sha256:<64 hex>",
    ),
    (
        {"image": "acme/chat@sha256:12"},
        'image is "acme/chat@sha256:12", not an image reference: '
        "write registry/repository:tag or registry/repository@sha256:<64 hex>",
    ),
    ({"imag": "x"}, "imag is (hidden), an unknown field: did you mean image?"),
    ({"port": 0}, "port is 0, below 1: use 1 or more"),
    ({"port": 70000}, "port is 70000, above 65535: use 65535 or less"),
    ({"port": "8000"}, 'port is "8000", not a whole number: write it without quotes and without a fraction'),
    (
        {"port": 8095},
        "port is 8095, taken by the worker beside the model: let the model listen on another port",
    ),
    ({"max_result_mib": 0}, "max_result_mib is 0, below 1: use 1 or more"),
    ({"max_result_mib": 65537}, "max_result_mib is 65537, above 65536: use 65536 or less"),
    ({"sizes": {"image_gb": 0}}, "sizes.image_gb is 0, not above 0: use more than 0"),
    ({"sizes": {"image_gb": 1001}}, "sizes.image_gb is 1001, above 1000: use 1000 or less"),
    ({"sizes": {"weights_gb": 10_001}}, "sizes.weights_gb is 10001, above 10000: use 10000 or less"),
    ({"sizes": {"weights_gb": "19"}}, 'sizes.weights_gb is "19", not a number: write it without quotes'),
    ({"sizes": {"weight_gb": 19}}, "sizes.weight_gb is (hidden), an unknown field: did you mean weights_gb?"),
    ({"sizes": 19}, 'sizes is 19, not a mapping: write {"field": value}'),
    ({"command": "python"}, 'command is "python", not a list: write [value, …]'),
    ({"args": [1]}, "args[0] is 1, not text: put it in quotes"),
    ({"hardware": "a10"}, 'hardware.preset is "a10", not a preset: did you mean a10g?'),
    (
        {"hardware": "neuron-v9"},
        'hardware.preset is "neuron-v9", not a preset: choose one of a100-40gb, a100-80gb, a10g, b200, b300, cpu, '
        "cpu-small, h100, h200, l4, l40s, rtx-pro-6000, t4",
    ),
    ({"hardware": {"gpu": 1}}, "hardware.gpu is (hidden), an unknown field: did you mean gpus?"),
    (
        {"hardware": {"gpus": 0.5}},
        "hardware.gpus is 0.5, not a whole number: write it without quotes and without a fraction",
    ),
    ({"hardware": {"cpu": 0}}, "hardware.cpu is 0, below 0.05: use 0.05 or more"),
    ({"hardware": {"cpu": "2"}}, 'hardware.cpu is "2", not a number: write it without quotes'),
    ({"hardware": {"cpu": True}}, "hardware.cpu is True, not a number: write it without quotes"),
    ({"hardware": {"memory_mib": 1}}, "hardware.memory_mib is 1, below 64: use 64 or more"),
    (
        {"hardware": {"gpus": 4, "instance_types": ["g5.xlarge"]}},
        'hardware.instance_types[0] is "g5.xlarge", a machine with 1 GPUs, fewer than gpus=4: take a larger one',
    ),
    (
        {"hardware": {"cpu": 8, "instance_types": ["g5.xlarge"]}},
        'hardware.instance_types[0] is "g5.xlarge", a machine with 4 vCPUs, fewer than cpu=8: lower cpu',
    ),
    (
        {"hardware": {"memory_mib": 16384, "instance_types": ["g5.xlarge"]}},
        'hardware.instance_types[0] is "g5.xlarge", a machine with 16 GiB, not more than memory_mib=16384: '
        "lower memory_mib: the system needs some itself",
    ),
    (
        {"hardware": {"shm_mib": 4096}},
        "hardware.shm_mib is 4096, not below memory_mib=2048, which it counts towards: "
        "lower it or raise memory_mib",
    ),
    ({"hardware": {"spot": "yes"}}, 'hardware.spot is "yes", neither true nor false: write True or False'),
    (
        {"scaling": {"min_replicas": 5, "max_replicas": 4}},
        "scaling.min_replicas is 5, above max_replicas=4: lower it or raise max_replicas",
    ),
    ({"scaling": {"max_replicas": 0}}, "scaling.max_replicas is 0, below 1: use 1 or more"),
    ({"scaling": {"timeout": 60}}, "scaling.timeout is (hidden), an unknown field: did you mean timeout_s?"),
    ({"scaling": {"concurrency": 0}}, "scaling.concurrency is 0, below 1: use 1 or more"),
    (
        {"scaling": {"max_request_s": 50_000}},
        "scaling.max_request_s is 50000, above 43200: use 43200 or less",
    ),
    (
        {"scaling": {"startup_budget_s": 900}},
        "scaling.startup_budget_s is 900, not below max_request_s=900, so the waking request may pass its deadline "
        "first: lower it, raise max_request_s, or keep a replica with min_replicas=1",
    ),
    (
        {"scaling": {"max_replicas": 1000, "concurrency": 100}},
        "scaling.concurrency is 100, 100000 at once with max_replicas=1000, above a queue's 10000: "
        "lower one of them, or declare several endpoints",
    ),
    ({"scaling": 3}, 'scaling is 3, not a mapping: write {"field": value}'),
    ({"visibility": "publik"}, 'visibility is "publik", not one of the choices: did you mean public?'),
    ({"state": "off"}, 'state is "off", not one of the choices: choose one of active, paused'),
    ({"rollout": "blue"}, 'rollout is "blue", not one of the choices: choose one of surge, swap'),
    ({"registry_credentials": {}}, "registry_credentials.secret is missing, required: declare it"),
    (
        {"registry_credentials": {"secret": "a b"}},
        "registry_credentials.secret is (hidden), not the name of a Secrets Manager secret: "
        "use its name or ARN: letters, digits and /_+=.@:-",
    ),
    (
        {"registry_credentials": {"secret": "a", "registry": "https://ghcr.io"}},
        'registry_credentials.registry is "https://ghcr.io", a URL: write the host alone, such as ghcr.io',
    ),
    (
        {"registry_credentials": {"secret": "a", "registry": "GHCR.io"}},
        'registry_credentials.registry is "GHCR.io", not a registry\'s host: '
        "write host or host:port in lower case, such as ghcr.io",
    ),
    (
        {"secrets": {"DB_URL": {}}},
        "secrets.DB_URL.secret is missing, and no value is given: name a secret of Secrets Manager",
    ),
    (
        {"secrets": {"DB_URL": {"secert": "a", "secret": "a"}}},
        "secrets.DB_URL.secert is (hidden), an unknown field: did you mean secret?",
    ),
    (
        {"secrets": {"DB_URL": {"value": True}}},
        "secrets.DB_URL.value is (hidden), neither text nor an output of the program: "
        "give the value itself, or name a secret instead",
    ),
    (
        {"secrets": {"DB-URL": {"secret": "a"}}},
        "secrets.DB-URL is (hidden), not the name of a variable: use letters, digits and _, not starting with a digit",
    ),
    (
        {"secrets": {"CERT": {"secret": "a", "file": "cert.pem"}}},
        "secrets.CERT.file is (hidden), not an absolute path: start it with /",
    ),
    (
        {"secrets": {"CERT": {"secret": "a", "file": "/tmp"}}},
        'secrets.CERT.file is "/tmp", always writable: choose another path',
    ),
    (
        {"secrets": {"A": {"secret": "a"}}, "env": {"A": "b"}},
        "secrets.A is (hidden), declared in env as well: remove one of them",
    ),
    (
        {"env": {"HF_TOKEN": "hf_abc"}},
        "env.HF_TOKEN is (hidden), what looks like a secret in plain text, readable in state, diffs and cluster: "
        'move it to secrets: {"HF_TOKEN": {"secret": "<name in Secrets Manager>"}}',
    ),
    (
        {"env": {"DSN": "postgres://user:pass@db/x"}},
        "env.DSN is (hidden), what looks like a secret in plain text, readable in state, diffs and cluster: "
        'move it to secrets: {"DSN": {"secret": "<name in Secrets Manager>"}}',
    ),
    (
        {"env": {"MODEL": "AKIAABCDEFGHIJKLMNOP"}},
        "env.MODEL is (hidden), what looks like a secret in plain text, readable in state, diffs and cluster: "
        'move it to secrets: {"MODEL": {"secret": "<name in Secrets Manager>"}}',
    ),
    ({"env": {"THREADS": 4}}, "env.THREADS is (hidden), not text: put it in quotes"),
    (
        {"env": {"HOLDFAST_DOCUMENT": "x"}},
        "env.HOLDFAST_DOCUMENT is (hidden), reserved for the worker: choose a name without the prefix HOLDFAST_",
    ),
    ({"health_check_path": "health"}, 'health_check_path is "health", not a route: start it with /'),
    ({"health_check_path": "/a b"}, 'health_check_path is "/a b", not a route: write it without spaces'),
    ({"cache": {"path": "/tmp"}}, 'cache.path is "/tmp", always writable: choose another path'),
    ({"cache": {"path": "/"}}, 'cache.path is "/", the whole file system: name a directory below it'),
    (
        {"cache": {"path": "/c:/w"}},
        'cache.path is "/c:/w", a path with a colon, which Kubernetes mounts nothing at: name it without',
    ),
    ({"cache": {}}, "cache.path is missing, required: declare it"),
    (
        {"cache": {"path": "/w"}, "writable_paths": ["/w"]},
        'cache.path is "/w", also writable_paths[0]: choose another path',
    ),
    ({"rate_limit": {"requests": 0, "window_s": 60}}, "rate_limit.requests is 0, below 1: use 1 or more"),
    ({"rate_limit": {"requests": 15}}, "rate_limit.window_s is missing, required: declare it"),
    (
        {"tokens": ["hf_abcd_" + "x" * 43]},
        "tokens[0] is (hidden), a token itself, not its hash: `holdfast token hash` prints what to declare",
    ),
    (
        {"tokens": ["secret"]},
        "tokens[0] is (hidden), not of the form sha256:<id>:<64 hex digits>, as `holdfast token new` prints: "
        "paste the line that `holdfast token new` prints",
    ),
    ({"tokens": [TOKEN, TOKEN]}, "tokens[1] is (hidden), a second token with id abcd: remove one of them"),
    (
        {"tokens": [TOKEN], "visibility": "public"},
        'visibility is "public", which needs no tokens, yet some are declared: remove tokens or make it private',
    ),
    (
        {"contract": [{"name": "a", "body_json": {}, "body_base64": "e30="}]},
        'contract[0].body_base64 is "e30=", beside body_json: declare one of them',
    ),
    (
        {"contract": [{"name": "a"}, {"name": "a"}]},
        'contract[1].name is "a", used twice: give each example its own name',
    ),
    (
        {"contract": [{"name": "a", "timeout_s": 700}]},
        "contract is 700 s in all, above scaling.startup_budget_s=600, the time to get ready: "
        "lower the examples' timeout_s or raise startup_budget_s",
    ),
    (
        {"contract": [{"name": "a", "expect_status": 99}]},
        "contract[0].expect_status is 99, below 100: use 100 or more",
    ),
    ({"egress": "all"}, 'egress is "all", not one of the choices: choose one of internet, none'),
    ({"user": -1}, "user is -1, below 0: use 0 or more"),
    ({"description": "x" * 501}, f'description is "{"x" * 58}…, longer than 500 characters: shorten it'),
    (
        {"labels": {"holdfast.dev/endpoint": "x"}},
        'labels.holdfast.dev/endpoint is "holdfast.dev/endpoint", a label that the components set: '
        "choose another prefix",
    ),
    (
        {"transforms": {"deploy": {}}},
        'transforms.deploy is "deploy", not a child of an endpoint: did you mean deployment?',
    ),
]


def _problems(name: str, args: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_endpoint(name, args, catalogue())
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(("args", "expected"), WRONG, ids=[text.partition(" is ")[0] for _, text in WRONG])
def test_a_wrong_spec_is_told_with_path_value_rule_and_remedy(args: dict[str, Any], expected: str) -> None:
    assert _problems("chat", {"image": IMAGE, **args}) == [expected]


@pytest.mark.parametrize(("name", "expected"), NAME)
def test_a_wrong_name_is_told_before_kubernetes_refuses_it(name: str, expected: str) -> None:
    assert _problems(name, {"image": IMAGE}) == [expected]


@pytest.mark.parametrize("taken", ["services", "templates"])
def test_an_endpoint_cannot_take_the_name_of_a_pull_secret_of_the_platform(taken: str) -> None:
    credentials = {"registry_credentials": {"secret": "acme/ghcr"}}
    assert _problems(f"holdfast-{taken}", {"image": IMAGE, **credentials}) == [
        f'name is "holdfast-{taken}", whose pull secret holdfast-{taken}-pull is the platform\'s own: '
        "choose another name, or leave registry_credentials out"
    ]
    assert parse_endpoint(f"holdfast-{taken}", {"image": IMAGE}, catalogue()).registry_credentials is None


def test_all_problems_of_a_spec_are_told_at_once() -> None:
    found = _problems(
        "Chat",
        {
            "image": "x y",
            "port": 8095,
            "scaling": {"min_replicas": 3, "max_replicas": 2, "concurrency": -1},
            "env": {"bad-name": "1", "API_KEY": "abc"},
        },
    )
    paths = [text.partition(" is ")[0] for text in found]
    assert sorted(paths) == sorted(
        [
            "name",
            "image",
            "scaling.concurrency",
            "env.bad-name",
            "scaling.min_replicas",
            "port",
            "env.API_KEY",
        ]
    )


def test_every_wrong_label_is_told() -> None:
    labels = {"holdfast.dev/x": "1", "kubernetes.io/y": "1", "team": "a b", "-": "c", "cost": 4, "fine": "d"}
    assert _problems("chat", {"image": IMAGE, "labels": labels}) == [
        'labels.holdfast.dev/x is "holdfast.dev/x", a label that the components set: choose another prefix',
        'labels.kubernetes.io/y is "kubernetes.io/y", a label that the components set: choose another prefix',
        'labels.team is "a b", not a label\'s value in Kubernetes: use letters, digits and ._- up to 63',
        'labels.- is "-", not a label\'s name in Kubernetes: use letters, digits and ._- up to 63',
        "labels.cost is 4, not text: put it in quotes",
    ]


def test_a_section_that_lacks_a_required_part_hides_no_rule_between_others() -> None:
    assert _problems("chat", {"image": IMAGE, "cache": {}, "port": 8095}) == [
        "cache.path is missing, required: declare it",
        "port is 8095, taken by the worker beside the model: let the model listen on another port",
    ]


def test_an_error_names_the_endpoint_and_counts_its_problems() -> None:
    with pytest.raises(SpecError, match=r'^endpoint "chat" has 1 problem:\n  port is 0, below 1'):
        parse_endpoint("chat", {"image": IMAGE, "port": 0}, catalogue())


def test_a_value_that_may_be_a_secret_is_never_repeated() -> None:
    found = "\n".join(
        _problems("chat", {"image": IMAGE, "env": {"API_KEY": "hunter2"}, "tokens": ["hf_hunter2"]})
    )
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "env",
    [{"MAX_TOKENS": "4096"}, {"TOKENIZER": "llama"}, {"TOKEN_URL": "https://x/y"}, {"API_KEY": ""}],
)
def test_a_setting_that_only_sounds_like_a_secret_is_allowed(env: dict[str, str]) -> None:
    assert parse_endpoint("chat", {"image": IMAGE, "env": env}, catalogue()).env == env


def test_whole_numbers_of_other_languages_arrive_as_floats_and_are_taken() -> None:
    spec = parse_endpoint(
        "chat", {"image": IMAGE, "port": 9000.0, "scaling": {"max_replicas": 3.0}}, catalogue()
    )
    assert (spec.port, spec.scaling.max_replicas) == (9000, 3)


def test_at_least_sixty_different_mistakes_are_told_with_all_four_parts() -> None:
    texts = [text for _, text in (*WRONG, *NAME)]
    assert len(set(texts)) >= 60
    # Path, value, rule and remedy, whatever the mistake.
    assert [text for text in texts if not re.match(r"\S+ is .+, .+: \S.+$", text, re.DOTALL)] == []
