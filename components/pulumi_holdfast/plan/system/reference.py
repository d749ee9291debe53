"""Writes the pages about metrics and alerts from what is exported and declared:
`python -m pulumi_holdfast.plan.system.reference --write`.

Without `--write` it prints them. A test compares the pages in the repository with what this makes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from holdfast_contract import metrics
from pulumi_holdfast.plan.system.alerts import ALERTS

__all__ = ["PAGES", "alerts_page", "main", "metrics_page"]

_DOCS: Final = Path(__file__).resolve().parents[4] / "docs"
"""In a checkout."""
_COMMAND: Final = "python -m pulumi_holdfast.plan.system.reference --write"
_PARTS: Final = {
    metrics.Part.GATEWAY: "The gateway serves them at `/metrics` on port 8081, which is never exposed outside.",
    metrics.Part.WORKER: "The worker beside each model serves them at `/metrics` on port 8095.",
    metrics.Part.SCALER: "The scaler serves them at `/metrics` on port 8091.",
}
_METRICS_HEAD: Final = f"""# Metrics

<!-- Made by `{_COMMAND}` from `holdfast_contract.metrics`: edit that, not this. -->

Every metric that holdfast's processes export, in Prometheus's text format; a test compares this list with running
processes. Names end in their base unit: seconds, never milliseconds. Counters end in `_total`. A histogram is kept
as `_bucket`, `_sum` and `_count`.

Labels: `endpoint` is an endpoint's name, and empty where a caller asked for one that does not exist; `code` an HTTP
status; `cause` the last part of a problem's `type` ([calling an endpoint](../guides/calling-an-endpoint.md)), `gone`
where the caller left, or `none`.

How to have them scraped, drawn and watched: [guide: observability](../guides/observability.md).
"""
_ALERTS_HEAD: Final = f"""# Guide: alerts

<!-- Made by `{_COMMAND}` from `pulumi_holdfast.plan.system.alerts`: edit that, not this. -->

What each alert means, what may be behind it, and what to do. `critical`: requests are lost or nothing can start, wake
somebody; `warning`: look at it today. They are installed with `observability={{"alerts": True}}` on the shared stack
([guide: observability](observability.md)).
"""


def metrics_page() -> str:
    """The reference of all metrics."""
    parts = [_METRICS_HEAD]
    for part, where in _PARTS.items():
        parts.append(
            f"## {part.value.capitalize()}\n\n{where}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|"
        )
        for metric in metrics.of(part):
            labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
            parts[-1] += f"\n| `{metric.name}` | {metric.kind.value} | {labels} | {metric.meaning} |"
        parts[-1] += "\n"
    return "\n".join(parts)


def alerts_page() -> str:
    """The runbook."""
    parts = [_ALERTS_HEAD]
    for alert in ALERTS:
        held = f"after {alert.for_s} s" if alert.for_s else "at once"
        summary = alert.summary
        for label, plain in (("endpoint", "an endpoint"), ("pod", "a pod")):
            summary = summary.replace(f"{{{{ $labels.{label} }}}}", plain)
        parts.append(
            f"## {alert.name}\n\n{summary[0].upper()}{summary[1:]}\n\n"
            f"**{alert.severity}**, {held}, where\n\n```promql\n{alert.expression}\n```\n\n"
            f"**Why it may be.** {alert.cause}\n\n**What to do.** {alert.remedy}\n"
        )
    return "\n".join(parts)


PAGES: Final = {
    _DOCS / "reference" / "metrics.md": metrics_page,
    _DOCS / "guides" / "alerts.md": alerts_page,
}
"""Where each page stands in a checkout, and what makes it."""


def main(arguments: list[str]) -> int:
    """Write or print the pages. Exit code 2: not asked as it can be."""
    if arguments not in ([], ["--write"]):
        print(f"usage: {_COMMAND.removesuffix(' --write')} [--write]", file=sys.stderr)
        return 2
    for path, page in PAGES.items():
        if arguments:
            path.write_text(page())
        else:
            print(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
