"""`python -m bench.preview [--endpoints 1 100 1000] [--times 1]`: what the components add to a preview.

The same resources are previewed twice with the real engine and the official Kubernetes provider, without a cluster:
declared as endpoints, and written by hand, that is, read back from a file and registered one by one in one Pulumi
program. Wall and processor time of `pulumi preview --json`, and the peak of the memory of all its processes
together. The aim: at most 1.2 times, and growing linearly.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil

from bench.report import Table
from holdfast_sandbox import builds, plugins
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress

ENDPOINTS: Final = """
import pulumi_holdfast as holdfast
from pulumi_holdfast import testing

platform = testing.platform()
for number in range({count}):
    holdfast.Endpoint(f"e{{number}}", {{
        "platform": platform,
        "image": "ghcr.io/acme/chat@sha256:" + "1" * 64,
        "hardware": "a10g",
        "scaling": {{"max_replicas": 2 + number % 3, "max_request_s": 600, "startup_budget_s": 500}},
        "tokens": ["sha256:abcd:" + "0" * 64],
    }})
"""
BY_HAND: Final = """
import json
import pulumi
import pulumi_kubernetes as k8s

KINDS = {{
    "kubernetes:core/v1:ConfigMap": k8s.core.v1.ConfigMap,
    "kubernetes:core/v1:Secret": k8s.core.v1.Secret,
    "kubernetes:apps/v1:Deployment": k8s.apps.v1.Deployment,
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": k8s.networking.v1.NetworkPolicy,
    "kubernetes:policy/v1:PodDisruptionBudget": k8s.policy.v1.PodDisruptionBudget,
}}


