"""(e) in Kubernetes: the phases of one endpoint's start from 0, in the cluster that the environment names."""

from __future__ import annotations

import asyncio
import os
from typing import Final

import aiohttp

from holdfast_contract import names
from holdfast_sandbox.coldstart import PHASES, Watch
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import default_paths

__all__ = ["phases"]

_ANSWER_S: Final = 120.0


async def phases(endpoint: str) -> dict[str, float]:
    """Seconds from the request to each phase. The endpoint is at 0 replicas, and any path of it answers 200.

    Raises RuntimeError where a variable is missing, or the endpoint does not answer 200.
    """
    url, token = (_variable(name) for name in ("HOLDFAST_URL", "HOLDFAST_TOKEN"))
    kubectl = Kubectl(default_paths())
    watch = Watch(kubectl, names.ENDPOINTS_NAMESPACE, endpoint)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        with watch:
            await asyncio.sleep(1)  # the watch itself needs a moment to be connected
            watch.seconds.clear()
            watch.begin()
            headers = {"authorization": f"Bearer {token}"}
            async with http.post(
                f"{url}{names.PATH_ENDPOINT}/{endpoint}/", data=b"{}", headers=headers
            ) as answer:
                await answer.read()
                watch.mark("answered")
                if answer.status != 200:
                    raise RuntimeError(f"endpoint {endpoint} answered {answer.status}: {await answer.text()}")
            await asyncio.to_thread(watch.settle)
    return {f"request to {phase}": watch.seconds[phase] for phase in PHASES if phase in watch.seconds}


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise RuntimeError(f'{name} is not set: run `eval "$(holdfast sandbox env)"` first')
    return value
