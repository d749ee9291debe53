"""Generates the protocol's Python code: `python -m holdfast_services.scaler.protocol.generate`.

Needs `grpcio-tools` and `mypy-protobuf` (extra `dev`), at the versions of the lock file: what they generate
refuses to run on an older protobuf or grpcio than theirs. A test compares the files here with a fresh
generation.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PACKAGES: Final = HERE.parents[2]
"""The directory that holds the package: the generated imports are relative to it."""
HEADER: Final = "".join(
    f"# {line}\n"
    for line in (
        "Generated from externalscaler.proto: do not edit.",
        "Again: python -m holdfast_services.scaler.protocol.generate",
        "Where a base class raises NotImplementedError, the compiler wrote it so: our server overrides every method.",
        "ruff: noqa",
        "fmt: off",
    )
)


def generate() -> dict[str, str]:
    """The generated files' texts by name. Raises `subprocess.CalledProcessError` where the compiler fails."""
    proto = HERE / "externalscaler.proto"
    # The plugins for types are executables beside the interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as scratch:
        outputs = ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{PACKAGES}"]
            + [f"--{output}={scratch}" for output in outputs]
            + [str(proto)],
            check=True,
            capture_output=True,
            env={**os.environ, "PATH": path},
        )
        made = Path(scratch, *HERE.relative_to(PACKAGES).parts)
        return {made_file.name: HEADER + made_file.read_text() for made_file in sorted(made.iterdir())}


def main() -> None:
    """Write the files beside this module."""
    for name, text in generate().items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
