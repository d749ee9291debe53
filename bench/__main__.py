"""`python -m bench [--quick] [--json FILE] [case ...]`: the table of ratios, all in one run.

Everything runs on this machine, over loopback, as real processes, and is ended afterwards. Figures in milliseconds
depend on the machine and on what else it does; the ratios to the baselines of the same run do so much less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import added, memory, scaler, throughput, waiting, wake
from bench.plane import Durability
from bench.report import Table

_LIMIT_S: Final = {"added": 180, "waiting": 900, "throughput": 240, "memory": 240, "wake": 240}
"""A case that takes longer is ended and reported as such."""


def main() -> int:
    """Exit code 1 where a case could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "cases", nargs="*", metavar="case", help=f"{', '.join(_LIMIT_S)}, scaler; default: all"
    )
    parser.add_argument(
        "--quick", action="store_true", help="short runs of fewer points: below three minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.add_argument(
        "--cluster",
        metavar="ENDPOINT",
        help="take the phases from 0 of this endpoint in the cluster, too; it must be at 0 replicas. Reads "
        "HOLDFAST_URL and HOLDFAST_TOKEN (or HOLDFAST_TOKEN_FILE), as `holdfast sandbox env` sets them",
    )
    parser.add_argument(
        "--sync",
        default="10ms",
        metavar="INTERVAL",
        help="the broker's sync_interval in all cases but throughput, which compares them; default: 10ms, as "
        "the shared stack has it for one server. `always` waits for the disk every time",
    )
    given = parser.parse_args()
    known = {**_cases(given.quick, given.cluster, Durability(sync_interval=given.sync)), "scaler": None}
    chosen = given.cases or list(known)
    for case in chosen:
        if case not in known:
            parser.error(f"case {case!r} is not one of {', '.join(known)}: correct it")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)  # so that whatever was started is ended
    logging.getLogger("holdfast").setLevel(
        logging.ERROR
    )  # the benchmark's own connections say nothing of use
    began = time.monotonic()
    tables: list[Table] = []
    failed = False
    for case in chosen:
        work = known[case]
        table = _scaler(given.quick) if work is None else _run(case, work)
        failed = failed or not table.rows
        tables.append(table)
        print(f"\n{table.text()}", flush=True)
        if given.json is not None:
            given.json.write_text(json.dumps(_document(tables, given.quick), indent=1, ensure_ascii=False))
    print(f"\nAll of it took {time.monotonic() - began:.0f} s.")
    return 1 if failed else 0


def _cases(
    quick: bool, cluster: str | None, durability: Durability
) -> dict[str, Callable[[], Coroutine[Any, Any, Table]]]:
    compared = (Durability(), Durability(sync_interval="always"), Durability(3, "always"))
    return {
        "added": lambda: added.measure(300 if quick else 1500, durability),
        "waiting": lambda: waiting.measure(waiting.QUICK if quick else waiting.FULL, durability),
        "throughput": lambda: throughput.measure(4 if quick else 10, compared[:2] if quick else compared),
        "memory": lambda: memory.measure((1000,) if quick else (1000, 10_000)),
        "wake": lambda: wake.measure(3 if quick else 7, cluster, durability),
    }


def _run(case: str, work: Callable[[], Coroutine[Any, Any, Table]]) -> Table:
    began = time.monotonic()

    async def bounded() -> Table:
        async with asyncio.timeout(_LIMIT_S[case]):
            return await work()

    try:
        return replace(uvloop.run(bounded()), seconds=time.monotonic() - began)
    except (Exception, ExceptionGroup) as error:  # the other cases are still worth measuring
        return Table(case, f"{case}: not measured", ("reason",), (), (repr(error),), time.monotonic() - began)


def _scaler(quick: bool) -> Table:
    began = time.monotonic()
    counts = (10, 100) if quick else scaler.COUNTS
    rows = scaler.measure(3 if quick else 10, counts)
    return Table(
        key="scaler",
        title="Scaler: processor time in cores, and reaction to a wake",
        columns=(
            "endpoints",
            "at rest",
            "a tenth busy",
            "broker at rest",
            "memory MiB",
            "reaction p50 ms",
            "reaction worst ms",
            "answer p99 ms",
        ),
        rows=tuple(
            (
                row.endpoints,
                row.rest_cores,
                row.busy_cores,
                row.broker_cores,
                row.memory_mib,
                row.reaction_p50_ms,
                row.reaction_worst_ms,
                row.answer_p99_ms,
            )
            for row in rows
        ),
        notes=("Aim: 1,000 endpoints at rest on ≤ 0.2 core, reaction ≤ 200 ms.",),
        seconds=time.monotonic() - began,
    )


def _document(tables: list[Table], quick: bool) -> dict[str, Any]:
    return {
        "quick": quick,
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_before": os.getloadavg()[0],
        },
        "cases": {table.key: table.data() for table in tables},
    }


if __name__ == "__main__":
    sys.exit(main())
