"""Pulumi's plugins that no registry carries: a language host for Python, and the AWS stand-in's provider."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

LAUNCHERS: Final = {
    "pulumi-language-python": "holdfast_sandbox.plugins.language",
    "pulumi-resource-aws": "holdfast_sandbox.plugins.aws",
}


def install(bin_folder: Path) -> None:
    """Write a launcher for each plugin; never over an official one that is installed."""
    bin_folder.mkdir(parents=True, exist_ok=True)
    for name, module in LAUNCHERS.items():
        official = shutil.which(name)
        if official and Path(official).parent != bin_folder:
            (bin_folder / name).unlink(missing_ok=True)
            continue
        launcher = bin_folder / name
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        launcher.chmod(0o755)
