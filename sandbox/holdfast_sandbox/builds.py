"""Tools that no registry carries as binaries, built from pinned Go modules into a cache keyed by version.

A tool of the right version that is already on PATH is used instead. A build is made beside its final place and
renamed into it, so what is in the cache is whole; the hash of every file is checked before it is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.progress import Progress
from holdfast_sandbox.recipes import KUBERNETES_PROVIDER_VERSION, RECIPES, Recipe, recipe

VERSION_S: Final = 30.0
"""How long an installed tool may take to say its version."""
STILL_S: Final = 30.0
"""How often a long build says that it goes on."""
GO_SCRATCH: Final = "go"
"""The folder of the cache with what Go downloads and compiles. A build that is cut off goes on from it; after the last
it is removed, for only another version would use it."""


@dataclass(frozen=True, slots=True)
class Built:
    """A tool that is there."""

    recipe: Recipe
    folder: Path
    """The cache folder; for an installed tool, where it was found."""
    binaries: dict[str, Path] = field(default_factory=dict)
    """Every name it is called by, links included."""


def complete(cache: Path) -> bool:
    """Whether nothing has to be built: every tool is in the cache, or on PATH in its version. Changes nothing."""
    return all(
        (cache / "tools" / one.key() / "manifest.json").is_file() or _installed(one) for one in RECIPES
    )


def ensure(cache: Path, progress: Progress, names: Iterable[str] | None = None) -> dict[str, Built]:
    """Every tool by name, built where it is missing. `names`: only these; None: all.

    Raises SandboxError where Go is missing or a build fails, with the end of its output.
    """
    wanted = [recipe(name) for name in names] if names is not None else list(RECIPES)
    found: dict[str, Built] = {}
    missing: list[Recipe] = []
    for one in wanted:
        there = _installed(one) or _cached(cache, one)
        if there:
            found[one.name] = there
        else:
            missing.append(one)
    if missing:
        with _exclusive(cache, progress):
            minutes = sum(one.typical_s for one in missing) / 60
            progress.say(f"building {len(missing)} tools from source, about {minutes:.0f} min on two cores")
            shared: frozenset[Path] | None = None
            for number, one in enumerate(missing, start=1):
                label = f"[{number}/{len(missing)}] {one.name} {one.version}"
                found[one.name] = _cached(cache, one) or _build(cache, one, label, progress)
                shared = _give_back(cache / GO_SCRATCH, shared)
            shutil.rmtree(cache / GO_SCRATCH, ignore_errors=True)
    return {one.name: found[one.name] for one in wanted}


def link_all(tools: dict[str, Built], bin_folder: Path, plugin_folder: Path) -> None:
    """Make `bin_folder` hold a link for every name of every tool, and `plugin_folder` Pulumi's plugins."""
    bin_folder.mkdir(parents=True, exist_ok=True)
    (bin_folder / BIN_MARK).touch()
    for tool in tools.values():
        for name, target in tool.binaries.items():
            link = bin_folder / name
            if name in PLUGINS:
                folder = plugin_folder / PLUGINS[name]
                folder.mkdir(parents=True, exist_ok=True)
                _place(target, folder / name)
            elif name in _LOOKS_BESIDE_ITSELF:
                _place(target, link)
            elif not (link.is_symlink() and link.readlink() == target):
                link.unlink(missing_ok=True)
                link.symlink_to(target)


PLUGINS: Final = {"pulumi-resource-kubernetes": f"resource-kubernetes-v{KUBERNETES_PROVIDER_VERSION}"}
"""Binaries that are Pulumi plugins, and the folder below PULUMI_HOME/plugins where the engine looks for them. On
PATH they would work as well, with a warning each time."""
_LOOKS_BESIDE_ITSELF: Final = ("pulumi",)
"""Follows links to find itself and looks for plugins there: it has to stand in the folder, not point out of it."""


BIN_MARK: Final = ".holdfast-sandbox"
"""A file that tells a sandbox's folder of tools from others on PATH."""


