"""`python -m bench.soak [--minutes N | --requests N]`: load with random kills; accepted must equal completed.

Three gateways, four replicas of two slots, a scaler and a broker, all real processes. Synchronous, streaming and
asynchronous requests arrive all the time; every few seconds one process is killed with SIGKILL and started again a
moment later. At the end the load stops, and then: nothing waits or runs any more; every request that the broker
acknowledged was executed to its end, or its caller was told otherwise; no caller got a wrong answer or none; no model
ever had more than two requests; every request with a record has a terminal state. Exit code 1 where any of that does
not hold.

`--requests N`: so many requests of callers that must not lose anything, synchronous and asynchronous, each asked again
with the same idempotency key until it is answered; then accepted must equal completed to the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import nats.errors
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.accounts import Account, Ending, Execution, settle
from bench.callers import Callers
from bench.plane import Plane, open_plane
from bench.ports import free_port
from bench.processes import ROOT, Process
from bench.statistics import percentile
from holdfast_contract import messages, names

_ENDPOINT: Final = "soak"
_GATEWAYS: Final = 3
_REPLICAS: Final = 4
_CONCURRENCY: Final = 2
_CALLERS: Final = 24
_KILL_EVERY_S: Final = (3.0, 6.0)
_DOWN_S: Final = (0.1, 2.0)
_SETTLE_S: Final = 120.0
"""For what was under way when the load stopped: a lost attempt comes back after 15 s."""
_SHOWN_FAULTS: Final = 20
_SHOWN_TOLD: Final = 5
_CERTAIN: Final = {"keyed": 70, "async": 30}
"""Kinds of callers that ask until they are answered."""
_CERTAIN_SLOWEST_MS: Final = 12
"""Their model is quick, so that a hundred thousand take minutes."""
_TERMINAL: Final = frozenset(state.value for state in messages.RequestState if state.terminal)
_STANDIN: Final = ROOT / "tests" / "support" / "standin" / "standin.py"


@dataclass(slots=True)
class Witness:
    """Listens at the broker to what is published, and to what the stream acknowledges."""

    accepted: dict[str, int] = field(default_factory=dict)
    """Caller's number by request id."""
    acknowledged: int = 0
    _published: dict[str, tuple[str, int]] = field(default_factory=dict)
    """(request id, number) by the address that the acknowledgement goes to."""

    async def listen(self, url: str) -> Client:
        """Tries again far more often than gateways do when the broker restarts, so that it is there before them."""
        client = Client()
        await client.connect(
            url,
            reconnect_time_wait=0.01,  # type: ignore[arg-type]  # seconds, a float works
            max_reconnect_attempts=-1,
            error_cb=_expected,
        )
        await client.subscribe(names.queue_subject(_ENDPOINT, "*"), cb=self.on_publish)
        await client.subscribe("_INBOX.>", cb=self.on_answer)
        await client.flush()
        return client

    async def on_publish(self, message: Msg) -> None:
        """A gateway publishes a request."""
        head = json.loads((message.headers or {})[messages.REQUEST_HEADER])
        self._published[message.reply] = (head["id"], number_of(head["path"]))

    async def on_answer(self, message: Msg) -> None:
        """Somebody is answered."""
        found = self._published.pop(message.subject, None)
        if found is not None and message.data.startswith(b'{"stream"'):
            self.accepted[found[0]] = found[1]
            self.acknowledged += 1


async def _expected(_: Exception) -> None:
    """The broker is killed on purpose."""


def number_of(path: str) -> int:
    """The caller's number in `/n/<number>`."""
    return int(path.rpartition("/")[2])


@dataclass(slots=True)
class Replica:
    """A worker and its model."""

    worker: Process
    model: Process
    log: Path


