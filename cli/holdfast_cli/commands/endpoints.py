"""`holdfast ls` and `status`: what exists, and how it does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from holdfast_cli.connect import Connection, connected
from holdfast_cli.output import note, print_json, print_pairs, print_table, style

if TYPE_CHECKING:
    from holdfast_client import ColdStartPhase, EndpointInfo


@click.command(name="ls")
@click.option("--json", "as_json", is_flag=True, help="The gateway's list as JSON.")
@connected
def list_endpoints(connection: Connection, as_json: bool) -> None:
    """List the endpoints that your token opens, and the public ones."""
    with connection.client(timeout_s=30) as client:
        found = client.endpoints()
    if as_json:
        print_json([one.raw for one in found])
        return
    if not found:
        note("no endpoint: none is declared, or none is public and your token opens none")
        return
    rows = [
        (
            one.name,
            one.url,
            one.visibility,
            _state(one),
            f"{one.replicas}/{one.max_replicas or '-'}",
            one.waiting,
        )
        for one in found
    ]
    print_table(("name", "url", "visibility", "state", "replicas", "waiting"), rows)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The gateway's description as JSON.")
@connected
def status(connection: Connection, name: str, as_json: bool) -> None:
    """Say how the endpoint NAME does.

    Replicas, queue, last request, the last cold start phase by phase beside its estimate, and what is wrong.
    """
    with connection.client(timeout_s=30) as client:
        found = client.endpoint(name)
    if as_json:
        print_json(found.raw)
        return
    last = found.last_request_at
    print_pairs(
        [
            ("name", found.name),
            ("url", found.url),
            ("visibility", found.visibility),
            ("state", _state(found)),
            ("template", found.template),
            ("replicas", f"{found.replicas}, between {found.min_replicas} and {found.max_replicas}"),
            ("running", found.running),
            ("waiting", found.waiting),
            (
                "last request",
                None if last is None else datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds"),
            ),
            ("last cold start", _phases(found)),
            *([("wrong", style(found.failure, fg="red"))] if found.failure else []),
        ]
    )
    if found.cold_start_phases:
        click.echo()
        print_table(
            ("cold start", "estimated", "last", "than estimated", "from"),
            [_compared(phase) for phase in found.cold_start_phases],
        )


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@connected
def metrics(connection: Connection, name: str | None, as_json: bool) -> None:
    """Say how busy, fast and expensive the endpoint NAME is, or all that your token opens.

    Latency and errors are one gateway's, of the last 15 minutes; what gateways, workers and scaler count in full is
    at their `/metrics`, for Prometheus.
    """
    with connection.client(timeout_s=30) as client:
        found = [client.endpoint(name)] if name else client.endpoints()
    if as_json:
        print_json([{key: one.raw.get(key) for key in ("name", *_MEASURED)} for one in found])
        return
    if not found:
        note("no endpoint: none is declared, or none is public and your token opens none")
        return
    headings = (
        "name",
        "ready",
        "busy",
        "waiting",
        "p50",
        "p90",
        "p99",
        "requests",
        "errors",
        "usd/hour",
        "this month",
    )
    print_table(headings, [_measured(one.raw) for one in found])


_MEASURED = ("replicas", "waiting", "running", "window_s", "latency", "errors", "cost")


def _measured(raw: Mapping[str, Any]) -> tuple[object, ...]:
    replicas, latency, cost = raw.get("replicas") or {}, raw.get("latency") or {}, raw.get("cost") or {}
    errors = ", ".join(f"{count} {cause}" for cause, count in sorted((raw.get("errors") or {}).items()))
    seconds = (latency.get(key) for key in ("p50_s", "p90_s", "p99_s"))
    now, month = cost.get("usd_per_hour_now"), cost.get("usd_this_month")
    return (
        raw.get("name"),
        replicas.get("ready"),
        replicas.get("busy"),
        raw.get("waiting"),
        *(None if value is None else f"{value:.3g} s" for value in seconds),
        latency.get("count", 0),
        errors or "none",
        None if now is None else f"{now:.2f}",
        None if month is None else f"{month:.2f}",
    )


def _state(one: EndpointInfo) -> str:
    return "failing" if one.failure else one.state


def _compared(phase: ColdStartPhase) -> tuple[object, ...]:
    low_s, high_s, last_s = phase.low_s, phase.high_s, phase.last_s
    if low_s is None:
        estimated = "unknown"
    elif high_s is None:
        estimated = f"{low_s:g} s or more"
    else:
        estimated = f"{low_s:g}–{high_s:g} s"
    outside = phase.verdict if phase.verdict in ("faster", "slower") else None
    return phase.phase, estimated, None if last_s is None else f"{last_s:.1f} s", outside, phase.why


def _phases(one: EndpointInfo) -> str | None:
    if not one.last_cold_start:
        return None
    return ", ".join(f"{name} {at:.1f} s" for name, at in one.last_cold_start.items() if at is not None)
