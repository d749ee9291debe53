"""Both clients in a real notebook: a kernel whose main thread runs an event loop already."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from locked_environment import locked_environment

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests" / "support" / "notebook"
PICTURE = ROOT / "templates" / "ocr" / "examples" / "receipt.png"
Outputs = list[list[dict[str, Any]]]

pytestmark = pytest.mark.timeout(180)
"""The first run installs the kernel."""

IN_A_LOOP = "import asyncio\nprint(asyncio.get_running_loop().is_running())"
THREADS = """
import holdfast_client
client = holdfast_client.Client()
print(client.infer("demo", {"text": "one"}, route="/echo").json())
with client.stream("chat", "x") as stream:
    print(sum(1 for event in stream.events()))
job = client.submit("demo", {"text": "two"}, route="/echo")
print([status.state.value for status in job][-1], job.result(timeout=30).json())
"""
TASKS = """
import asyncio
tasks = holdfast_client.AsyncClient()
answers = await asyncio.gather(*(tasks.infer("demo", {"text": n}, route="/echo") for n in range(4)))
print([answer.json()["text"] for answer in answers])
"""
TASKS_IN_THE_NEXT_CELL = """
async with tasks.stream("chat", "x") as stream:
    print(len([event async for event in stream.events()]))
job = await tasks.submit("demo", {"text": "three"}, route="/echo")
print([status.state.value async for status in job][-1], (await job.result(timeout=30)).json())
await tasks.close()
"""
SHOWN = 'client.infer("demo", holdfast_client.image("receipt.png"), route="/echo").media()'
REFUSED = """
try:
    client.infer("nobody", {})
except holdfast_client.NotFoundError as error:
    print(error)
"""


def _run(cells: list[str], folder: Path, environment: dict[str, str]) -> Outputs:
    python = locked_environment(SUPPORT / "requirements.lock") / "bin" / "python"
    done = subprocess.run(
        [python, SUPPORT / "run.py"],
        input=json.dumps(cells),
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "sdk"),
            "IPYTHONDIR": str(folder / "ipython"),
            # The kernel of this environment, whatever others are registered on the machine.
            "JUPYTER_PREFER_ENV_PATH": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs: Outputs = json.loads(done.stdout)
    return outputs


def _printed(outputs: list[dict[str, Any]]) -> list[str]:
    return "".join(one["text"] for one in outputs if one["output_type"] == "stream").splitlines()


async def test_both_clients_answer_in_a_notebook_and_a_picture_is_shown_as_one(
    plane: Any, dataplane: Any, tmp_path: Path
) -> None:
    for name in ("demo", "chat"):
        plane.document(name)
    gateway = await plane.gateway()
    await plane.replica("demo")
    await plane.replica("chat", STANDIN_STREAM_CHUNKS="3", STANDIN_STREAM_KIND="sse", STANDIN_SIZE="8")
    (tmp_path / "receipt.png").write_bytes(PICTURE.read_bytes())
    environment = {"HOLDFAST_URL": gateway.url, "HOLDFAST_TOKEN": dataplane.TOKEN}

    cells = [IN_A_LOOP, THREADS, TASKS, TASKS_IN_THE_NEXT_CELL, SHOWN, REFUSED]
    outputs = await asyncio.to_thread(_run, cells, tmp_path, environment)

    loop, threads, tasks, following, shown, refused = outputs
    assert _printed(loop) == ["True"], "cells run inside of an event loop"
    assert _printed(threads) == ["{'text': 'one'}", "3", "SUCCEEDED {'text': 'two'}"]
    assert _printed(tasks) == ["[0, 1, 2, 3]"]
    assert _printed(following) == ["3", "SUCCEEDED {'text': 'three'}"]
    assert shown[0]["data"]["text/html"].startswith('<img src="data:image/png;base64,')
    assert "there is no endpoint 'nobody'" in _printed(refused)[0]
    assert "`GET /v1/endpoints` lists what exists" in _printed(refused)[0]
