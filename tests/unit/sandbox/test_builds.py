from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from holdfast_sandbox import builds, processes, recipes
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.progress import Progress

TOOL = recipes.Recipe(
    name="pause", version="1", packages=(".",), binaries=(("pause", "pause"),), links=("alias",)
)


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """The cache folder of TOOL as a build leaves it."""
    folder = tmp_path / "tools" / TOOL.key()
    (folder / "bin").mkdir(parents=True)
    binary = folder / "bin" / "pause"
    binary.write_bytes(b"program")
    (folder / "bin" / "alias").symlink_to("pause")
    (folder / "manifest.json").write_text(json.dumps({"pause": builds._sha256(binary)}))
    return folder


def test_every_recipe_has_a_module_with_hashes() -> None:
    for one in recipes.RECIPES:
        assert (one.folder / "go.mod").is_file(), one.name
        assert (one.folder / "go.sum").is_file(), one.name


def test_recipes_name_the_version_that_their_module_pins() -> None:
    modules = {
        "nats": "github.com/nats-io/nats-server/v2 v",
        "pulumi": "github.com/pulumi/pulumi/pkg/v3 v",
        "kube": "k8s.io/kubernetes v",
        "registry": "github.com/distribution/distribution/v3 v",
        "coredns": "github.com/coredns/coredns v",
        "keda": "github.com/kedacore/keda/v2 v",
        "external-secrets": "github.com/external-secrets/external-secrets v",
    }
    for name, module in modules.items():
        one = recipes.recipe(name)
        assert f"{module}{one.version}" in (one.folder / "go.mod").read_text(), name


def test_an_unknown_tool_is_refused_with_those_that_exist() -> None:
    with pytest.raises(SandboxError) as error:
        recipes.recipe("kubernetes")

    assert str(error.value) == (
        "tool is 'kubernetes', not one that is built here: name one of nats, pulumi, pulumi-kubernetes, kube, "
        "registry, coredns, keda, external-secrets, pause"
    )


def test_the_key_follows_what_is_built_and_not_how_long_it_takes() -> None:
    assert replace(TOOL, stamps=(("a", "b"),)).key() != TOOL.key()
    assert replace(TOOL, version="2").key() != TOOL.key()
    assert replace(TOOL, typical_s=TOOL.typical_s + 1).key() == TOOL.key()


def test_what_is_cached_is_used_with_all_its_names(tmp_path: Path, cached: Path) -> None:
    built = builds._cached(tmp_path, TOOL)

    assert built is not None
    assert built.binaries == {"pause": cached / "bin" / "pause", "alias": cached / "bin" / "alias"}


def test_a_damaged_file_makes_the_cache_forget_the_tool(tmp_path: Path, cached: Path) -> None:
    (cached / "bin" / "pause").write_bytes(b"damaged")

    assert builds._cached(tmp_path, TOOL) is None
    assert not cached.exists()


