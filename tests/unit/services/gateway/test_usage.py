"""What endpoints cost, counted by several gateways; and what is told of their events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from documents import endpoint_document

from holdfast_contract.document import Price
from holdfast_services.gateway import usage
from holdfast_services.gateway.core.events import MAX_EVENTS, told_events
from holdfast_services.gateway.replicas import ReplicaCounts
from holdfast_services.gateway.usage import Tally, Usage, machines

PRICE = Price(
    usd_per_hour=3.6, replicas_per_instance=2, instance_type="x", region="r", prices_from="2026-07-20"
)
DOCUMENT = endpoint_document("demo", price=PRICE)
NOVEMBER = 1_795_000_000.0  # 2026-11-18


class Store:
    """A bucket in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, int]] = {}
        self.writes = 0

    async def read(self, key: str) -> tuple[bytes, int] | None:
        return self.kept.get(key)

    async def write(self, key: str, value: bytes, revision: int | None) -> bool:
        _, at = self.kept.get(key, (b"", 0))
        if (revision or 0) != at:
            return False
        self.kept[key] = value, at + 1
        self.writes += 1
        return True


class World:
    """Replicas, a clock, and gateways that count."""

    def __init__(self, gateways: int = 1) -> None:
        self.now = NOVEMBER
        self.replicas = 0
        self.store = Store()
        self.gateways = [
            Usage(self.store, lambda: {"demo": DOCUMENT}, self._counts, lambda: self.now)
            for _ in range(gateways)
        ]

    def _counts(self, _: str) -> ReplicaCounts:
        return ReplicaCounts(desired=self.replicas, pending=0, ready=self.replicas)

    async def passes(self, seconds: float, every_s: float = 30.0) -> None:
        ends = self.now + seconds
        while self.now < ends:
            self.now += every_s
            for gateway in self.gateways:
                await gateway.look("demo")


def test_a_machine_is_paid_for_whole() -> None:
    assert [machines(PRICE, replicas) for replicas in (0, 1, 2, 3)] == [0, 1, 1, 2]


@pytest.mark.parametrize("gateways", [1, 3])
async def test_an_hour_of_three_replicas_on_two_machines_is_counted_once(gateways: int) -> None:
    world = World(gateways)
    world.replicas = 3
    for gateway in world.gateways:
        await gateway.look("demo")
    await world.passes(3600)
    for gateway in world.gateways:
        assert gateway.this_month("demo") == pytest.approx(7.2, rel=0.02)


async def test_a_gateway_looks_at_once_then_every_half_a_minute_and_when_machines_come_or_go() -> None:
    world = World()
    (gateway,) = world.gateways
    assert gateway.due("demo"), "it has just started"
    await gateway.look("demo")
    assert not gateway.due("demo")
    world.now += 29
    assert not gateway.due("demo")
    world.replicas = 1
    assert gateway.due("demo")
    await gateway.look("demo")
    world.replicas = 2
    assert not gateway.due("demo"), "on the same machine"
    world.now += 30
    assert gateway.due("demo")
    assert not gateway.due("unknown")


async def test_a_replica_that_runs_for_seconds_is_counted_for_seconds() -> None:
    world = World(2)
    for at_s in range(120):
        world.replicas = int(10 <= at_s < 20)
        for gateway in world.gateways:
            if gateway.due("demo"):
                await gateway.look("demo")
        world.now += 1
    for gateway in world.gateways:
        assert gateway.this_month("demo") == pytest.approx(3.6 * 10 / 3600)


async def test_nothing_runs_nothing_is_counted_and_nothing_written() -> None:
    world = World()
    await world.passes(3600)
    assert world.gateways[0].this_month("demo") == 0
    assert world.store.writes == 1


async def test_time_without_any_gateway_counts_for_two_minutes_at_most() -> None:
    world = World()
    world.replicas = 2
    await world.passes(60)
    world.now += 86_400
    await world.passes(30)
    assert world.gateways[0].this_month("demo") == pytest.approx(3.6 * (30 + 120) / 3600, rel=0.02)


async def test_a_new_month_begins_at_nothing() -> None:
    world = World()
    world.replicas = 2
    await world.passes(600)
    world.now += 20 * 86_400
    assert world.gateways[0].this_month("demo") is None
    await world.passes(60)
    assert world.gateways[0].this_month("demo") == pytest.approx(3.6 * 30 / 3600, rel=0.02)
    assert sorted(world.store.kept) == ["demo.2026-11", "demo.2026-12"]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """What is warned of."""
    found: list[tuple[str, dict[str, object]]] = []
    log = SimpleNamespace(warning=lambda event, **fields: found.append((event, fields)))
    monkeypatch.setattr(usage, "_log", log)
    return found


