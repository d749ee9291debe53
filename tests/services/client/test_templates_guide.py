"""The guide about templates: its commands run, and what it shows is what they write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pages import blocks

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "guides" / "templates.md"


def test_the_commands_work_and_write_what_the_guide_shows(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stacks", tmp_path / "stacks")
    found = blocks(GUIDE.read_text())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    marked = [one.text for one in found if one.mark == "run"]
    assert len(marked) == 2
    for block in marked:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    [shown] = [one.text for one in found if one.language == "python"]
    written = (tmp_path / "stacks" / "endpoints.py").read_text()
    assert "".join(f"    {line}\n" for line in shown.splitlines()) in written


def test_every_template_for_a_gpu_is_named() -> None:
    on_gpu = {
        folder.parent.name
        for folder in (ROOT / "templates").glob("*/template.yaml")
        if "hardware: cpu" not in folder.read_text()
    }
    assert {name for name in on_gpu if f"`{name}`" not in GUIDE.read_text()} == set()
