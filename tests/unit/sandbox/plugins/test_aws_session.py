"""Where the AWS stand-in's provider talks to, and how it speaks of errors."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError
from botocore.validate import validate_parameters

from holdfast_sandbox.plugins.aws.session import ProviderError, explain, is_missing, session_from


@pytest.mark.parametrize("url", ["https://s3.us-east-1.amazonaws.com", "https://x.api.aws"])
def test_aws_itself_is_refused(url: str) -> None:
    with pytest.raises(ProviderError, match="which is AWS itself"):
        session_from({"AWS_ENDPOINT_URL": url}, {})


def test_without_an_address_it_refuses() -> None:
    with pytest.raises(ProviderError, match="AWS_ENDPOINT_URL is not set"):
        session_from({}, {})


@pytest.mark.parametrize(
    ("environment", "configuration", "region"),
    [
        ({}, {}, "us-east-1"),
        ({"AWS_REGION": "eu-west-1"}, {}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, {"region": "us-west-2"}, "us-west-2"),
    ],
)
def test_the_region_is_the_configured_one(
    environment: dict[str, str], configuration: dict[str, str], region: str
) -> None:
    url = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    assert session_from({**environment, **url}, configuration).region == region


@pytest.mark.parametrize(
    "code",
    [
        "NoSuchEntity",
        "ResourceNotFoundException",
        "InvalidVpcID.NotFound",
        "404",
        "NoSuchBucket",
        "NoSuchTagSet",
        "AWS.SimpleQueueService.NonExistentQueue",
    ],
)
def test_these_mean_that_it_is_gone(code: str) -> None:
    assert is_missing(_refused(code))


@pytest.mark.parametrize("code", ["AccessDenied", "DependencyViolation", "ValidationException"])
def test_these_do_not(code: str) -> None:
    assert not is_missing(_refused(code))


def test_a_refusal_names_type_resource_call_and_reason() -> None:
    assert explain(_refused("AccessDenied"), "aws:s3/bucket:Bucket", "data") == (
        "aws:s3/bucket:Bucket: data: CreateBucket was refused: AccessDenied: because"
    )


def test_a_wrong_kind_of_value_is_told_without_the_value() -> None:
    model = (
        botocore.session.get_session().get_service_model("secretsmanager").operation_model("PutSecretValue")
    )
    with pytest.raises(ParamValidationError) as raised:
        _validate({"SecretId": "a", "SecretString": 31337}, model.input_shape)
    text = explain(raised.value, "aws:secretsmanager/secretVersion:SecretVersion", "db")
    assert "look at SecretString" in text
    assert "31337" not in text


def test_a_stand_in_that_is_down_comes_with_the_remedy() -> None:
    text = explain(EndpointConnectionError(endpoint_url="http://127.0.0.1:5566"), "t", "n")
    assert "run `holdfast sandbox up`" in text


def _refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "because"}}, "CreateBucket")


def _validate(parameters: dict[str, object], shape: object) -> None:
    validate_parameters(parameters, shape)
