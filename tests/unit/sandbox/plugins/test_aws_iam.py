"""IAM in the AWS stand-in: what is taken out of a program, what fails half-way, what is imported."""

from __future__ import annotations

import pytest
from aws_in_process import Aws, Refused

ROLE = "aws:iam/role:Role"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"
OIDC = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"Service": "ec2.amazonaws.com"}}]}'
)
ALLOWED = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}'
BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"


@pytest.fixture
def aws(aws: Aws) -> Aws:
    """With the policy that is a boundary here."""
    aws.client("iam").create_policy(PolicyName="boundary", PolicyDocument=ALLOWED)
    return aws


def test_a_boundary_that_is_no_longer_declared_is_taken_off_the_role(aws: Aws) -> None:
    role = aws.create(ROLE, name="node", assumeRolePolicy=TRUST, permissionsBoundary=BOUNDARY)
    role.update(permissionsBoundary=None)
    assert "PermissionsBoundary" not in aws.client("iam").get_role(RoleName="node")["Role"]
    assert "permissionsBoundary" not in role.state.plain


def test_thumbprints_that_are_no_longer_declared_stay(aws: Aws) -> None:
    provider = aws.create(
        OIDC, url="https://oidc.test", clientIdLists=["sts.amazonaws.com"], thumbprintLists=["a" * 40]
    )
    assert not provider.diff(thumbprintLists=None).diffs


def test_a_profile_whose_role_is_missing_leaves_nothing_behind(aws: Aws) -> None:
    with pytest.raises(Refused, match="AddRoleToInstanceProfile was refused: NoSuchEntity"):
        aws.create(PROFILE, name="node", role="node")
    assert aws.client("iam").list_instance_profiles()["InstanceProfiles"] == []
    aws.create(ROLE, name="node", assumeRolePolicy=TRUST)
    profile = aws.create(PROFILE, name="node", role="node")
    profile.update(role=None)
    profile.delete()


def test_a_role_is_imported_with_its_path(aws: Aws) -> None:
    aws.client("iam").create_role(RoleName="node", AssumeRolePolicyDocument=TRUST, Path="/gpu/")
    role = aws.adopt(ROLE, "node")
    assert role.inputs.plain["path"] == "/gpu/"
    assert not role.diff().diffs
    assert list(role.diff(path="/cpu/").replaces) == ["path"]


def test_an_imported_role_need_not_declare_what_every_role_has(aws: Aws) -> None:
    aws.client("iam").create_role(RoleName="node", AssumeRolePolicyDocument=TRUST)
    assert not aws.adopt(ROLE, "node").diff(path=None, maxSessionDuration=None).diffs


def test_declaring_what_every_role_has_changes_nothing(aws: Aws) -> None:
    role = aws.create(ROLE, name="node", assumeRolePolicy=TRUST)
    assert not role.diff(path="/", maxSessionDuration=3600).diffs
    role.update(maxSessionDuration=7200)
    role.update(maxSessionDuration=None)
    assert aws.client("iam").get_role(RoleName="node")["Role"]["MaxSessionDuration"] == 3600
