"""Pulumi's plugins that no registry carries: a language host for Python, and the AWS stand-in's provider."""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path


def install(bin_folder: Path, plugin_folder: Path) -> None:
    """Write a launcher for each plugin where the engine looks; never over an official one that is installed.

    The language host stands beside the engine, the provider in `plugin_folder` under the SDK's version.
    """
    if not _official("pulumi-language-python", bin_folder):
        _launcher(bin_folder / "pulumi-language-python", "holdfast_sandbox.plugins.language")
    version = metadata.version("pulumi-aws")
    folder = plugin_folder / f"resource-aws-v{version}"
    if not _official("pulumi-resource-aws", folder):
        _launcher(folder / "pulumi-resource-aws", "holdfast_sandbox.plugins.aws")


def _official(name: str, own_folder: Path) -> bool:
    elsewhere = [folder for folder in os.environ.get("PATH", "").split(":") if Path(folder) != own_folder]
    return shutil.which(name, path=":".join(elsewhere)) is not None


def _launcher(file: Path, module: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
    file.chmod(0o755)
