"""A load generator in a process of its own, where `wrk` is missing: so many connections, each asking again at once.

python -m bench.closed_loop URL CONNECTIONS SECONDS TOKEN_FILE
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp
import uvloop

from bench.statistics import percentile


async def run(url: str, connections: int, seconds: float, token: str) -> dict[str, float]:
    """The same figures as `wrk` gives."""
    took_us: list[float] = []
    failed = 0
    began = time.monotonic()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    async def one(http: aiohttp.ClientSession) -> None:
        nonlocal failed
        while (sent := time.monotonic()) < began + seconds:
            try:
                async with http.post(url, data=b'{"input":"x"}', headers=headers) as answer:
                    await answer.read()
                    failed += answer.status != 200
            except aiohttp.ClientError:
                failed += 1
                await asyncio.sleep(0.01)
            took_us.append(1e6 * (time.monotonic() - sent))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*(one(http) for _ in range(connections)))
    return {
        "requests": len(took_us),
        "duration_us": round(1e6 * (time.monotonic() - began)),
        "failed": failed,
        "p50_us": percentile(took_us, 0.5),
        "p99_us": percentile(took_us, 0.99),
    }


def main() -> None:
    """Run and print."""
    url, connections, seconds, token_file = sys.argv[1:]
    token = Path(token_file).read_text()
    print("FIGURES " + json.dumps(uvloop.run(run(url, int(connections), float(seconds), token))))


if __name__ == "__main__":
    main()
