"""The worker beside one model: as many slots as the endpoint's concurrency, each with one request or none."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from nats.aio.msg import Msg

from holdfast_contract import names
from holdfast_contract.document import EndpointDocument
from holdfast_contract.messages import PROGRESS_INTERVAL_S
from holdfast_services.broker import Broker
from holdfast_services.logs import Log
from holdfast_services.tracing import AttemptTrace, Tracing
from holdfast_services.worker.attempt import Attempt, Means
from holdfast_services.worker.contract import broken_example
from holdfast_services.worker.metrics import Metrics
from holdfast_services.worker.model import Health
from holdfast_services.worker.puller import Puller

__all__ = ["WorkerService"]

_log = Log("worker")
_FIRST_POLL_S: Final = 0.02
_MAX_POLL_S: Final = 0.25
"""While a model starts it is asked four times a second: less than 100 ms are lost on average."""
_ABSENT_POLL_S: Final = 0.05
"""While nothing listens at its port nobody is bothered by being asked more often."""
_WATCH_S: Final = 5.0
_PARTING_S: Final = 15.0
"""A model that was told to stop and still answers after so long is taken for its successor. Most are seen away."""
_FAILURES: Final = 3
_FINISHING: Final = 3
"""Requests at hand per slot, at most: one in the model, the others being handed on and acknowledged."""
_IDLE_MARK_S: Final = 0.05
_REMEMBERED_CANCELS: Final = 10_000
_REMEMBERED_S: Final = 600.0


@dataclass(slots=True)
class _Job:
    attempt: Attempt
    task: asyncio.Task[None]
    claimed_at: float
    """Unix seconds."""


class _Free:
    """Whether a slot is free again: once, whoever says so first and how often."""

    def __init__(self, then: Callable[[], None]) -> None:
        """`then`: called at once when it is. Twice would be a request too many for the model."""
        self._then = then
        self._event = asyncio.Event()

    def set(self) -> None:
        """It is."""
        if not self._event.is_set():
            self._event.set()
            self._then()

    async def wait(self) -> None:
        """Return when it is."""
        await self._event.wait()


class WorkerService:
    """Pulls, works, drains."""

    def __init__(
        self,
        document: EndpointDocument,
        broker: Broker,
        means: Means,
        *,
        state_dir: Path | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """`state_dir`: where `busy` tells other containers of the pod that slots are used."""
        self._document = document
        self._broker = broker
        self._means = means
        self._tracing = tracing
        self._pullers = [Puller(broker, document.name) for _ in range(document.scaling.concurrency)]
        self._busy_file = state_dir / "busy" if state_dir else None
        self._marked = False
        """Whether the file is there."""
        self._unmark: asyncio.TimerHandle | None = None
        self._jobs: dict[str, _Job] = {}
        self._canceled: OrderedDict[str, float] = OrderedDict()
        self._ready = asyncio.Event()
        self._unready = asyncio.Event()
        """Set while the model is not known to be well."""
        self._unready.set()
        self._fulfilled = not document.contract
        self.contract_broken = asyncio.Event()
        """Set when an example was not answered as declared: this replica never takes a request."""
        self._draining = False
        self._parting: float | None = None
        """Until when a model that answers is the one that was told to stop, by the loop's clock; None: it was not."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.problem: str | None = "the model's health check has not answered 200 yet"
        """Why the worker pulls nothing; None: it does."""
        self.metrics = Metrics(document.name, document.scaling.concurrency, document.scaling.max_request_s)
        self.metrics.follow(
            ready=lambda: self.ready, oldest_s=self._oldest_s, connected=lambda: broker.connected
        )

    @property
    def ready(self) -> bool:
        """Whether the model is ready and the worker pulls."""
        return self._ready.is_set() and not self._draining

    @property
    def draining(self) -> bool:
        """Whether it pulls nothing any more, for good."""
        return self._draining

    async def run(self) -> None:
        """Work until drained."""
        await self._broker.subscribe(names.cancel_subject(self._document.name, "*"), self._on_cancel)
        for puller in self._pullers:
            await puller.start()
        self._mark_idle()  # whatever a predecessor left
        ticking = asyncio.create_task(self._tell_progress())
        watching = asyncio.create_task(self._watch_model())
        try:
            async with asyncio.TaskGroup() as slots:
                for puller in self._pullers:
                    slots.create_task(self._slot(puller))
            await self._idle.wait()
        finally:
            ticking.cancel()
            watching.cancel()
            if self._unmark is not None:
                self._unmark.cancel()
            self._mark_idle()

    async def drain(self) -> None:
        """Pull nothing any more; returns when every slot is empty. May be called more than once."""
        if not self._draining:
            _log.info("draining", busy=len(self._jobs))
            self._draining = True
            self._ready.set()  # lets slots that wait for the model see that it is over
            await asyncio.gather(*(puller.stop() for puller in self._pullers))
        await self._idle.wait()
        self._mark_idle()  # at once: whoever was told that it is drained looks at the mark next

    async def pause(self) -> None:
        """The model is about to be stopped: pull nothing until another one is well; returns when every slot is empty.

        A kubelet asks this before it restarts a container; where the whole replica goes, it asks for a drain as well.
        """
        _log.info("model stops", busy=len(self._jobs))
        self.problem = "the model is being restarted"
        self._parting = math.inf
        self._lose_ready()
        await self._idle.wait()
        self._mark_idle()
        if self._parting is not None:
            self._parting = asyncio.get_running_loop().time() + _PARTING_S

    async def give_back_all(self) -> None:
        """No more time: what is not finished goes back to the queue for another replica."""
        for job in list(self._jobs.values()):
            job.task.cancel()
        await self._idle.wait()

    # --- slots --------------------------------------------------------------------------------------------
    async def _slot(self, puller: Puller) -> None:
        while not self._draining:
            if not self._ready.is_set():
                puller.retract()
                await self._ready.wait()
                continue
            delivery = await puller.next()
            if delivery is None:
                continue
            if self._draining or not self._ready.is_set():
                await delivery.give_back(0.05)
                continue
            if delivery.message.id in self._jobs:
                await delivery.give_back(1.0)  # it came again while its end is being confirmed here
                continue
            trace = None
            if self._tracing is not None:
                trace = self._tracing.attempt(delivery.message, delivery.deliveries, self._means.replica)
                traced = delivery.message.model_copy(update={"traceparent": trace.traceparent})
                delivery = replace(delivery, message=traced)
            free = _Free(partial(self._ask_again, puller))
            attempt = Attempt(
                delivery,
                self._means,
                canceled=delivery.message.id in self._canceled,
                on_model_free=free.set,
            )
            claimed_at = time.time()
            job = _Job(attempt, asyncio.create_task(self._work(attempt, claimed_at, trace, free)), claimed_at)
            self._jobs[delivery.message.id] = job
            self._mark_busy()
            # The slot is free as soon as the model is: handing the answer on takes no part of it.
            await free.wait()
            while not self._takes_more:
                await asyncio.wait(
                    {job.task for job in self._jobs.values()}, return_when=asyncio.FIRST_COMPLETED
                )

    @property
    def _takes_more(self) -> bool:
        """Whether not too much is still being handed on."""
        return len(self._jobs) <= _FINISHING * len(self._pullers)

    def _ask_again(self, puller: Puller) -> None:
        """A slot has just become free: its next request is asked for before anything else is done."""
        if self._ready.is_set() and not self._draining and self._takes_more:
            puller.ask()

    async def _work(
        self, attempt: Attempt, claimed_at: float, trace: AttemptTrace | None, free: _Free
    ) -> None:
        try:
            await attempt.run()
        except Exception as error:
            # Not foreseen: the message comes back by itself after the acknowledgement's time.
            _log.error("attempt failed", trace=error, request_id=attempt.message.id)
        finally:
            self._jobs.pop(attempt.message.id, None)
            self._account(attempt, claimed_at)
            if trace is not None:
                trace.end(attempt.ended, status=attempt.status)
            self._mark_busy()
            free.set()

    def _account(self, attempt: Attempt, claimed_at: float) -> None:
        seconds = time.time() - claimed_at
        wait_s = max(0.0, claimed_at - attempt.message.accepted_at)
        self.metrics.ended(attempt.ended, wait_s=wait_s, seconds=seconds)
        if attempt.ended is None or attempt.timed_out:
            # What broke this attempt may have broken the model: no more work before it says it is well.
            self._lose_ready()
        _log.info(
            "attempt",
            request_id=attempt.message.id,
            endpoint=self._document.name,
            attempt=attempt.delivery.deliveries,
            state=attempt.ended.value if attempt.ended else "given back",
            wait_s=round(wait_s, 4),
            seconds=round(seconds, 4),
        )

    def _lose_ready(self) -> None:
        if not self._draining:
            self._ready.clear()
            self._unready.set()

    def _oldest_s(self) -> float:
        now = time.time()
        return max((now - job.claimed_at for job in self._jobs.values()), default=0.0)

    def _mark_busy(self) -> None:
        busy = len(self._jobs)
        self.metrics.busy(busy)
        if busy:
            self._idle.clear()
        else:
            self._idle.set()
        if self._busy_file is None or bool(busy) == self._marked:
            return
        if busy:
            self._marked = True
            self._busy_file.touch()
        elif self._unmark is None:
            # Later, and only if it is idle then: one request after the other must not cost two writes each.
            self._unmark = asyncio.get_running_loop().call_later(_IDLE_MARK_S, self._mark_idle)

    def _mark_idle(self) -> None:
        self._unmark = None
        if self._busy_file is not None and not self._jobs:
            self._marked = False
            self._busy_file.unlink(missing_ok=True)

    # --- beside the slots ---------------------------------------------------------------------------------
    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            for job in list(self._jobs.values()):
                await job.attempt.delivery.progress()

    async def _watch_model(self) -> None:
        """Ready when the health check says so; while idle it is asked again now and then, and after a fault at
        once. A busy model is left alone: many cannot answer two things at a time."""
        failures, poll_s = 0, _FIRST_POLL_S
        while not self._draining:
            if self._ready.is_set() and self._jobs:
                await self._until_unready(_WATCH_S)
                continue
            health = await self._means.model.health()
            if health is Health.ABSENT or self._parted:
                self._parting = None
            if health is Health.WELL and self._parting is None:
                failures, poll_s = 0, _FIRST_POLL_S
                if not self._ready.is_set():
                    if not self._fulfilled and not await self._fulfil():
                        return
                    _log.info("model ready", endpoint=self._document.name)
                    self.problem = None
                    self._ready.set()
                    self._unready.clear()
                await self._until_unready(_WATCH_S)
                continue
            failures += 1
            if self._ready.is_set() and failures >= _FAILURES and not self._draining:
                _log.warning("model not ready any more", endpoint=self._document.name)
                self._lose_ready()
                self.problem = "the model's health check does not answer 200 any more"
            if self._ready.is_set():
                await asyncio.sleep(1.0)
                continue
            await asyncio.sleep(poll_s)
            poll_s = min(_ABSENT_POLL_S if health is Health.ABSENT else _MAX_POLL_S, poll_s * 1.5)

    @property
    def _parted(self) -> bool:
        """Whether a model that was told to stop has had the time to."""
        return self._parting is not None and asyncio.get_running_loop().time() >= self._parting

    async def _fulfil(self) -> bool:
        """Whether the model answers the declared examples; asked once."""
        broken = await broken_example(self._means.model, self._document.contract)
        if broken is None:
            self._fulfilled = True
            return True
        self.problem = f"endpoint {self._document.name}: {broken}"
        _log.error("contract broken", endpoint=self._document.name, problem=broken)
        self.contract_broken.set()
        return False

    async def _until_unready(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._unready.wait(), seconds)
        except TimeoutError:
            pass

    async def _on_cancel(self, message: Msg) -> None:
        request_id = message.subject.rsplit(".", 1)[1]
        job = self._jobs.get(request_id)
        if job is not None:
            job.attempt.cancel()
            job.task.cancel()
            return
        # It may be on its way here: remember it for as long as that could take.
        now = time.monotonic()
        self._canceled[request_id] = now
        while self._canceled and (
            len(self._canceled) > _REMEMBERED_CANCELS
            or next(iter(self._canceled.values())) < now - _REMEMBERED_S
        ):
            self._canceled.popitem(last=False)
