"""The ideal central queue, and the load that it and every router gets."""

from __future__ import annotations

import random

import pytest
from bench.queueing import (
    central_queue_waits,
    erlang_c_mean_wait,
    exponential_times,
    poisson_arrivals,
)
from hypothesis import given
from hypothesis import strategies as st


def test_one_server_takes_requests_one_after_the_other() -> None:
    assert central_queue_waits([0, 1, 2, 30], [10, 10, 10, 10], 1) == [0, 9, 18, 0]


def test_the_server_that_is_free_first_takes_the_next_request() -> None:
    assert central_queue_waits([0, 0, 1, 2], [10, 3, 1, 1], 2) == [0, 0, 2, 2]


def test_requests_are_taken_in_order_of_arrival_whatever_order_they_are_listed_in() -> None:
    assert central_queue_waits([2, 0, 1], [1, 10, 1], 1) == [9, 0, 9]


def test_no_request_waits_while_a_server_is_free() -> None:
    assert central_queue_waits([0, 0, 0], [5, 5, 5], 3) == [0, 0, 0]


def test_a_time_is_needed_for_every_arrival() -> None:
    with pytest.raises(ValueError, match=r"^2 arrivals but 1 service times: give one for each$"):
        central_queue_waits([0, 1], [1], 1)


def test_a_queue_without_servers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^servers is 0, below 1$"):
        central_queue_waits([0], [1], 0)


_load = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), max_size=40)


@given(_load, st.integers(1, 6))
def test_never_do_more_requests_run_than_there_are_servers(
    load: list[tuple[float, float]], servers: int
) -> None:
    arrivals, services = [at for at, _ in load], [took for _, took in load]
    begins = [
        at + wait for at, wait in zip(arrivals, central_queue_waits(arrivals, services, servers), strict=True)
    ]
    for moment in begins:
        running = sum(
            begin <= moment < begin + took - 1e-6 for begin, took in zip(begins, services, strict=True)
        )
        assert running <= servers


@given(_load, st.integers(1, 5))
def test_one_server_more_makes_nobody_wait_longer(load: list[tuple[float, float]], servers: int) -> None:
    arrivals, services = [at for at, _ in load], [took for _, took in load]
    fewer = central_queue_waits(arrivals, services, servers)
    more = central_queue_waits(arrivals, services, servers + 1)
    assert all(after <= before + 1e-9 for before, after in zip(fewer, more, strict=True))


@pytest.mark.parametrize(("servers", "utilisation"), [(1, 0.5), (1, 0.8), (4, 0.8), (16, 0.95)])
def test_long_runs_wait_as_long_as_theory_says(servers: int, utilisation: float) -> None:
    rng = random.Random(7)
    arrivals = poisson_arrivals(utilisation * servers / 0.05, 30_000 * 0.05 / servers, rng)
    services = exponential_times(0.05, len(arrivals), rng)
    waits = central_queue_waits(arrivals, services, servers)
    expected = erlang_c_mean_wait(servers, utilisation, 0.05)
    assert sum(waits) / len(waits) == pytest.approx(expected, rel=0.2)


def test_one_server_at_half_load_waits_as_long_as_it_serves() -> None:
    assert erlang_c_mean_wait(1, 0.5, 0.2) == pytest.approx(0.2)


def test_the_same_seed_gives_the_same_load() -> None:
    loads = [poisson_arrivals(100, 2, random.Random(3)) for _ in range(2)]
    assert loads[0] == loads[1]
    assert loads[0] == sorted(loads[0])
    assert all(0 < moment < 2 for moment in loads[0])
    assert 150 < len(loads[0]) < 250
