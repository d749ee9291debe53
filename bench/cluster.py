"""(e) in Kubernetes: the phases of one endpoint's start from 0, in the cluster that the environment names."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import aiohttp

from holdfast_contract import names
from holdfast_sandbox.coldstart import PHASES, Watch
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import default_paths

__all__ = ["phases"]

_ANSWER_S: Final = 120.0


async def phases(endpoint: str) -> dict[str, float]:
    """Seconds from the request to each phase. The endpoint has to be at 0 replicas; whatever its model says to
    `POST /` is an answer.

    Raises RuntimeError where a variable is missing, or no replica answers.
    """
    url = _variable("HOLDFAST_URL")
    token = os.environ.get("HOLDFAST_TOKEN") or await asyncio.to_thread(_token_file)
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
                if names.HEADER_REPLICA not in answer.headers:
                    raise RuntimeError(f"{endpoint} did not answer: {answer.status} {await answer.text()}")
                watch.mark_accepted(answer.headers[names.HEADER_REQUEST_ID])
            await asyncio.to_thread(watch.settle)
    return {f"request to {phase}": watch.seconds[phase] for phase in PHASES if phase in watch.seconds}


def _token_file() -> str:
    return Path(_variable("HOLDFAST_TOKEN_FILE")).read_text().strip()


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise RuntimeError(f'{name} is not set: run `eval "$(holdfast sandbox env)"` first')
    return value
