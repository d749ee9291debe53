"""Pulumi's plugins that no registry carries: a language host for Python, and the AWS stand-in's provider."""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

_MARK: Final = "-m holdfast_sandbox.plugins."
"""In every launcher of ours, and in no official plugin."""


def install(bin_folder: Path, plugin_folder: Path) -> None:
    """Write a launcher for each plugin where the engine looks; never where an official one is installed.

    The language host stands beside the engine, the provider in `plugin_folder` under the SDK's version.
    """
    _put(bin_folder / "pulumi-language-python", "language")
    _put(plugin_folder / f"resource-aws-v{metadata.version('pulumi-aws')}" / "pulumi-resource-aws", "aws")


def _put(launcher: Path, plugin: str) -> None:
    if launcher.exists() and not _is_ours(launcher):
        return
    if _official_on_path(launcher.name):
        launcher.unlink(missing_ok=True)
        return
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" {_MARK}{plugin} "$@"\n')
    launcher.chmod(0o755)


def _official_on_path(name: str) -> bool:
    """Launchers of this or of another sandbox are on PATH in its terminals: they do not count."""
    for folder in os.environ.get("PATH", "").split(":"):
        found = shutil.which(name, path=folder) if folder else None
        if found is not None and not _is_ours(Path(found)):
            return True
    return False


def _is_ours(file: Path) -> bool:
    with file.open("rb") as content:
        return _MARK.encode() in content.read(4096)
