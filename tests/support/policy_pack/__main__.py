"""A policy pack of two rules, one of each level."""

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)


def owned(args: ResourceValidationArgs, report: ReportViolation) -> None:
    """Every repository says whose it is."""
    if args.resource_type == "aws:ecr/repository:Repository" and "owner" not in args.props.get("tags", {}):
        report("tags.owner is missing: name the team that answers for this repository")


def scanned(args: ResourceValidationArgs, report: ReportViolation) -> None:
    """Every repository is scanned; advice."""
    if args.resource_type == "aws:ecr/repository:Repository" and not args.props.get(
        "imageScanningConfiguration"
    ):
        report("imageScanningConfiguration is missing: turn scanning on")


PolicyPack(
    "rules",
    policies=[
        ResourceValidationPolicy("owned", "says whose it is", owned, EnforcementLevel.MANDATORY),
        ResourceValidationPolicy("scanned", "is scanned", scanned, EnforcementLevel.ADVISORY),
    ],
)
