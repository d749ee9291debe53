"""What the real tools say of their version, by which an installed one is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast_sandbox import builds, recipes
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress


@pytest.mark.parametrize("name", ["nats", "registry"])
def test_a_real_tool_on_path_is_known_by_its_version(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that are looked for, the two that the tests of this level need anyway."""
    built = builds.ensure(default_paths().cache, Progress(), [name])[name]
    ((command, program),) = built.binaries.items()
    (tmp_path / command).symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    found = builds.ensure(tmp_path / "empty", Progress(), [name])[name]

    assert found.binaries == {command: tmp_path / command}
    assert found.recipe == recipes.recipe(name)
    assert not (tmp_path / "empty").exists(), "nothing was built"