class Group(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("shop:index:Group", name, {{}})
        self.register_outputs({{}})


def declare(name, resources):
    parent = Group(name)
    for one in resources:
        inputs = {{key: value for key, value in one["inputs"].items() if key not in ("apiVersion", "kind")}}
        if one["type"].startswith("kubernetes:core/v1:Secret"):
            inputs["string_data"] = pulumi.Output.secret(inputs.pop("stringData", {{}}))
        options = pulumi.ResourceOptions(parent=parent, ignore_changes=one["ignore"])
        made = KINDS.get(one["type"])
        if made is None:
            meta = {{"api_version": one["inputs"]["apiVersion"], "kind": one["inputs"]["kind"]}}
            k8s.apiextensions.CustomResource(one["name"], **meta, **inputs, opts=options)
        else:
            made(one["name"], **inputs, opts=options)


# One line at a time: resources that stand in code are not kept in memory either.
with open("resources.jsonl") as file:
    for line in file:
        declare(*json.loads(line))
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """One preview."""

    seconds: float
    cpu_s: float
    """Processor time of the command and all that it started and waited for; other work on the machine changes it
    much less than the wall time."""
    peak_mib: float
    """All processes of the command together, as proportional set size."""
    resources: int


def main() -> int:
    """Prints the table; exit code 1 where a preview failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.preview", description=__doc__)
    parser.add_argument("--endpoints", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--times", type=int, default=1, help="previews of each; their median counts")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-preview-") as scratch:
        table = measured(Path(scratch), given.endpoints, given.times)
    print(table.text())
    if given.json is not None:
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        given.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return 0


def measured(scratch: Path, counts: list[int], times: int = 1) -> Table:
    """The table for so many endpoints: of each pair of previews the median of so many, in turns. One of the first
    pair is thrown away, so that all find warm caches."""
    environment = _environment(scratch)
    rows = []
    for number, count in enumerate(counts):
        endpoints = _project(scratch / f"endpoints-{count}", ENDPOINTS.format(count=count), environment)
        by_hand = _project(scratch / f"by-hand-{count}", BY_HAND.format(), environment)
        pairs = []
        for _ in range(times + 1 if number == 0 else times):
            ours, steps = _preview(endpoints, environment)
            lines = [json.dumps(group) + "\n" for group in groups_of(steps).items()]
            (by_hand / "resources.jsonl").write_text("".join(lines))
            theirs, _ = _preview(by_hand, environment)
            pairs.append((ours, theirs))
            print(f"  {count} endpoints: {ours}, by hand: {theirs}", file=sys.stderr, flush=True)
        del pairs[:-times]
        ours, theirs = (typical(list(side)) for side in zip(*pairs, strict=True))
        rows.append(
            (
                count,
                ours.resources,
                theirs.resources,
                round(ours.seconds, 1),
                round(theirs.seconds, 1),
                round(ours.seconds / theirs.seconds, 2),
                round(ours.cpu_s, 1),
                round(theirs.cpu_s, 1),
                round(ours.cpu_s / theirs.cpu_s, 2),
                round(ours.peak_mib),
                round(theirs.peak_mib),
                round(ours.peak_mib / theirs.peak_mib, 2),
            )
        )
    columns = (
        "endpoints",
        "resources",
        "by hand",
        "s",
        "by hand s",
        "ratio",
        "CPU s",
        "by hand CPU s",
        "ratio CPU",
        "MiB",
        "by hand MiB",
        "ratio MiB",
    )
    return Table("preview", "Previews: endpoints against the same resources by hand", columns, tuple(rows))


def _environment(scratch: Path) -> dict[str, str]:
    tools = builds.ensure(default_paths().cache, Progress(), ["pulumi", "pulumi-kubernetes"])
    builds.link_all(tools, scratch / "bin", scratch / "home" / "plugins")
    plugins.install(scratch / "bin", scratch / "home" / "plugins")
    (scratch / "state").mkdir()
    return {
        "HOME": os.environ.get("HOME", "/"),
        "PATH": f"{scratch / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "PULUMI_HOME": str(scratch / "home"),
        "PULUMI_BACKEND_URL": f"file://{scratch / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "only-for-the-benchmark",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PYTHONPYCACHEPREFIX": str(scratch / "pycache"),
    }


def _project(folder: Path, program: str, environment: Mapping[str, str]) -> Path:
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(f"name: {folder.name}\nruntime: python\n")
    (folder / "__main__.py").write_text(program)
    for command in (
        ["stack", "init", "dev"],
        ["config", "set", "kubernetes:renderYamlToDirectory", str(folder / "rendered")],
    ):
        subprocess.run(
            ["pulumi", *command, "--non-interactive"],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
        )
    return folder


def typical(previews: Sequence[Figures]) -> Figures:
    """Of each figure the median."""
    return Figures(
        seconds=median(one.seconds for one in previews),
        cpu_s=median(one.cpu_s for one in previews),
        peak_mib=median(one.peak_mib for one in previews),
        resources=previews[0].resources,
    )


def groups_of(steps: list[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Resources by the endpoint that they belong to, as the engine saw them."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        state = step["newState"]
        parts = step["urn"].split("::")
        kind, name = parts[2].rpartition("$")[2], parts[3]
        if kind.startswith("kubernetes:"):
            owner = str(state["parent"]).split("::")[3]
            inputs = _plain(state["inputs"])
            ignored = ["spec.replicas"] if kind.endswith(":Deployment") else []
            groups.setdefault(owner, []).append(
                {"type": kind, "name": name, "inputs": inputs, "ignore": ignored}
            )
    return groups


def _plain(value: Any) -> Any:
    """Without the marks of secrets."""
    if isinstance(value, Mapping):
        if "4dabf18193072939515e22adb298388d" in value:
            return json.loads(value.get("plaintext") or '""')
        return {key: _plain(found) for key, found in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _preview(folder: Path, environment: Mapping[str, str]) -> tuple[Figures, list[Mapping[str, Any]]]:
    """One preview's figures, and its steps."""
    started, cpu_before = time.monotonic(), _children_cpu_s()
    process = subprocess.Popen(
        ["pulumi", "preview", "--json", "--show-secrets", "--non-interactive"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        with _watched(process.pid) as peak:
            output, _ = process.communicate(timeout=1800)
        seconds = time.monotonic() - started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode != 0:
        raise SystemExit(f"the preview in {folder.name} failed:\n{output[-2000:]}")
    cpu_s = _children_cpu_s() - cpu_before
    steps: list[Mapping[str, Any]] = json.loads(output)["steps"]
    return Figures(seconds, cpu_s, peak[0], len(steps)), steps


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """The peak of a process tree's memory, in MiB, looked at four times a second."""
    peak = [0.0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.25):
            peak[0] = max(peak[0], _memory_mib(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _memory_mib(pid: int) -> float:
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total / 2**20


if __name__ == "__main__":
    sys.exit(main())