def test_damage_after_the_first_check_is_noticed(tmp_path: Path, cached: Path) -> None:
    assert builds._cached(tmp_path, TOOL) is not None
    binary = cached / "bin" / "pause"
    before = binary.stat()
    binary.write_bytes(b"Program")
    os.utime(binary, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert builds._cached(tmp_path, TOOL) is None


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert builds._cached(tmp_path, TOOL) is not None
    monkeypatch.setattr(builds, "_sha256", lambda file: pytest.fail(f"{file} is read again"))

    assert builds._cached(tmp_path, TOOL) is not None


def test_a_missing_file_makes_the_cache_forget_the_tool(tmp_path: Path, cached: Path) -> None:
    (cached / "bin" / "pause").unlink()

    assert builds._cached(tmp_path, TOOL) is None


SAID = {
    "nats": ("nats-server", "--version", "nats-server: v{}"),
    "pulumi": ("pulumi", "version", "v{}"),
    "registry": ("registry", "--version", "registry github.com/distribution/distribution/v3 v{}+unknown"),
    "coredns": ("coredns", "-version", "CoreDNS-{}\nlinux/amd64, go1.26.8, "),
}
"""Tool → its program, how it is asked for its version, what it says: as the real ones do."""


def a_tool_on_path(folder: Path, version: str, name: str = "nats") -> Path:
    command, asked, said = SAID[name]
    folder.mkdir(exist_ok=True)
    program = folder / command
    program.write_text(f"#!/bin/sh\n[ \"$*\" = {asked} ] && echo '{said.format(version)}'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("name", SAID)
def test_a_tool_of_the_right_version_on_path_is_used_instead(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recipes.recipe(name)
    program = a_tool_on_path(tmp_path / "bin", one.version, name)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")

    found = builds.ensure(tmp_path / "cache", Progress(io.StringIO()), [name])

    assert found[name].binaries == {program.name: program}
    assert not (tmp_path / "cache").exists()


def test_every_tool_that_is_looked_for_on_path_is_tried_above() -> None:
    assert {one.name for one in recipes.RECIPES if one.version_command} == set(SAID)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("1.2.3", True),
        ("v1.2.3\n", True),
        ("tool: v1.2.3, built with go1.26.8", True),
        ("Tool-1.2.3\nlinux/amd64", True),
        ("tool github.com/some/tool/v3 v1.2.3+unknown", True),
        ("tool v1.2.3-rc.1", False),
        ("tool v1.2.3.m", False),
        ("tool v1.2.30", False),
        ("tool v11.2.3", False),
        ("tool v0.1.2.3", False),
        ("tool v9.9.9, built with go1.2.3", False),
        ("", False),
    ],
)
def test_an_installed_tool_is_known_by_the_version_that_it_says(
    said: str, right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pause"
    program.write_text(f"#!/bin/sh\ncat <<'end'\n{said}\nend\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    found = builds._installed(replace(TOOL, version="1.2.3", version_command=("pause", "--version")))

    assert (found is not None) == right


@pytest.mark.parametrize("content", ["#!/bin/sh\nexec sleep 60\n", "\x7fELF of another processor"])
def test_a_program_that_does_not_say_its_version_is_another(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pause"
    program.write_text(content)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(builds, "VERSION_S", 0.2)

    assert builds._installed(replace(TOOL, version_command=("pause", "--version"))) is None


def test_a_tool_of_another_version_on_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = a_tool_on_path(tmp_path / "bin", "2.14.0")
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")

    assert builds._installed(recipes.recipe("nats")) is None


def test_what_a_sandbox_put_on_path_is_no_installed_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next `up` in a terminal with the sandbox's PATH would make links to themselves."""
    program = a_tool_on_path(tmp_path / "bin", recipes.recipe("nats").version)
    builds.link_all({}, program.parent, tmp_path / "plugins")
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")

    assert builds._installed(recipes.recipe("nats")) is None


def test_links_follow_another_version(tmp_path: Path, cached: Path) -> None:
    old = builds.Built(TOOL, cached, {"pause": tmp_path / "old"})
    new = builds.Built(TOOL, cached, {"pause": cached / "bin" / "pause"})
    for built in (old, new, new):
        builds.link_all({"pause": built}, tmp_path / "bin", tmp_path / "plugins")

    assert (tmp_path / "bin" / "pause").readlink() == cached / "bin" / "pause"


def test_go_is_needed_only_where_something_has_to_be_built(
    tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(recipes, "RECIPES", (TOOL, recipes.recipe("coredns")))

    assert "pause" in builds.ensure(tmp_path, Progress(io.StringIO()), ["pause"])
    with pytest.raises(SandboxError) as error:
        builds.ensure(tmp_path, Progress(io.StringIO()), ["coredns"])
    assert str(error.value) == "go is not installed and coredns has to be built: install Go 1.26 or newer"


GO = """#!/bin/sh
[ "$1" = build ] || exit 1
while [ "$1" != -o ]; do shift; done
tool=$(cat name)
find "$GOCACHE" "$GOMODCACHE" "$GOTMPDIR" -type f -printf '%f ' >> "$SEEN"
echo >> "$SEEN"
mkdir -p "$GOCACHE" "$GOMODCACHE" "$2"
touch "$GOCACHE/std" "$GOCACHE/$tool" "$GOMODCACHE/source-of-$tool" "$GOTMPDIR/left-by-$tool"
cp name "$2/$tool"
if [ "$tool" = "$SLOW" ]; then echo $$ > "$SEEN.pid"; exec sleep "$SLOW_S"; fi
"""
"""Compiles the standard library and a package of the tool's own, and notes which files it finds when it begins. One
tool may take long."""


def tools_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *names: str) -> list[recipes.Recipe]:
    """Makes those the tools that there are, and the Go above the one that builds them."""
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(GO)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setattr(recipes, "SOURCE", tmp_path)
    made = []
    for name in names:
        (tmp_path / "go" / name).mkdir(parents=True)
        (tmp_path / "go" / name / "name").write_text(name)
        made.append(recipes.Recipe(name=name, version="1", packages=(".",), binaries=((name, name),)))
    monkeypatch.setattr(builds, "RECIPES", tuple(made))
    return made


def found_by_each_build(tmp_path: Path) -> list[list[str]]:
    """The files that each build found when it began, in order of builds and names."""
    return [sorted(line.split()) for line in (tmp_path / "seen").read_text().splitlines()]


def test_what_one_tool_alone_needed_is_gone_before_the_next_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools_of_ours(monkeypatch, tmp_path, "one", "two", "three")

    builds.ensure(tmp_path / "cache", Progress(io.StringIO()))

    first, *later = found_by_each_build(tmp_path)
    assert first == []
    assert later == [["one", "std"]] * 2, "what the first compiled is shared"


def test_nothing_of_a_build_is_left_but_the_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "of-the-user"))
    tools_of_ours(monkeypatch, tmp_path, "one", "two")

    builds.ensure(tmp_path / "cache", Progress(io.StringIO()))

    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["build.lock", "log", "tools"]
    assert not (tmp_path / "of-the-user").exists()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_was_cut_off_keeps_what_was_finished_fetched_and_compiled(
    by: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, *_ = tools_of_ours(monkeypatch, tmp_path, "one", "two", "three")
    monkeypatch.setenv("SLOW", "two")
    monkeypatch.setenv("SLOW_S", "60")
    cache, said = tmp_path / "cache", io.StringIO()

    def build() -> None:
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # ignored in what a shell runs in the background
        builds.ensure(cache, Progress(said))

    command = multiprocessing.get_context("fork").Process(target=build)
    command.start()
    go = _pid_in(tmp_path / "seen.pid")
    assert command.pid is not None
    os.kill(command.pid, by)
    command.join(10)
    try:
        assert go.is_running() == (by == signal.SIGKILL), "an interrupt ends the build with the command"
    finally:
        processes.end([go], grace_s=1)
    finished = (cache / "tools" / one.key()).stat().st_ino
    monkeypatch.setenv("SLOW", "none")

    built = builds.ensure(cache, Progress(said))

    assert sorted(built) == ["one", "three", "two"]
    assert (cache / "tools" / one.key()).stat().st_ino == finished, "it was not built again"
    assert "building 2 tools from source" in said.getvalue()
    of_two = ["left-by-two", "one", "source-of-two", "std", "two"]
    assert found_by_each_build(tmp_path) == [[], ["one", "std"], of_two, ["one", "std", "two"]]
    assert sorted(path.name for path in cache.iterdir()) == ["build.lock", "log", "tools"]
    assert sorted(path.name for path in (cache / "tools").iterdir()) == sorted(
        one.recipe.key() for one in built.values()
    )


def _pid_in(file: Path) -> psutil.Process:
    deadline = time.monotonic() + 20
    while not (file.is_file() and file.read_text().strip()):
        assert time.monotonic() < deadline, "the build did not get there"
        time.sleep(0.02)
    return psutil.Process(int(file.read_text()))


def test_a_long_build_says_again_and_again_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "STILL_S", 0.1)
    monkeypatch.setenv("SLOW", "one")
    monkeypatch.setenv("SLOW_S", "0.5")
    tools_of_ours(monkeypatch, tmp_path, "one")
    said = io.StringIO()

    builds.ensure(tmp_path / "cache", Progress(said))

    lines = [line.split("s  ", 1)[1] for line in said.getvalue().splitlines()]
    assert lines[:2] == [
        "building 1 tools from source, about 1 min on two cores",
        "[1/1] one 1, about 60 s …",
    ]
    *still, last = lines[2:]
    assert len(still) >= 2
    assert all(re.fullmatch(r"\[1/1\] one 1: \d+ s …", line) for line in still)
    assert re.fullmatch(r"\[1/1\] one 1, about 60 s: \d+\.\d s", last)