def _place(source: Path, target: Path) -> None:
    if target.is_file() and not target.is_symlink():
        there, wanted = target.stat(), source.stat()
        if (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns):
            return
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def _installed(one: Recipe) -> Built | None:
    if one.version_command is None:
        return None
    # Not what a sandbox itself put on PATH: that is a link into a cache, and would end as a link to itself.
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(":") if folder]
    foreign = ":".join(str(folder) for folder in folders if not (folder / BIN_MARK).exists())
    path = shutil.which(one.version_command[0], path=foreign)
    if path is None:
        return None
    try:
        shown = subprocess.run(
            [path, *one.version_command[1:]], capture_output=True, text=True, check=False, timeout=VERSION_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # another program of that name, or one for another machine
    # "v1.2.3" and "Tool-1.2.3" are 1.2.3, "1.2.3-rc.1" is not; "+unknown" is what `go install` leaves.
    said = re.search(
        rf"(?:^|[\s-]|\bv){re.escape(one.version)}(?:\+unknown)?(?![^\s,])", shown.stdout + shown.stderr
    )
    if said is None:
        return None
    return Built(one, Path(path).parent, {one.binaries[0][1]: Path(path)})


def _cached(cache: Path, one: Recipe) -> Built | None:
    folder = cache / "tools" / one.key()
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return None
    hashes: dict[str, str] = json.loads(manifest.read_text())
    if not _intact(folder, hashes):
        # Damaged or tampered with: build it again rather than run it.
        shutil.rmtree(folder)
        return None
    binaries = {name: folder / "bin" / name for name in hashes}
    first = one.binaries[0][1]
    binaries |= {link: folder / "bin" / link for link in one.links if first in binaries}
    return Built(one, folder, binaries)


def _intact(folder: Path, hashes: dict[str, str]) -> bool:
    """Whether every file has its hash. A gigabyte takes seconds, so a file that did not change since (the kernel
    notes every change of content or owner in its ctime) is not read again."""
    stamp = folder / "checked.json"
    present: dict[str, list[int]] = {}
    for name in hashes:
        file = folder / "bin" / name
        if not file.is_file():
            return False
        seen = file.stat()
        present[name] = [seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]
    if stamp.is_file() and json.loads(stamp.read_text()) == present:
        return True
    if any(_sha256(folder / "bin" / name) != expected for name, expected in hashes.items()):
        return False
    partial = stamp.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(present))
    partial.rename(stamp)
    return True


def _build(cache: Path, one: Recipe, label: str, progress: Progress) -> Built:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise SandboxError(f"go is not installed and {one.name} has to be built: install Go 1.26 or newer")
    folder = cache / "tools" / one.key()
    work = folder.with_name(folder.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(one.folder, work / "src")
    scratch = cache / GO_SCRATCH
    (scratch / "tmp").mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOCACHE": str(scratch / "compiled"),
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false -trimpath",
        "GOMODCACHE": str(scratch / "modules"),
        # Gigabytes while a large tool is linked: not where /tmp may be memory.
        "GOTMPDIR": str(scratch / "tmp"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    log = cache / "log" / f"{one.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)

    def run(*command: str) -> str:
        with log.open("a") as errors:
            process = subprocess.Popen(
                [go, *command],
                cwd=work / "src",
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            output = _watch(process, lambda seconds: progress.say(f"{label}: {seconds:.0f} s …"))
        if process.returncode != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise SandboxError(f"building {one.name} {one.version} failed; the end of {log}:\n{tail}")
        return output.strip()

    with progress.step(f"{label}, about {one.typical_s} s", announce=True):
        log.write_text("")
        for module, source, name in one.copied:
            text = (_module_folder(run, module) / source).read_text()
            (work / "src" / name).write_text(_stamped_json(text, one.version))
        stamps = " ".join(f"-X {variable}={value}" for variable, value in one.stamps)
        run("build", "-ldflags", f"-s -w {stamps}", "-o", str(work / "out") + "/", *one.packages)
        for module, source in one.kept:
            shutil.copytree(_module_folder(run, module) / source, work / "kept" / Path(source).name)
        _seal(one, work)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)
    built = _cached(cache, one)
    assert built is not None, "what was just built is in the cache"
    return built


def _give_back(scratch: Path, shared: frozenset[Path] | None) -> frozenset[Path]:
    """Remove what the tool that was just built alone needed, so that the disk holds one tool's gigabytes at a time.

    Its modules go, for hardly two tools have one in the same version. What the first tool compiled stays, as `shared`
    (None: this was the first): mostly the standard library, which all of them need.
    """
    shutil.rmtree(scratch / "modules", ignore_errors=True)
    shutil.rmtree(scratch / "tmp", ignore_errors=True)
    compiled = frozenset(path for path in (scratch / "compiled").rglob("*") if path.is_file())
    if shared is None:
        return compiled
    for path in compiled - shared:
        path.unlink()
    return shared


def _module_folder(go: Callable[..., str], module: str) -> Path:
    """Where a module's files lie. `go list` knows no folder for a module that nothing has fetched yet."""
    return Path(json.loads(go("mod", "download", "-json", module))["Dir"])


def _watch(process: subprocess.Popen[str], still: Callable[[float], None]) -> str:
    """The output of a process; calls `still` with its age while it runs. It is ended where this command is."""
    began = time.monotonic()
    try:
        while True:
            try:
                return process.communicate(timeout=STILL_S)[0]
            except subprocess.TimeoutExpired:
                still(time.monotonic() - began)
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _seal(one: Recipe, work: Path) -> None:
    (work / "bin").mkdir()
    hashes = {}
    for made, name in one.binaries:
        (work / "out" / made).rename(work / "bin" / name)
        hashes[name] = _sha256(work / "bin" / name)
    for link in one.links:
        (work / "bin" / link).symlink_to(one.binaries[0][1])
    (work / "manifest.json").write_text(json.dumps(hashes, indent=1) + "\n")
    shutil.rmtree(work / "out")
    shutil.rmtree(work / "src")
    # Go may make files of modules read-only; what was copied from them must not be.
    for path in work.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)


def _stamped_json(text: str, version: str) -> str:
    content = json.loads(text)
    if "resources" in content and "name" in content:
        content["version"] = version
    return json.dumps(content, separators=(",", ":"))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _exclusive(cache: Path, progress: Progress) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another process is building; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
