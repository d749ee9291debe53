"""What `down` says that it removed."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from holdfast_sandbox import lifecycle, processes, stacksettings, traces
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Folders of a sandbox of which nothing runs."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(lifecycle, "_stop_all", lambda paths: None)
    monkeypatch.setattr(processes, "strays", lambda paths: [])
    monkeypatch.setattr(traces, "leftovers", lambda paths, bridge: [])
    found = Paths(state=tmp_path / "state", run=tmp_path / "run", cache=tmp_path / "cache")
    for folder in (found.state, found.run, found.cache):
        folder.mkdir()
        (folder / "kept").touch()
    return found


def test_down_keeps_state_and_cache_until_it_is_told_to_forget_them(paths: Paths) -> None:
    said = io.StringIO()
    lifecycle.down(paths, Progress(said))
    assert paths.state.exists()
    assert "removed" not in said.getvalue()
    lifecycle.down(paths, Progress(said), purge=True, cache=True)
    assert not any(folder.exists() for folder in (paths.state, paths.run, paths.cache))
    assert "its state is removed" in said.getvalue()
    assert "its build cache is removed" in said.getvalue()


def test_what_could_not_be_removed_is_not_said_to_be(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda folder, ignore_errors: None)
    said = io.StringIO()
    message = f"its state could not be removed whole: remove {paths.state}, {paths.run} by hand"
    with pytest.raises(SandboxError, match=f"^{message}$"):
        lifecycle.down(paths, Progress(said), purge=True)
    assert "is removed" not in said.getvalue()


def test_the_settings_that_make_up_wrote_into_the_checkout_go_with_the_stacks_they_belong_to(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkout" / "stacks"
    folder.mkdir(parents=True)
    monkeypatch.setattr(stacksettings, "CHECKOUT", folder.parent)
    of_another = {"Pulumi.sandbox-shared.yaml", "Pulumi.sandbox-mine.yaml", "Pulumi.prod-shared.yaml"}
    for name in (*of_another, "Pulumi.sandbox.yaml"):
        (folder / name).touch()
    stacks = paths.pulumi_state / ".pulumi" / "stacks" / "holdfast"
    stacks.mkdir(parents=True)
    for name in ("sandbox.json", "sandbox-mine.json"):
        (stacks / name).touch()

    lifecycle.down(paths, Progress(io.StringIO()))
    assert (folder / "Pulumi.sandbox.yaml").exists(), "the stack is kept"
    lifecycle.down(paths, Progress(io.StringIO()), purge=True)

    assert {file.name for file in folder.iterdir()} == of_another
