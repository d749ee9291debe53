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
            # A third of a core each, so that three replicas fit beside the platform on a machine of two.
            "hardware": {"cpu": 0.3},
            "registry_credentials": {"secret": "sandbox/registry"},
        },
    )
