"""Debian packages that a test needs: installed where they are missing and may be, and said so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


def ensure_program(program: str, package: str) -> str:
    """The path of a program, after installing its package where it is missing.

    Raises RuntimeError with what to do where that is not possible.
    """
    found = shutil.which(program)
    if found:
        return found
    by_hand = f"install it by hand: apt-get install --no-install-recommends {package}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"{program} is missing, and only root on Debian can install it here: {by_hand}")
    print(f"· {program} is missing: installing the Debian package {package}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package],
    ):
        ended = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if ended.returncode:
            said = ended.stdout.decode(errors="replace")[-800:]
            raise RuntimeError(f"{' '.join(command)} failed with {ended.returncode}: {said}\n{by_hand}")
    found = shutil.which(program)
    if not found:
        raise RuntimeError(f"package {package} has no program {program}: {by_hand}")
    return found