class Soak:
    """Everything that runs."""

    def __init__(self, plane: Plane, seed: int) -> None:
        self._plane = plane
        self._random = random.Random(seed)
        self._replicas: list[Replica] = []
        self._scaler: Process
        self._ear: Client
        self.kills: Counter[str] = Counter()
        self.witness = Witness()
        self.callers: Callers

    async def start(self) -> None:
        """All parts, ready."""
        plane = self._plane
        plane.document(_ENDPOINT, replicas=_REPLICAS, concurrency=_CONCURRENCY, max_queue=500)
        for _ in range(_GATEWAYS):
            plane.start_gateway()
        self._scaler = self._start_scaler()
        await plane.until_ready([gateway.url for gateway in plane.gateways])
        await plane.until_known(_ENDPOINT)
        self._ear = await self.witness.listen(plane.nats_url)
        for _ in range(_REPLICAS):
            self._replicas.append(self._start_replica())
        await plane.until_ready([worker.url for worker in plane.workers])
        urls = [gateway.url for gateway in plane.gateways]
        seed = self._random.randrange(10**6)
        self.callers = Callers(plane.http, urls, _ENDPOINT, plane.token, seed)

    def _start_replica(self) -> Replica:
        plane = self._plane
        port = free_port()
        log = plane.folder / f"executions-{port}.jsonl"
        env = {"STANDIN_PORT": str(port), "STANDIN_NAME": f"model-{port}", "STANDIN_LOG": str(log)}
        argv = [sys.executable, str(_STANDIN)]
        model = plane.processes.add(Process(argv, plane.folder / f"standin-{port}.log", env))
        return Replica(plane.start_worker(_ENDPOINT, port).process, model, log)

    def _start_scaler(self) -> Process:
        plane = self._plane
        grpc, http = free_port(), free_port()
        env = {
            names.ENV_NATS_URL: plane.nats_url,
            names.ENV_DOCUMENTS_DIR: str(plane.documents),
            names.ENV_BIND: "127.0.0.1",
            names.ENV_PORT: str(grpc),
            names.ENV_INTERNAL_PORT: str(http),
        }
        argv = [sys.executable, "-m", "holdfast_services.scaler"]
        return plane.processes.add(Process(argv, plane.folder / "scaler.log", env))

    async def run(self, minutes: float, requests: int | None) -> None:
        """Load and kills for so long or so many requests, then the load's end and what is under way."""
        ends = time.monotonic() + 60 * minutes if requests is None else math.inf
        if requests is not None:
            self.callers.kinds, self.callers.slowest_ms = dict(_CERTAIN), _CERTAIN_SLOWEST_MS
        killing = asyncio.create_task(self._kill_until(ends))
        try:
            await self.callers.run(
                _CALLERS, lambda: time.monotonic() > ends or self.callers.asked >= (requests or math.inf)
            )
        finally:
            killing.cancel()
            await asyncio.wait({killing})
        for process in self._all():
            process.start()
        await self._plane.until_empty(_ENDPOINT, _SETTLE_S)
        await self._ear.close()

    def _all(self) -> list[Process]:
        of_replicas = [process for replica in self._replicas for process in (replica.worker, replica.model)]
        gateways = [gateway.process for gateway in self._plane.gateways]
        return [*self._plane.nats, self._scaler, *gateways, *of_replicas]

    async def _kill_until(self, ends: float) -> None:
        bag: list[str] = []
        while True:
            await asyncio.sleep(self._random.uniform(*_KILL_EVERY_S))
            if time.monotonic() > ends:
                return
            if not bag:  # every kind equally often, in any order
                bag = ["worker", "replica", "gateway", "scaler", "broker"]
                self._random.shuffle(bag)
            kind = bag.pop()
            victims = self._victims(kind)
            for process in victims:
                process.kill()
            self.kills[kind] += 1
            try:
                await asyncio.sleep(self._random.uniform(*_DOWN_S))
            finally:
                for process in victims:
                    process.start()

    def _victims(self, kind: str) -> list[Process]:
        match kind:
            case "worker":
                return [self._random.choice(self._replicas).worker]
            case "replica":
                replica = self._random.choice(self._replicas)
                return [replica.worker, replica.model]
            case "gateway":
                return [self._random.choice(self._plane.gateways).process]
            case "scaler":
                return [self._scaler]
            case _:
                return list(self._plane.nats)

    async def terminal_states(self) -> tuple[Counter[str], list[str]]:
        """How many records ended in which state, and the requests whose record says none."""
        begun: set[str] = set()
        ended: dict[str, str] = {}
        subject = f"$KV.{names.BUCKET_REQUESTS}.{_ENDPOINT}.>"
        records = await self._plane.broker.jetstream.subscribe(subject, ordered_consumer=True)
        while True:
            try:
                message = await records.next_msg(timeout=2)
            except nats.errors.TimeoutError:
                break
            request_id, _, kind = message.subject.rpartition(f".{_ENDPOINT}.")[2].partition(".")
            if not kind:
                begun.add(request_id)
            elif kind == "end":
                ended[request_id] = str(json.loads(message.data)["state"])
        await records.unsubscribe()
        without = begun - ended.keys() | {one for one, state in ended.items() if state not in _TERMINAL}
        return Counter(ended.values()), sorted(without)

    def executions(self) -> list[Execution]:
        """What the models recorded."""
        found = []
        for replica in self._replicas:
            if replica.log.exists():
                found += executions(replica.log.read_text().splitlines())
        return found


