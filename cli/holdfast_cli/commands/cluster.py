"""`holdfast logs` and `events`: what an endpoint's replicas say, and what happens to them."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from typing import Any

import click

from holdfast_cli import kubectl
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note, print_json, print_table

POLL_S = 1.0
"""How often -f looks for new replicas and events."""
SEEN_WITHIN = 5
"""Looks, a second apart, for a container that starts: a replica may answer a second before its kubelet tells that it
runs."""

_namespace = click.option(
    "-n",
    "--namespace",
    envvar="HOLDFAST_NAMESPACE",
    default="holdfast",
    show_default=True,
    help="The endpoints'.",
)


@click.command()
@click.argument("name")
@_namespace
@click.option(
    "-c",
    "--container",
    type=click.Choice(["model", "worker"]),
    default="model",
    show_default=True,
    help="Of which.",
)
@click.option(
    "--tail", type=click.IntRange(min=0), default=100, show_default=True, help="Last lines of each replica."
)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C, also with replicas that start later.")
def logs(name: str, namespace: str, container: str, tail: int, follow: bool) -> None:
    """Print the logs of the endpoint NAME's replicas.

    Reads the cluster with kubectl, so it needs a kubeconfig.
    """
    kubectl.require()
    selector = f"{_label()}={name}"
    if follow:
        _follow_logs(namespace, selector, container, tail)
        return
    pods = _started(name, namespace, selector, container)
    unread = []
    for pod in pods:
        done = subprocess.run(kubectl.log_command(namespace, _name(pod), container, tail, False), check=False)
        if done.returncode > 0:  # below: ended by a signal, as where the reader of a pipe left
            unread.append(_name(pod))
    if unread:
        raise CommandError(
            f"kubectl could not read the logs of {', '.join(unread)}; it says why above",
            "check that your kubeconfig may read pods/log",
        )


def _started(name: str, namespace: str, selector: str, container: str) -> list[dict[str, Any]]:
    """Replicas with a log. Raises CommandError where there is none, or where none comes soon."""
    found: list[dict[str, Any]] = []
    for look in range(SEEN_WITHIN):
        if look:
            time.sleep(POLL_S)
        found = kubectl.get(namespace, "pods", "-l", selector)
        ready = [pod for pod in found if kubectl.started(pod, container) is not None]
        if ready:
            return ready
        if not found:
            break
    what = (
        f"the {container} container of no replica has started yet: it has no log"
        if found
        else f"endpoint {name} has no replica in namespace {namespace}: logs go with their replicas"
    )
    raise CommandError(what, f"`holdfast events {name}` says what happened; -f waits for one", Exit.NOT_UP)


def _follow_logs(namespace: str, selector: str, container: str, tail: int) -> None:
    """One kubectl per replica and restart; `kubectl logs -f -l` would not notice those that start later."""
    followers: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
    try:
        while True:
            for pod in kubectl.get(namespace, "pods", "-l", selector):
                name, restarts = _name(pod), kubectl.started(pod, container)
                if restarts is None or (name, restarts) in followers:
                    continue
                # Of one that restarts before our eyes, all that it says.
                lines = -1 if any(name == known for known, _ in followers) else tail
                followers[name, restarts] = subprocess.Popen(
                    kubectl.log_command(namespace, name, container, lines, True)
                )
            time.sleep(POLL_S)
            if any(one.poll() == -signal.SIGPIPE for one in followers.values()):
                return  # the reader left (`| grep -m1 ready`): this process writes nothing and would not notice
    finally:
        for one in followers.values():
            one.terminate()
        for one in followers.values():
            one.wait()


@click.command()
@click.argument("name")
@_namespace
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Kubernetes's events as JSON.")
def events(name: str, namespace: str, follow: bool, as_json: bool) -> None:
    """Say what happened to the endpoint NAME in the last hour.

    To its replicas as well. Reads the cluster with kubectl, so it needs a kubeconfig.
    """
    kubectl.require()
    seen: set[tuple[str, int]] = set()
    while True:
        documents = kubectl.get(namespace, "configmaps", "-l", _label())
        endpoints = {one["metadata"]["labels"][_label()] for one in documents}
        found = events_of(name, endpoints, kubectl.get(namespace, "events"))
        fresh = [one for one in found if _identity(one) not in seen]
        seen |= {_identity(one) for one in fresh}
        if as_json:
            for one in fresh if follow else [fresh]:
                print_json(one)
        elif fresh:
            print_table(("when", "type", "object", "reason", "message"), [_row(one) for one in fresh])
        elif not follow:
            note(f"nothing happened to {name} within the time that Kubernetes keeps events (an hour)")
        if not follow:
            return
        time.sleep(POLL_S)


def events_of(name: str, endpoints: set[str], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of an endpoint's own objects, oldest first.

    Replicas that are gone have no labels to ask for any more, so it goes by their names; those of an endpoint
    `ocr-big` are not taken for those of `ocr`.
    """
    longer = sorted((one for one in endpoints if one.startswith(f"{name}-")), key=len)
    mine = re.compile(rf"(keda-hpa-)?{re.escape(name)}(-[a-z0-9.-]+)?")

    def belongs(one: dict[str, Any]) -> bool:
        about = one["involvedObject"]["name"].removeprefix("keda-hpa-")
        return bool(mine.fullmatch(about)) and not any(
            about == other or about.startswith(f"{other}-") for other in longer
        )

    return sorted((one for one in found if belongs(one)), key=_when)


def _when(event: dict[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _identity(event: dict[str, Any]) -> tuple[str, int]:
    return event["metadata"]["uid"], int(event.get("count") or 1)


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    about = event["involvedObject"]
    message = " ".join(str(event.get("message", "")).split())
    return (
        _when(event),
        event.get("type"),
        f"{about['kind'].lower()}/{about['name']}",
        event.get("reason"),
        message,
    )


def _name(found: dict[str, Any]) -> str:
    return str(found["metadata"]["name"])


def _label() -> str:
    from holdfast_contract.names import LABEL_ENDPOINT

    return LABEL_ENDPOINT
