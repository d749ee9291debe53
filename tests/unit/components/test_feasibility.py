"""Whether what is declared can be had: what each answer means, word for word; cold starts beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi_kubernetes.core.v1 import Service

import pulumi_holdfast as holdfast
from pulumi_holdfast import testing
from pulumi_holdfast.foresight import Looker
from pulumi_holdfast.plan.coldstart import beyond_budget, estimate
from pulumi_holdfast.plan.feasibility import (
    Answers,
    AnswersError,
    Failure,
    ImageAnswer,
    QuotaAnswer,
    SecretAnswer,
    Status,
    ZonesAnswer,
    findings,
    merged,
    parse_answers,
    questions,
    quota_finding,
    quota_of,
    vcpus_wanted,
)
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.template import catalogue

IMAGE = "ghcr.io/acme/chat:1"
DIGEST = "sha256:" + "1" * 64
CREDENTIALS = {"registry_credentials": {"secret": "acme/ghcr"}}
LOGIN = SecretAnswer(keys=("password", "username"))


def _spec(**args: Any) -> EndpointSpec:
    return parse_endpoint("chat", {"image": IMAGE, **args}, catalogue())


def _found(spec: EndpointSpec, where: tuple[str, ...] = (), **answers: Any) -> dict[Status, list[str]]:
    asked = questions(spec, spec.image)
    told = Answers(recorded="2026-11-24T22:00:00Z", region="us-east-1", **answers)
    found: dict[Status, list[str]] = {status: [] for status in Status}
    for one in findings(spec, asked, told, where):
        found[one.status].append(one.text)
    return found


FAILED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {},
        {"images": {IMAGE: ImageAnswer(failure=Failure.NOT_FOUND)}},
        'image is "ghcr.io/acme/chat:1", not in its registry: push it first, or correct its name, tag or digest',
    ),
    (
        {},
        {"images": {IMAGE: ImageAnswer(failure=Failure.DENIED)}},
        'image is "ghcr.io/acme/chat:1", private at ghcr.io, or not there, and no credentials are declared: declare '
        'registry_credentials={"secret": "<name in Secrets Manager>"}, or correct its name',
    ),
    (
        CREDENTIALS,
        {"images": {IMAGE: ImageAnswer(failure=Failure.DENIED)}, "secrets": {"acme/ghcr": LOGIN}},
        'registry_credentials.secret is "acme/ghcr", refused by ghcr.io for ghcr.io/acme/chat:1: correct the '
        "username "
        "and password in Secrets Manager, or give them access to the repository",
    ),
    (
        CREDENTIALS,
        {"secrets": {"acme/ghcr": SecretAnswer(keys=("token", "user"))}},
        'registry_credentials.secret is "acme/ghcr", with the keys token, user, not registry credentials: store '
        '{"username": …, "password": …} or a docker configuration',
    ),
    (
        CREDENTIALS,
        {"secrets": {"acme/ghcr": SecretAnswer()}},
        'registry_credentials.secret is "acme/ghcr", a plain text, not registry credentials: store {"username": …, '
        '"password": …} or a docker configuration',
    ),
    (
        CREDENTIALS,
        {"secrets": {"acme/ghcr": SecretAnswer(keys=("auths",), registries=("quay.io",))}},
        'registry_credentials.secret is "acme/ghcr", a docker configuration without ghcr.io (it has '
        "quay.io): add the "
        "image's registry to its auths",
    ),
    (
        CREDENTIALS,
        {"secrets": {"acme/ghcr": SecretAnswer(failure=Failure.NOT_FOUND)}},
        'registry_credentials.secret is "acme/ghcr", not in Secrets Manager in us-east-1: create it: aws '
        "secretsmanager "
        "create-secret --name acme/ghcr",
    ),
    (
        {"secrets": {"DB_URL": {"secret": "acme/db", "key": "url"}}},
        {"secrets": {"acme/db": SecretAnswer(keys=("host", "password"))}},
        'secrets.DB_URL.key is "url", not in secret acme/db: its keys are host, password: correct the key',
    ),
    (
        {"secrets": {"DB_URL": {"secret": "acme/db", "key": "url"}}},
        {"secrets": {"acme/db": SecretAnswer()}},
        'secrets.DB_URL.key is "url", not in secret acme/db: its value is a plain text: leave key out, or '
        "store a JSON "
        "object",
    ),
    (
        {"hardware": "l4"},
        {"zones": {name: ZonesAnswer() for name in ("g6.xlarge", "g6.2xlarge")}},
        'hardware.instance_types is "g6.xlarge, g6.2xlarge", offered in none of us-east-1: choose other '
        "machines or zones",
    ),
]


@pytest.mark.parametrize(("args", "answers", "text"), FAILED)
def test_what_cannot_be_had_is_told_with_path_value_rule_and_remedy(
    args: dict[str, Any], answers: dict[str, Any], text: str
) -> None:
    assert _found(_spec(**args), **answers)[Status.FAILED] == [text]


def test_a_machine_that_only_some_zones_have_is_named_with_what_is_left() -> None:
    zones = {
        "g6.xlarge": ZonesAnswer(zones=("us-east-1a",)),
        "g6.2xlarge": ZonesAnswer(zones=("us-east-1b",)),
    }
    found = _found(_spec(hardware="l4"), ("us-east-1a",), zones=zones)
    assert found[Status.FAILED] == [
        'hardware.instance_types is "g6.2xlarge", offered in none of us-east-1a, so only g6.xlarge can be '
        "had: remove it "
        "or choose another beside it"
    ]
    assert "g6.xlarge is offered in us-east-1a" in found[Status.OK]


def test_what_is_there_is_told_with_its_digest_and_size() -> None:
    image = ImageAnswer(digest=DIGEST, bytes=7_400_000_000)
    found = _found(_spec(**CREDENTIALS), images={IMAGE: image}, secrets={"acme/ghcr": LOGIN})
    assert found == {
        Status.OK: [
            f"image {IMAGE} is {DIGEST}, 7.4 GB to pull",
            "registry_credentials: secret acme/ghcr is there",
        ],
        Status.FAILED: [],
        Status.SKIPPED: [],
    }


@given(
    st.sampled_from([None, *Failure]),
    st.sampled_from([None, *Failure]),
    st.sampled_from([None, *Failure]),
)
def test_without_an_answer_nothing_counts_as_fine(
    image: Failure | None, secret: Failure | None, zone: Failure | None
) -> None:
    spec = _spec(**CREDENTIALS, hardware={"instance_types": ["m7i.large"]})
    answers = {
        "images": {IMAGE: ImageAnswer(failure=image, detail="x")},
        "secrets": {"acme/ghcr": SecretAnswer(failure=secret or Failure.UNKNOWN, detail="x")},
        "zones": {"m7i.large": ZonesAnswer(failure=zone or Failure.UNKNOWN, detail="x")},
    }
    found = _found(spec, **answers)
    assert found[Status.OK] == []
    assert len(found[Status.FAILED]) + len(found[Status.SKIPPED]) == 3


def test_offline_everything_is_skipped_with_its_reason() -> None:
    spec = _spec(**CREDENTIALS, hardware={"instance_types": ["m7i.large"]})
    assert _found(spec)[Status.SKIPPED] == [
        f"image {IMAGE}: nobody was asked",
        "registry_credentials: secret acme/ghcr: nobody was asked",
        "zones of m7i.large: nobody was asked",
    ]


def test_docker_hub_is_known_by_its_names() -> None:
    spec = _spec(image="acme/chat:1", **CREDENTIALS)
    hub = SecretAnswer(keys=("auths",), registries=("https://index.docker.io/v1/",))
    assert _found(spec, secrets={"acme/ghcr": hub})[Status.FAILED] == []


@pytest.mark.parametrize(
    ("name", "spot", "code"),
    [
        ("g5.xlarge", False, "L-DB2E81BA"),
        ("p5.48xlarge", False, "L-417A185B"),
        ("g6e.xlarge", True, "L-3819A6DF"),
        ("p4d.24xlarge", True, "L-7212CCBC"),
        ("p5.48xlarge", True, None),
        ("m7i.large", False, "L-1216C47A"),
        ("trn1.2xlarge", False, None),
        ("inf2.xlarge", False, None),
    ],
)
def test_every_family_counts_against_its_quota(name: str, spot: bool, code: str | None) -> None:
    assert quota_of(name, spot=spot) == code


def test_a_quota_is_held_against_all_endpoints_together() -> None:
    told = Answers(recorded="", region="us-east-1", quotas={"L-DB2E81BA": QuotaAnswer(vcpus=16)})
    assert quota_finding("b", "L-DB2E81BA", 16, 2, told).status is Status.OK
    assert quota_finding("b", "L-DB2E81BA", 20, 2, told).text == (
        "scaling.max_replicas is what brings 2 endpoints to 20 vCPUs of running on-demand G and VT "
        "instances, above the "
        "account's quota of 16 in us-east-1: lower max_replicas of b or another, or ask for a higher L-DB2E81BA in "
        "Service Quotas"
    )
    assert quota_finding("b", "L-417A185B", 1, 1, told).status is Status.SKIPPED


def test_vcpus_are_whole_machines_and_a_paused_endpoint_wants_none() -> None:
    table = hardware_table()
    assert vcpus_wanted(_spec(hardware="a10g", scaling={"max_replicas": 3}), table) == ("L-DB2E81BA", 12.0)
    assert vcpus_wanted(_spec(hardware="a10g", state="paused"), table) == ("L-DB2E81BA", 0.0)


def test_recorded_answers_come_back_as_they_went() -> None:
    told = Answers(
        recorded="2026-11-24T22:00:00Z",
        images={IMAGE: ImageAnswer(digest=DIGEST)},
        zones={"g5.xlarge": ZonesAnswer(zones=("us-east-1a",))},
    )
    later = Answers(recorded="2026-11-25T00:00:00Z", images={IMAGE: ImageAnswer(failure=Failure.DENIED)})
    assert parse_answers(told.to_json(), "x.json") == told
    both = merged(told, later)
    assert both.recorded == later.recorded
    assert both.images[IMAGE].failure is Failure.DENIED
    assert both.zones == told.zones


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x.json line 1 is not JSON: record them anew with holdfast:feasibilityRecord"),
        (
            '{"recorded": "2026", "imges": {}}',
            "x.json: imges is not as recorded, Extra inputs are not permitted: record them anew with "
            "holdfast:feasibilityRecord",
        ),
    ],
)
def test_recorded_answers_that_cannot_be_read_are_told(text: str, message: str) -> None:
    with pytest.raises(AnswersError) as caught:
        parse_answers(text, "x.json")
    assert str(caught.value) == message


# --- cold start and replay --------------------------------------------------------------------------------------
def test_a_cold_start_is_estimated_by_phase_and_what_is_unknown_is_said() -> None:
    start = estimate(_spec(hardware="a10g"), image_bytes=10_000_000_000)
    assert start.text() == (
        "a cold start takes at least 128–360 s: node 80–120 s, pull 48–240 s, load unknown (the weights' size is not "
        "known: declare it with sizes.weights_gb), ready unknown (only a real start tells); `holdfast status` shows "
        "the last real one beside it"
    )
    assert start.unknown == ("load", "ready")


def test_parallel_pull_and_weights_change_their_phases() -> None:
    spec = _spec(hardware="a10g", sizes={"image_gb": 10, "weights_gb": 16})
    pulls = {
        parallel: [(p.phase, p.low_s, p.high_s) for p in estimate(spec, parallel_pull=parallel).phases[1:3]]
        for parallel in (True, False, None)
    }
    load = ("load", 2.4, 48.0)
    assert pulls[True] == [("pull", 48.0, 120.0), load]
    assert pulls[False] == [("pull", 120.0, 240.0), load]
    assert pulls[None] == [("pull", 48.0, 240.0), load], "from the fastest with it to the slowest without"


def test_a_budget_that_no_gpu_machine_can_keep_is_told_before_requests_fail() -> None:
    spec = _spec(hardware="a10g", scaling={"startup_budget_s": 60})
    assert beyond_budget(spec, estimate(spec)) == (
        "scaling.startup_budget_s is 60, not above the 80 s that a cold start takes at least (node 80 s): "
        "raise it, or "
        "keep a replica with min_replicas=1"
    )
    assert beyond_budget(_spec(hardware="a10g"), estimate(_spec(hardware="a10g"))) is None
    assert beyond_budget(_spec(scaling={"startup_budget_s": 60}), estimate(_spec())) is None


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_larger_image_never_starts_faster(one: int, more: int) -> None:
    spec = _spec(hardware="a10g")
    small, large = estimate(spec, image_bytes=one), estimate(spec, image_bytes=one + more)
    assert small.low_s <= large.low_s
    assert small.high_s <= large.high_s
    assert small.low_s <= small.high_s


# --- in a preview ---------------------------------------------------------------------------------------------
def _told(ask: Any, caplog: pytest.LogCaptureFixture, **settings: Any) -> str:
    def program() -> None:
        platform = testing.platform()
        platform.looker = Looker(holdfast.Foresight(**settings), ask)
        for name in ("chat", "code"):
            holdfast.Endpoint(name, {"platform": platform, "image": IMAGE, "hardware": "a10g"})

    caplog.set_level("DEBUG")
    testing.record(program, preview=True)
    return caplog.text


def _answers(region: str, asked: Any) -> Answers:
    return Answers(
        recorded="2026-11-24T22:00:00Z",
        region=region,
        images={IMAGE: ImageAnswer(failure=Failure.NOT_FOUND)},
        quotas={"L-DB2E81BA": QuotaAnswer(vcpus=6)},
    )


def test_a_preview_warns_and_counts_the_quota_over_all_endpoints(caplog: pytest.LogCaptureFixture) -> None:
    told = _told(_answers, caplog, feasibility=holdfast.Feasibility.WARN)
    assert 'endpoint "chat": refused: image is "ghcr.io/acme/chat:1", not in its registry' in told
    assert 'endpoint "code": refused: scaling.max_replicas is what brings 2 endpoints to 8 vCPUs' in told
    assert 'endpoint "chat": refused: scaling' not in told
    assert 'endpoint "chat": not checked: zones of g5.xlarge' in told


def test_enforced_it_fails_the_preview_once_every_endpoint_has_had_its_say(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(
        Exception, match="chat, code cannot be had as declared, see above: correct it, or set "
    ):
        _told(_answers, caplog, feasibility=holdfast.Feasibility.ENFORCE)
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 3
    assert all(" refused: " in text for text in errors)


def test_enforced_but_offline_it_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def nobody(region: str, asked: Any) -> Answers:
        return Answers(recorded="")

    told = _told(nobody, caplog, feasibility=holdfast.Feasibility.ENFORCE)
    assert 'endpoint "chat": not checked: image' in told
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_off_nobody_is_asked_and_an_update_asks_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def nobody(region: str, asked: Any) -> Answers:
        raise AssertionError("asked")

    assert "refused" not in _told(nobody, caplog, feasibility=holdfast.Feasibility.OFF)

    def program() -> None:
        platform = testing.platform()
        platform.looker = Looker(holdfast.Foresight(feasibility=holdfast.Feasibility.WARN), nobody)
        holdfast.Endpoint("chat", {"platform": platform, "image": IMAGE})

    testing.record(program)


@pytest.mark.parametrize("feasibility", [holdfast.Feasibility.WARN, holdfast.Feasibility.ENFORCE])
def test_while_the_platform_is_not_known_what_was_not_asked_is_told_and_traces_are_replayed(
    feasibility: holdfast.Feasibility, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "chat.csv").write_text("at_s,service_s\n0,10\n")

    def nobody(region: str, asked: Any) -> Answers:
        raise AssertionError("asked")

    def program() -> None:
        way_in = Service("way-in")
        contract = way_in.status.apply(lambda _: testing.platform_contract())
        platform = holdfast.Platform(contract, key=testing.PLATFORM_KEY)
        platform.looker = Looker(holdfast.Foresight(feasibility=feasibility, traces=tmp_path), nobody)
        holdfast.Endpoint("chat", {"platform": platform, "image": IMAGE, "hardware": "a10g"})

    caplog.set_level("DEBUG")
    testing.record(program, preview=True)
    assert (
        'endpoint "chat": not checked: image, secrets, machines and quotas: the platform is not known before its '
        "shared stack's first `pulumi up`"
    ) in caplog.text
    assert 'endpoint "chat": replay of 1 requests: 1 cold starts' in caplog.text