def executions(lines: list[str]) -> list[Execution]:
    """Of one model's log, begins and ends put together. A line that a kill cut short is left out."""
    begun: dict[tuple[int, int], dict[str, object]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        begun.setdefault((entry["pid"], entry["number"]), {}).update(entry)
    return [
        Execution(
            request_id=str(entry["request_id"]),
            number=number_of(str(entry["path"])),
            outcome=str(entry["outcome"]) if entry["event"] == "end" else "lost",
            concurrency=int(str(entry["concurrency"])),
        )
        for entry in begun.values()
    ]


async def soak(minutes: float, requests: int | None, seed: int) -> bool:
    """Run, print, and say whether all is accounted for. `requests`: instead of `minutes`; see the module."""
    async with open_plane() as plane:
        it = Soak(plane, seed)
        await it.start()
        length = f"{minutes:g} minutes" if requests is None else f"{requests} requests"
        print(f"soak of {length}, seed {seed}", flush=True)
        stuck = ""
        try:
            await it.run(minutes, requests)
        except TimeoutError:
            depth = await plane.broker.depth(_ENDPOINT)
            stuck = f"the queue is not empty {_SETTLE_S:.0f} s after the load ended: {depth}"
        info = await plane.broker.jetstream.stream_info(names.stream_name(_ENDPOINT))
        states, without_end = await it.terminal_states()
        account = settle(it.witness.accepted, it.executions(), it.callers.outcomes, concurrency=_CONCURRENCY)
    print(_report(it, account, info.state.last_seq))
    print("records by terminal state: " + ", ".join(f"{state} {n}" for state, n in sorted(states.items())))
    faults = [*account.faults, *([stuck] if stuck else [])]
    faults += [f"request {one} has a record and no terminal state" for one in without_end]
    if requests is not None and account.accepted != account.completed:
        faults.append(f"accepted {account.accepted} and completed {account.completed}")
    unknown = info.state.last_seq - account.accepted
    if unknown > account.unheard:
        faults.append(
            f"the stream took {info.state.last_seq} requests, of which {unknown} are not known, and only "
            f"{account.unheard} callers left unheard"
        )
    for fault in faults[:_SHOWN_FAULTS]:
        print(f"  FAULT {fault}")
    print(f"{'FAILED' if faults else 'all accounted for'}: {len(faults)} faults")
    return not faults


def _report(it: Soak, account: Account, stored: int) -> str:
    answers = it.callers.answer_s
    told = [outcome for outcome in it.callers.outcomes if outcome.ending is Ending.TOLD]
    lines = [
        f"callers' requests {len(it.callers.outcomes)}, accepted {account.accepted} (in the stream: {stored}), "
        f"completed {account.completed}, not completed and told so {account.excused}, "
        f"executed again after a kill {account.repeated}",
        "killed: " + ", ".join(f"{kind} {number}" for kind, number in sorted(it.kills.items())),
        *(f"  {ending:32} {number:7}" for ending, number in sorted(account.endings.items())),
    ]
    lines += [f"  told: number {one.number} ({one.kind}): {one.detail[:200]}" for one in told[:_SHOWN_TOLD]]
    if answers:
        p50, p99 = (1000 * percentile(answers, share) for share in (0.5, 0.99))
        lines.append(f"synchronous answers: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {max(answers):.1f} s")
    return "\n".join(lines)


def main() -> int:
    """Exit code 1 where something is not accounted for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10, help="how long the load lasts; default 10")
    length.add_argument(
        "--requests", type=int, default=None, help="so many requests, each asked until it is answered"
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="for the same kinds of requests and kills again"
    )
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)  # so that whatever was started is ended
    logging.getLogger("holdfast").setLevel(logging.ERROR)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    return 0 if uvloop.run(soak(given.minutes, given.requests, seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
