"""HAProxy as a baseline: one request at a time to each model, the rest in its queue; one or two processes."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.ports import free_port
from bench.processes import Process, Processes

__all__ = ["configuration", "find", "most_connections", "start"]

_MOST_CONNECTIONS: Final = 11_000

_TEMPLATE = """\
global
  maxconn {connections}
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout queue 600s
  http-reuse always
frontend callers
  bind 127.0.0.1:{port}
  maxconn {connections}
{routes}
{backends}
"""


def find() -> str | None:
    """The program; None where it is not installed (Debian's package is `haproxy`)."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


def most_connections() -> int:
    """Callers that one process may hold: it counts two open files for each, and refuses to start where the limit
    on open files is lower."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_MOST_CONNECTIONS, (soft - 200) // 2)


def configuration(port: int, endpoints: Mapping[str, Sequence[int]], balance: str, slots: int = 1) -> str:
    """Requests to `/e/<endpoint>/` go to that endpoint's models (ports), at most `slots` at a time to each."""
    routes = [f"  use_backend {name} if {{ path_beg /e/{name}/ }}" for name in endpoints]
    backends = []
    for name, ports in endpoints.items():
        backends += [f"backend {name}", f"  balance {balance}"]
        backends += [f"  server s{model} 127.0.0.1:{model} maxconn {slots}" for model in ports]
    return _TEMPLATE.format(
        connections=most_connections(), port=port, routes="\n".join(routes), backends="\n".join(backends)
    )


def start(
    folder: Path,
    processes: Processes,
    endpoints: Mapping[str, Sequence[int]],
    *,
    count: int,
    balance: str,
    slots: int = 1,
) -> list[tuple[Process, str]]:
    """`count` processes that know nothing of each other: (process, URL) of each. Raises RuntimeError where HAProxy
    is not installed."""
    program = find()
    if program is None:
        raise RuntimeError(
            "haproxy is not installed: install Debian's package `haproxy`, or leave this case out"
        )
    started = []
    for port in (free_port() for _ in range(count)):
        config = folder / f"haproxy-{port}.cfg"
        config.write_text(configuration(port, endpoints, balance, slots))
        process = processes.add(Process([program, "-db", "-f", str(config)], folder / f"haproxy-{port}.log"))
        process.wait_listening(port)
        started.append((process, f"http://127.0.0.1:{port}"))
    return started
