"""`holdfast replay --prometheus` where there is nothing to replay: what is said, and what is never asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from holdfast_cli.exits import Exit

Run = Callable[..., Any]
PROMETHEUS = "http://localhost:9090"


def test_a_name_that_is_none_never_reaches_prometheus(holdfast: Run, gateway: Any) -> None:
    done = holdfast("replay", 'chat"} or {x="', "--prometheus", PROMETHEUS, expect=Exit.USAGE)
    assert done.err.startswith("error: ENDPOINT is 'chat\"} or {x=\"', not an endpoint's name\n")
    assert gateway.requests == []


def test_no_server_is_said(holdfast: Run, gateway: Any) -> None:
    gateway.script.append(httpx2.ConnectError("[Errno 111] Connection refused"))
    done = holdfast("replay", "chat", "--prometheus", PROMETHEUS, expect=Exit.UNREACHABLE)
    assert done.err == (
        f"error: --prometheus {PROMETHEUS} cannot be reached: [Errno 111] Connection refused\n"
        "  next: look whether it runs there and this machine may reach it, as by `kubectl port-forward`\n"
    )


def test_a_server_that_is_no_prometheus_is_said(holdfast: Run, gateway: Any) -> None:
    gateway.script.append(httpx2.Response(200, text="<html>Grafana</html>"))
    done = holdfast("replay", "chat", "--prometheus", f"{PROMETHEUS}/", expect=Exit.FAILED)
    assert gateway.requests[0].url.path == "/api/v1/query_range"
    assert done.err == (
        f"error: --prometheus {PROMETHEUS}/: the server answered 200 with '<html>Grafana</html>', not as "
        "Prometheus's /api/v1/query_range\n  next: give Prometheus's own address, reached without a login\n"
    )


def test_an_endpoint_that_prometheus_does_not_know_is_said(holdfast: Run, gateway: Any) -> None:
    data = {"resultType": "matrix", "result": []}
    gateway.script.append(httpx2.Response(200, json={"status": "success", "data": data}))
    done = holdfast("replay", "chat", "--prometheus", PROMETHEUS, expect=Exit.FAILED)
    assert 'Prometheus has no holdfast_attempt_seconds_count of endpoint "chat" in this window\n' in done.err
    assert "  next: look whether its name is right, its workers are scraped" in done.err
