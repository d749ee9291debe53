"""Ports for processes that come and go."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from bench import ports

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_port_is_given_out_twice_and_none_that_an_outgoing_connection_may_take() -> None:
    drawn = [ports.free_port() for _ in range(500)]
    assert len(set(drawn)) == 500
    first_outgoing = int(EPHEMERAL.read_text().split()[0])
    assert all(20_000 <= port < min(first_outgoing, 30_000) for port in drawn)


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        port = ports.free_port()
        taken.bind(("127.0.0.1", port))
        monkeypatch.setattr(ports, "_drawn", iter([port - 20_000, port - 20_000 + 1, port - 20_000 + 2]))
        assert ports.free_port() in (port + 1, port + 2)


def test_where_all_ports_are_taken_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        port = ports.free_port()
        taken.bind(("127.0.0.1", port))
        monkeypatch.setattr(ports, "_drawn", iter([port - 20_000]))
        with pytest.raises(OSError, match="no loopback port from 20000 to 29999 is free"):
            ports.free_port()
