"""Python environments beside this one: a policy pack wants another protobuf, a notebook its kernel."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from holdfast_sandbox.paths import default_paths


def locked_environment(lock: Path) -> Path:
    """An environment with exactly what a lock file names; made once for each lock and kept in the cache."""
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = default_paths().cache / "environments" / key
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        install: list[str | Path] = [
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--python",
            folder / "bin" / "python",
        ]
        subprocess.run([Path(sys.executable).with_name("uv"), *install, "-r", lock], check=True)
        (folder / "complete").touch()
    return folder
