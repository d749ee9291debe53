"""A service for tests: what it does is written to the file RECORD."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

from holdfast_runtime import Service, cancelled


def record(word: str) -> None:
    with Path(os.environ["RECORD"]).open("a") as file:
        file.write(f"{word}\n")


class Worked(Service):
    hung_after_s = float(os.environ.get("HUNG_AFTER_S", "900"))

    def setup(self) -> None:
        if os.environ.get("SETUP_FAILS"):
            raise FileNotFoundError("weights.bin")
        while os.environ.get("SETUP_GATE") and not Path(os.environ["SETUP_GATE"]).exists():
            time.sleep(0.01)
        record("setup")

    def infer(self, text: str, seconds: float = 0) -> str:
        record("begin")
        time.sleep(seconds)
        record("end")
        return text.upper()

    def patient(self) -> None:
        record("begin")
        while not cancelled():
            time.sleep(0.01)
        record("cancelled")

    async def sleepy(self) -> None:
        record("begin")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            record("cancelled")
            raise

    def count(self, to: int) -> Iterator[int]:
        yield from range(to)

    def endless(self) -> Iterator[bytes]:
        record("begin")
        try:
            while True:
                yield b"x" * 1000
                time.sleep(0.01)
        finally:
            record("closed")

    def half(self) -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("broken")

    def size(self, file: bytes) -> int:
        return len(file)

    def teardown(self) -> None:
        record("teardown")
