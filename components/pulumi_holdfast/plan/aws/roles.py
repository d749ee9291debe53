"""IAM: a role for each need, with policies that name what they reach by its whole ARN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pulumi_holdfast.plan.aws.resource import Json, Planned, document, out, tags
from pulumi_holdfast.spec.aws import AwsSpec

POD_IDENTITY: Final = "pods.eks.amazonaws.com"


def arn(spec: AwsSpec, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
    """The ARN of something in the platform's region and account."""
    place = f"{spec.region if region else ''}:{spec.account if account else ''}"
    return f"arn:{spec.partition}:{service}:{place}:{resource}"


def allow(sid: str, actions: Sequence[str], resources: Sequence[str], condition: Json | None = None) -> Json:
    """One statement."""
    statement: Json = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": list(resources),
    }
    if condition:
        statement["Condition"] = condition
    return statement


def trust(service: str) -> str:
    """Which AWS service may take a role. Pod Identity tags the session with who the pod is."""
    actions = ["sts:AssumeRole", "sts:TagSession"] if service == POD_IDENTITY else ["sts:AssumeRole"]
    return document([{"Effect": "Allow", "Principal": {"Service": service}, "Action": actions}])


def role(
    spec: AwsSpec, child: str, service: str, managed: Sequence[str] = (), statements: Sequence[Json] = ()
) -> list[Planned]:
    """A role, AWS's own policies on it by name, and one policy of ours."""
    props: Json = {
        # A name of its own, so that other policies can name it before it exists.
        "name": role_name(spec, child),
        "assumeRolePolicy": trust(service),
        "tags": tags(spec, child),
    }
    if spec.identities.permissions_boundary:
        props["permissionsBoundary"] = spec.identities.permissions_boundary
    planned = [Planned(child, "aws:iam/role:Role", props)]
    planned += [
        Planned(
            f"{child}-{name.rpartition('/')[2]}",
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            {"role": out(child, "name"), "policyArn": f"arn:{spec.partition}:iam::aws:policy/{name}"},
        )
        for name in managed
    ]
    if statements:
        planned.append(
            Planned(
                f"{child}-policy",
                "aws:iam/rolePolicy:RolePolicy",
                {"role": out(child, "name"), "name": "holdfast", "policy": document(list(statements))},
            )
        )
    return planned


def role_name(spec: AwsSpec, child: str) -> str:
    """A role's name in the account; IAM takes 64 characters."""
    return f"{spec.name}-{spec.region}-{child}"[:64]


def role_arn(spec: AwsSpec, child: str) -> str:
    """A role's ARN, known before the role exists."""
    return arn(spec, "iam", f"role/{role_name(spec, child)}", region=False)


def attachments(planned: Sequence[Planned]) -> tuple[str, ...]:
    """The children that must exist before a role can be used."""
    kinds = ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "aws:iam/rolePolicy:RolePolicy")
    return tuple(one.child for one in planned if one.type in kinds)
