"""`holdfast replay`: what other scaling settings would have done with the requests that came."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from holdfast_cli.connect import Connection, connected
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from holdfast_cli.declarations import Declaration
    from pulumi_holdfast.plan.replay import Request, Startup
    from pulumi_holdfast.plan.traffic import Answer

_QUERY_TIMEOUT_S: Final = 60
_SETTINGS: Final = ("min_replicas", "max_replicas", "timeout_s", "concurrency", "max_queue")
_DAY_HOURS: Final = 24.0


@click.command()
@click.argument("endpoint")
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The requests: CSV with the columns at_s and service_s.",
)
@click.option(
    "--prometheus", metavar="URL", help="Take the requests from what workers counted in this Prometheus."
)
@click.option(
    "--hours",
    type=float,
    help=f"How many hours back from now; with --prometheus, {_DAY_HOURS:g} by default, 168 at most.",
)
@click.option(
    "--declared",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="What is declared: what `pulumi preview --json` or `pulumi stack export` printed; -: standard input. "
    "Default: the gateway is asked.",
)
@click.option("--min-replicas", type=int, help="Proposed replicas that always run.")
@click.option("--max-replicas", type=int, help="Proposed replicas that run at most.")
@click.option("--timeout-s", type=int, help="Proposed seconds without a request until it goes down.")
@click.option("--concurrency", type=int, help="Proposed requests that a replica works on at a time.")
@click.option("--max-queue", type=int, help="Proposed requests that wait; one more is refused.")
@click.option(
    "--cold-start-s",
    type=click.FloatRange(min=0),
    help="Seconds until a new replica takes requests. Default: the last real start where the gateway is asked "
    "and knows one, else what previews take.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep the requests as a trace. Previews replay <endpoint>.csv of the folder `holdfast:traces`.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@connected
def replay(
    connection: Connection,
    endpoint: str,
    trace: Path | None,
    prometheus: str | None,
    hours: float | None,
    declared: Path | None,
    cold_start_s: float | None,
    save: Path | None,
    as_json: bool,
    **settings: int | None,
) -> None:
    """Say what the endpoint ENDPOINT would have done with the requests that came, as declared and as proposed.

    Give the requests with --trace or --prometheus. The scaler's own decisions are simulated, once with the present
    settings and once with the proposed ones: those of the options, beside what a preview in --declared changes.
    Cost is that of full machines.
    """
    _check_name(endpoint)
    requests, span_s = _requests(endpoint, trace, prometheus, hours)
    if save is not None:
        _save(save, requests)
    present, proposed, last_start_s = _declarations(connection, endpoint, declared, settings)
    cold_start_s = last_start_s if cold_start_s is None else cold_start_s
    sides = {"present": present} if proposed == present else {"present": present, "proposed": proposed}
    until_s = _until(requests, list(sides.values())) if span_s is None else span_s
    outcomes = {
        name: _outcome(requests, side, _startup(side, cold_start_s), until_s) for name, side in sides.items()
    }
    if as_json:
        print_json({"endpoint": endpoint, "seconds": round(until_s, 3), **outcomes})
        return
    rows = [(key, *(_shown(outcome[key]) for outcome in outcomes.values())) for key in outcomes["present"]]
    print_table(("", *outcomes), rows)


def _check_name(endpoint: str) -> None:
    from holdfast_contract.document import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, endpoint):
        raise CommandError(
            f"ENDPOINT is {endpoint!r}, not an endpoint's name", "`holdfast ls` lists them", Exit.USAGE
        )


# --- requests -----------------------------------------------------------------------------------------------
def _requests(
    endpoint: str, trace: Path | None, prometheus: str | None, hours: float | None
) -> tuple[tuple[Request, ...], float | None]:
    """The requests, and how many seconds they were watched; None: not known."""
    if (trace is None) == (prometheus is None):
        raise CommandError(
            "the requests come from one place", "give --trace FILE or --prometheus URL", Exit.USAGE
        )
    if prometheus is not None:
        hours = _DAY_HOURS if hours is None else hours
        return _from_prometheus(endpoint, prometheus, hours), hours * 3600
    if hours is not None:
        raise CommandError(
            "--hours is given beside --trace",
            "it belongs to --prometheus; a trace is replayed whole",
            Exit.USAGE,
        )
    assert trace is not None
    return _from_file(trace), None


def _from_file(path: Path) -> tuple[Request, ...]:
    from pulumi_holdfast.plan.replay import TraceError, parse_trace

    try:
        requests = parse_trace(_text(path, "--trace"))
    except TraceError as error:
        message, _, remedy = str(error).rpartition(": ")
        raise CommandError(f"--trace {path}: {message}", remedy, Exit.USAGE) from error
    if not requests:
        raise CommandError(
            f"--trace {path} has no request", "give one line for each below at_s,service_s", Exit.USAGE
        )
    return requests


def _from_prometheus(endpoint: str, url: str, hours: float) -> tuple[Request, ...]:
    from pulumi_holdfast.plan.traffic import TrafficError, Window, requests_of

    try:
        window = Window.last(hours, time.time())
    except ValueError as error:
        message, _, remedy = str(error).rpartition(": ")
        raise CommandError(f"--{message}", remedy, Exit.USAGE) from error
    try:
        return requests_of(endpoint, window, lambda parameters: _ask(url, parameters))
    except TrafficError as error:
        message, _, remedy = str(error).rpartition(": ")
        raise CommandError(f"--prometheus {url}: {message}", remedy, Exit.FAILED) from error


def _ask(url: str, parameters: Mapping[str, str]) -> Answer:
    """Asks Prometheus. Raises CommandError where none can be asked."""
    import httpx2

    from pulumi_holdfast.plan.traffic import Answer

    try:
        at = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise CommandError(
            f"--prometheus {url!r} is no URL: {error}", "write it as http://localhost:9090", Exit.USAGE
        ) from error
    if at.scheme not in ("http", "https") or not at.host:
        raise CommandError(f"--prometheus {url!r} is no URL", "write it as http://localhost:9090", Exit.USAGE)
    if at.userinfo:
        raise CommandError(
            "--prometheus holds credentials: every user of this machine sees a command line",
            "reach Prometheus without a login, as by `kubectl port-forward`",
            Exit.USAGE,
        )
    try:
        with httpx2.Client(timeout=_QUERY_TIMEOUT_S) as client:
            answer = client.get(f"{url.rstrip('/')}/api/v1/query_range", params=dict(parameters))
            return Answer(answer.status_code, answer.text)
    except httpx2.HTTPError as error:
        raise CommandError(
            f"--prometheus {url} cannot be reached: {str(error) or type(error).__name__}",
            "look whether it runs there and this machine may reach it, as by `kubectl port-forward`",
            Exit.UNREACHABLE,
        ) from error


def _save(path: Path, requests: Sequence[Request]) -> None:
    from pulumi_holdfast.plan.traffic import trace_text

    try:
        path.write_text(trace_text(requests), encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"--save {path} cannot be written: {error.strerror}",
            "name a file in a folder that exists",
            Exit.FAILED,
        ) from error
    note(f"saved {len(requests):,} requests to {path}")


# --- declarations -------------------------------------------------------------------------------------------
def _declarations(
    connection: Connection, endpoint: str, file: Path | None, settings: Mapping[str, int | None]
) -> tuple[Declaration, Declaration, float | None]:
    """The present declaration, the proposed one, and how long the last real cold start took; None: not known."""
    from dataclasses import replace

    from holdfast_cli.declarations import from_document, from_gateway, scaling_of

    last_start_s = None
    if file is not None:
        present, base = from_document(_text(file, "--declared"), endpoint, f"--declared {file}")
    else:
        with connection.client(timeout_s=30) as client:
            found = client.endpoint(endpoint)
        present = base = from_gateway(found)
        last_start_s = (found.last_cold_start or {}).get("ready")
    proposed = {name: value for name, value in settings.items() if value is not None}
    scaling = scaling_of(endpoint, base.scaling.model_dump(), proposed, "proposed")
    return present, replace(base, scaling=scaling), last_start_s


def _text(path: Path, option: str) -> str:
    try:
        if str(path) == "-":
            return sys.stdin.read()
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{option} {path} cannot be read: {error.strerror}", "name a file that exists", Exit.USAGE
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{option} {path} is not UTF-8 text", "save it as UTF-8", Exit.USAGE) from error


# --- outcomes -----------------------------------------------------------------------------------------------
def _startup(side: Declaration, cold_start_s: float | None) -> Startup:
    """As previews estimate it from what is declared, unless it was measured."""
    from pulumi_holdfast.plan.replay import Startup

    return side.startup if cold_start_s is None else Startup(scale_s=0.0, ready_s=cold_start_s)


def _until(requests: Sequence[Request], sides: Sequence[Declaration]) -> float:
    """Until when both sides are paid for: the end of the last request, and the longest pause after it."""
    from holdfast_contract.autoscaling import KEDA_POLLING_INTERVAL_S

    ended_s = max(request.at_s + request.service_s for request in requests)
    return ended_s + max(side.scaling.timeout_s for side in sides) + KEDA_POLLING_INTERVAL_S


def _outcome(
    requests: Sequence[Request], side: Declaration, startup: Startup, until_s: float
) -> dict[str, float | None]:
    """The settings, and what they would have done; in the order in which it is shown."""
    from pulumi_holdfast.plan.replay import replay as replayed

    done = replayed(
        requests,
        side.scaling,
        startup=startup,
        gpus=1,
        horizon_s=until_s,
        max_queue=side.scaling.max_queue,
    )
    replica_hours, price = done.gpu_hours, side.usd_per_replica_hour
    return {
        **{name: getattr(side.scaling, name) for name in _SETTINGS},
        "cold_start_s": round(startup.total_s, 3),
        "requests": done.requests,
        "refused": done.refused,
        "cold_starts": done.cold_starts,
        "waiting_p50_s": round(done.waiting_p50_s, 3),
        "waiting_p99_s": round(done.waiting_p99_s, 3),
        "peak_replicas": done.peak_replicas,
        "replica_hours": round(replica_hours, 4),
        "gpu_hours": None if side.gpus is None else round(side.gpus * replica_hours, 4),
        "cost_usd": None if price is None else round(price * replica_hours, 2),
    }


def _shown(value: float | None) -> str | None:
    return None if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
