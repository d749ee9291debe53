"""The guide's commands and programs run as they stand there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pages import blocks

from holdfast_contract import names

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "guides" / "calling-an-endpoint.md"
PICTURE = ROOT / "templates" / "ocr" / "examples" / "receipt.png"


def _command(kind: str, text: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-c", text]


async def test_every_marked_block_works(plane: Any, dataplane: Any, tmp_path: Path) -> None:
    for name in ("receipts", "chat", "parrot"):
        plane.document(name)
    gateway = await plane.gateway(**{names.ENV_WEBHOOK_NETWORKS: "127.0.0.0/8"})
    await plane.replica("receipts")
    # A model that streams events, as a chat server does.
    await plane.replica("chat", STANDIN_STREAM_CHUNKS="3", STANDIN_STREAM_KIND="sse", STANDIN_SIZE="8")
    await plane.replica("parrot", argv=(sys.executable, str(ROOT / "tests/support/openai_standin.py")))
    (tmp_path / "receipt.png").write_bytes(PICTURE.read_bytes())
    variables = {
        "HOLDFAST_URL": gateway.url,
        "HOLDFAST_TOKEN": dataplane.TOKEN,
        "HOLDFAST_CONFIG": str(tmp_path / "none.toml"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    found = [one for one in blocks(GUIDE.read_text()) if one.language in ("sh", "python")]
    unmarked = [one.text for one in found if one.mark != "run"]
    assert [one for one in unmarked if not one.startswith("export ")] == [], "nobody knows whether these work"
    marked = [(one.language, one.text) for one in found if one.mark == "run"]
    assert len(marked) >= 15
    for kind, text in marked:
        done = await asyncio.to_thread(
            subprocess.run,
            _command(kind, text),
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert done.stdout or "print(" not in text, text
