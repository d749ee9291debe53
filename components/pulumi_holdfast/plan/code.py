"""The image of a folder of code: which files are in it, and the tag that follows from them. Nothing is built here."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pulumi_holdfast.spec.code import LOCK

CONTAINERFILE: Final = "Containerfile"
BASE_IMAGE: Final = "docker.io/library/python:3.11-slim"
RUNTIME: Final = "holdfast_runtime"
_IGNORED: Final = frozenset({"__pycache__", "venv", "node_modules"})
"""Never in an image, nor anything whose name begins with a dot."""

RECIPE: Final = f"""\
FROM {BASE_IMAGE}
COPY {LOCK} /tmp/{LOCK}
# Byte code by the source's content, not its time: the same files make the same image.
RUN pip install --no-cache-dir --no-compile --require-hashes -r /tmp/{LOCK} \\
 && rm /tmp/{LOCK} \\
 && PYTHONHASHSEED=0 python -c "import compileall, os, py_compile, site; \\
[compileall.compile_dir(one, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH) \\
for one in site.getsitepackages() if os.path.isdir(one)]"
COPY runtime /app/runtime
COPY code /app/code
RUN PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash /app
# The root file system may be read-only: nothing is written outside /tmp.
ENV PYTHONPATH=/app/runtime PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PORT=8000 HOME=/tmp
WORKDIR /app/code
EXPOSE 8000
USER 65532:65532
ENTRYPOINT ["python", "-m", "{RUNTIME}", "/app/code"]
LABEL dev.holdfast.health-check-path="/healthcheck"
"""


@dataclass(frozen=True, slots=True)
class CodePlan:
    """What the image is made from."""

    files: Mapping[str, bytes]
    """Path below the build's folder → content, sorted; all have the same mode and time in the image."""

    @property
    def tag(self) -> str:
        """`c-` and 16 hex digits: the same files, lock and runtime, the same tag."""
        digest = hashlib.sha256()
        for path, content in self.files.items():
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
        return f"c-{digest.hexdigest()[:16]}"


def plan_code(folder: Path) -> CodePlan:
    """The plan of a folder. Raises OSError where a file cannot be read."""
    found = {CONTAINERFILE: RECIPE.encode(), LOCK: (folder / LOCK).read_bytes()}
    for prefix, root in (("code", folder), (f"runtime/{RUNTIME}", runtime_folder())):
        for file in sorted(root.rglob("*")):
            below = file.relative_to(root)
            hidden = any(part.startswith(".") or part in _IGNORED for part in below.parts)
            if file.is_file() and not hidden:
                found[f"{prefix}/{below.as_posix()}"] = file.read_bytes()
    return CodePlan(dict(sorted(found.items())))


def runtime_folder() -> Path:
    """Where the runtime's package stands; it is copied and not imported: its libraries need not be here."""
    found = importlib.util.find_spec(RUNTIME)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"package {RUNTIME} is not installed: install pulumi-holdfast anew")
    return Path(found.origin).parent
