"""Up, down and what lies between, on machines of their own."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from sandbox_uses import USES, http_status, node_port, node_port_opens

from holdfast_sandbox import lifecycle

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def up_box(lasting_box: Any) -> Any:
    """A box with a sandbox that is up. Each test leaves it up."""
    lasting_box.up()
    return lasting_box


def pod_restarts(box: Any) -> dict[str, str]:
    """Pod → restarts of its container, for KEDA's pods."""
    lines = box.kubectl(
        "get",
        "pods",
        "-n",
        "keda",
        "-o",
        r'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{"\n"}{end}',
    )
    return dict(line.split() for line in lines.splitlines())


GPU_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "gpu"},
    "spec": {
        "replicas": 8,
        "selector": {"matchLabels": {"app": "gpu"}},
        "template": {
            "metadata": {"labels": {"app": "gpu"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "main",
                        "image": "registry.k8s.io/pause:3.10",
                        "resources": {"limits": {"nvidia.com/gpu": 1}},
                    }
                ],
            },
        },
    },
}


OUTSIDE = "192.0.2.1"
"""An address that the machine has besides the sandbox's, as that of its network card."""
KILLED_UP = """
"$@" >/dev/null 2>&1 & up=$!
until [ -e /run/holdfast-box/pids/"$STARTED" ]; do kill -0 $up || exit 1; sleep 0.05; done
kill -9 $up
"""
"""`up`, killed as soon as it has started that process. Fails where `up` ends before."""
REBOOT = """
for pid in $(ps -eo pid=,comm= | awk '$1 > 1 && $2 != "sleep" && $2 != "sh" {print $1}'); do
  [ "$pid" = $$ ] || kill -9 "$pid" 2>/dev/null
done
for point in $(awk '$2 ~ "^/(var/lib/holdfast-box/state|run/holdfast-box)/" {print $2}' /proc/mounts | sort -r); do
  umount -l "$point"
done
for name in $(ls /run/netns); do ip netns del $name; done
ip link del cni0
nft flush ruleset
echo another > /run/holdfast-box/boot
"""
"""A reboot ends all processes, empties the network and keeps the disk; here also /run, as on some machines."""


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not the same, a line each; a snapshot has hundreds of them."""
    lines = [
        {
            f"{key}: {item}"
            for key, value in one.items()
            for item in (value if isinstance(value, list) else [value])
        }
        for one in (before, after)
    ]
    return sorted(
        [f"- {line}" for line in lines[0] - lines[1]] + [f"+ {line}" for line in lines[1] - lines[0]]
    )


def test_a_sandbox_that_is_up_says_so(up_box: Any) -> None:
    status = up_box.status()

    assert status["up"], status
    assert status["missing"] == []
    assert status["node_ready"]
    assert status["waiting"] == []
    assert sorted(status["processes"]) == sorted(lifecycle.EXPECTED)


def test_a_second_up_starts_nothing_anew(up_box: Any) -> None:
    before = up_box.status()["processes"]

    up_box.up()

    assert up_box.status()["processes"] == before


@pytest.mark.timeout(600)
def test_a_killed_process_is_started_again_and_pods_do_not_notice(up_box: Any) -> None:
    pods = pod_restarts(up_box)
    up_box.kubectl("create", "deployment", "probe", "--image=registry.k8s.io/pause:3.10")
    for name in lifecycle.EXPECTED:
        before = up_box.status()["processes"]
        up_box.kill(before[name])

        up_box.up()

        after = up_box.status()
        assert after["up"], (name, after)
        assert after["processes"][name] != before[name]
        # Whatever was killed: a new pod is made, placed and started.
        up_box.kubectl("rollout", "restart", "deployment/probe")
        up_box.kubectl("rollout", "status", "deployment/probe", "--timeout=60s")
        if name in USES:
            USES[name](up_box)
    assert pod_restarts(up_box) == pods
    up_box.kubectl("delete", "deployment", "probe", "--wait=false")


def test_all_processes_killed_at_once_are_started_again(up_box: Any) -> None:
    up_box.kill(*up_box.status()["processes"].values())
    assert not up_box.status()["up"]

    up_box.up()

    assert up_box.status()["up"]


def test_processes_without_a_record_are_found_and_replaced(up_box: Any) -> None:
    before = up_box.status()["processes"]
    up_box.run("rm", "-r", "/run/holdfast-box/pids")

    said = up_box.up()

    assert "run without a record" in said
    after = up_box.status()
    assert after["up"], after
    assert not set(before.values()) & set(after["processes"].values())


def test_pods_that_lost_their_bridge_get_another(up_box: Any) -> None:
    up_box.run("ip", "link", "del", "cni0")

    said = up_box.up()

    assert "pods run, but the network interface cni0 is gone" in said
    assert up_box.status()["up"]


def test_after_a_reboot_up_brings_everything_back(up_box: Any) -> None:
    up_box.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    up_box.run("sh", "-c", REBOOT)

    said = up_box.up()

    assert "the machine was booted since" in said
    assert up_box.status()["up"]
    assert up_box.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"


def test_every_listener_is_on_the_loopback_or_the_pod_bridge(up_box: Any) -> None:
    lines = up_box.run("ss", "-ltnuH").stdout.splitlines()
    addresses = {line.split()[4].rpartition(":")[0] for line in lines}

    assert addresses == {"127.0.0.1", "10.244.0.1"}


def test_a_node_port_is_open_on_the_pod_bridge_alone(up_box: Any) -> None:
    """No listener that `ss` would show: the packet filter leads its packets on."""
    up_box.run("ip", "address", "replace", f"{OUTSIDE}/32", "dev", "lo")
    node_port(up_box, "inside", 30999)

    node_port_opens(up_box, 30999)

    # Only now that it is open on the bridge: before, it is closed everywhere.
    for address in ("127.0.0.1", OUTSIDE):
        assert http_status(up_box, address, 30999) == "ConnectionRefusedError: [Errno 111] Connection refused"
    up_box.kubectl("delete", "service", "inside")
    up_box.run("ip", "address", "delete", f"{OUTSIDE}/32", "dev", "lo")


def test_the_node_has_gpus_and_keeps_those_in_use_over_a_kubelet_restart(up_box: Any) -> None:
    up_box.kubectl("apply", "-f", "-", stdin=json.dumps(GPU_DEPLOYMENT))
    up_box.kubectl("rollout", "status", "deployment/gpu", "--timeout=60s")
    names = "jsonpath={.items[*].metadata.name}"
    before = up_box.kubectl(
        "get", "pods", "-l", "app=gpu", "-o", names, "--field-selector=status.phase=Running"
    )

    up_box.kill(up_box.status()["processes"]["kubelet"])
    up_box.up()

    up_box.kubectl("rollout", "status", "deployment/gpu", "--timeout=60s")
    after = up_box.kubectl(
        "get", "pods", "-l", "app=gpu", "-o", names, "--field-selector=status.phase=Running"
    )
    assert after == before
    assert (
        up_box.kubectl("get", "nodes", "-o", r"jsonpath={.items[0].status.allocatable.nvidia\.com/gpu}")
        == "8"
    )
    up_box.kubectl("delete", "deployment", "gpu", "--wait=false")


def test_no_password_is_on_a_command_line_or_readable_by_others(up_box: Any) -> None:
    state = "/var/lib/holdfast-box/state"
    secrets = up_box.run("sh", "-c", f"cat {state}/secrets/registry-password").stdout.strip()
    commands = up_box.run("ps", "-eo", "args").stdout
    readable = up_box.run(
        "find", f"{state}/secrets", f"{state}/pki", "-name", "*key*", "-perm", "/077"
    ).stdout

    assert len(secrets) >= 24
    assert secrets not in commands
    assert readable == ""


def test_down_keeps_the_cluster_and_up_continues_it(up_box: Any) -> None:
    up_box.kubectl("create", "configmap", "over-down", "--from-literal=a=b")

    up_box.sandbox("down")
    stopped = up_box.status()
    up_box.up()

    assert stopped["processes"] == {}
    assert up_box.kubectl("get", "configmap", "over-down", "-o", "jsonpath={.data.a}") == "b"


def test_down_leaves_a_machine_as_up_found_it(box: Any) -> None:
    before = box.snapshot()
    box.up()
    assert box.snapshot() != before

    box.sandbox("down", "--purge")

    assert difference(before, box.snapshot()) == []


def test_an_up_that_was_killed_is_continued_and_down_after_a_crash_leaves_nothing_either(box: Any) -> None:
    before = box.snapshot()
    for started in ("etcd", "kubelet", "external-secrets"):
        up = (sys.executable, "-m", "holdfast_sandbox", "up", "--no-images")
        box.run("env", f"STARTED={started}", "sh", "-c", KILLED_UP, "sh", *up)
        assert not box.status()["up"]
    box.up()
    assert box.status()["up"]
    box.kill(*box.status()["processes"].values())
    box.run("rm", "-r", "/run/holdfast-box/pids")

    box.sandbox("down", "--purge")

    assert difference(before, box.snapshot()) == []


def test_down_after_a_reboot_leaves_nothing_either(box: Any) -> None:
    before = box.snapshot()
    box.up()
    box.run("sh", "-c", REBOOT)

    box.sandbox("down", "--purge")

    assert difference(before, box.snapshot()) == []


def test_down_where_nothing_is_up_changes_nothing(box: Any) -> None:
    before = box.snapshot()

    box.sandbox("down", "--purge")

    assert difference(before, box.snapshot()) == []


def test_a_taken_port_is_refused_before_anything_changes(box: Any) -> None:
    box.run(
        "sh", "-c", "python3 -m http.server 5000 --bind 127.0.0.1 >/dev/null 2>&1 & echo $! > /run/holder"
    )
    box.run("sh", "-c", "until ss -ltnH 'sport = :5000' | grep -q LISTEN; do sleep 0.05; done")
    before = box.snapshot()

    said = box.sandbox("up", "--no-images", check=False)

    assert "the sandbox cannot run here, and nothing was changed" in said
    assert "port 127.0.0.1:5000 is taken by python3" in said
    assert "registry listens there: end python3" in said
    assert difference(before, box.snapshot()) == []
