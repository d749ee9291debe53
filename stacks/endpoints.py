"""The endpoints of this stack. Adding one is adding lines to `declare`."""

import pulumi_holdfast as holdfast


def declare(platform: holdfast.Platform) -> None:
    """Everything that callers can reach."""
    holdfast.Endpoint(
        "receipts",
        {
            "platform": platform,
            "template": "ocr",
            "scaling": {"max_replicas": 3, "timeout_s": 120},
            "hardware": "cpu-small",
            "registry_credentials": {"secret": "sandbox/registry"},
        },
    )