@pytest.mark.parametrize(
    ("stored", "cause"),
    [
        (b"{}", "not a tally: KeyError('usd')"),
        (b"", "not a tally: JSONDecodeError("),
        (b"[1, 2]", "not a tally: TypeError("),
        (b'{"usd": "much", "at": 1, "machines": 1}', "not a tally: ValueError("),
        (b'{"usd": NaN, "at": 1, "machines": 1}', "not a tally: Tally(usd=nan, "),
        (b'{"usd": -1, "at": 1, "machines": 1}', "not a tally: Tally(usd=-1.0, "),
        (b'{"usd": 1, "at": Infinity, "machines": 1}', "not a tally: Tally(usd=1.0, at=inf, "),
        (b'{"usd": 1, "at": 1, "machines": -1}', "not a tally: Tally(usd=1.0, at=1.0, machines=-1)"),
        (b'{"usd": 1, "at": 1, "machines": 1e999}', "not a tally: OverflowError("),
    ],
)
async def test_what_cannot_be_read_stays_as_it_is_and_is_warned_of_once(
    stored: bytes, cause: str, lines: list[tuple[str, dict[str, object]]]
) -> None:
    world = World()
    world.replicas = 2
    world.store.kept["demo.2026-11"] = (stored, 4)
    await world.passes(90)
    assert world.store.kept == {"demo.2026-11": (stored, 4)}
    assert world.gateways[0].this_month("demo") is None
    ((event, fields),) = lines
    assert event == "usage not counted: what is stored is no tally; delete it to count from nothing"
    assert str(fields.pop("error")).startswith(cause)
    assert fields == {"endpoint": "demo", "key": "demo.2026-11", "bucket": "usage"}


async def test_a_tally_that_became_unreadable_is_counted_from_nothing_once_it_is_deleted(
    lines: list[tuple[str, dict[str, object]]],
) -> None:
    world = World()
    world.replicas = 2
    await world.passes(60)
    world.store.kept["demo.2026-11"] = (b"{}", 9)
    await world.passes(60)
    assert world.gateways[0].this_month("demo") is None
    del world.store.kept["demo.2026-11"]
    await world.passes(60)
    assert world.gateways[0].this_month("demo") == pytest.approx(3.6 * 30 / 3600, rel=0.02)
    assert len(lines) == 1


def test_a_tally_survives_being_stored() -> None:
    tally = Tally(1.25, 12.5, 3)
    assert Tally.from_bytes(tally.to_bytes()) == tally


def _event(name: str, at: str = "2026-11-24T10:00:00Z", **more: Any) -> dict[str, Any]:
    return {"metadata": {}, "involvedObject": {"kind": "Pod", "name": name}, "lastTimestamp": at, **more}


def test_events_of_an_endpoint_are_told_oldest_first_and_of_no_other() -> None:
    events = [
        _event("ocr-5d5f8b7c9d-abcde", "2026-11-24T10:00:02Z", reason="Started", message="a\n  b", count=2),
        _event("ocr", "2026-11-24T10:00:01Z", type="Warning"),
        _event("ocr-big-5d5f8b7c9d-abcde"),
        _event("keda-hpa-ocr", "2026-11-24T10:00:03Z"),
        _event("keda-hpa-ocr-big"),
        _event("xocr"),
    ]
    told = told_events(events, "ocr", ["ocr", "ocr-big"])
    assert [one["object"] for one in told] == ["pod/ocr", "pod/ocr-5d5f8b7c9d-abcde", "pod/keda-hpa-ocr"]
    assert told[1] == {
        "at": "2026-11-24T10:00:02Z",
        "type": "Normal",
        "reason": "Started",
        "object": "pod/ocr-5d5f8b7c9d-abcde",
        "message": "a b",
        "count": 2,
    }


def test_events_are_bounded_in_number_and_length() -> None:
    events = [
        _event("ocr", f"2026-11-24T10:{i // 60:02}:{i % 60:02}Z", message="x" * 9999) for i in range(300)
    ]
    told = told_events(events, "ocr", ["ocr"])
    assert len(told) == MAX_EVENTS
    assert told[-1]["at"] == "2026-11-24T10:04:59Z"
    assert {len(one["message"]) for one in told} == {1000}
