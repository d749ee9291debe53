"""Where the plugins' launchers go, and that an official plugin always wins."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from holdfast_sandbox import plugins


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """bin/ and plugins/ of a sandbox, and a folder elsewhere on PATH."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{elsewhere}")
    return tmp_path / "bin", tmp_path / "plugins", elsewhere


def _executable(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def test_launchers_stand_where_the_engine_looks(folders: tuple[Path, Path, Path]) -> None:
    bin_folder, plugin_folder, _ = folders
    plugins.install(bin_folder, plugin_folder)
    provider = plugin_folder / f"resource-aws-v{metadata.version('pulumi-aws')}" / "pulumi-resource-aws"
    for launcher, module in (
        (bin_folder / "pulumi-language-python", "holdfast_sandbox.plugins.language"),
        (provider, "holdfast_sandbox.plugins.aws"),
    ):
        assert module in launcher.read_text()
        assert launcher.stat().st_mode & 0o111


def test_an_official_language_host_on_path_is_left_to_work(folders: tuple[Path, Path, Path]) -> None:
    bin_folder, plugin_folder, elsewhere = folders
    plugins.install(bin_folder, plugin_folder)
    _executable(elsewhere / "pulumi-language-python", "official")
    plugins.install(bin_folder, plugin_folder)
    assert not (bin_folder / "pulumi-language-python").exists()


def test_an_official_provider_that_was_installed_is_not_written_over(
    folders: tuple[Path, Path, Path],
) -> None:
    bin_folder, plugin_folder, _ = folders
    provider = plugin_folder / f"resource-aws-v{metadata.version('pulumi-aws')}" / "pulumi-resource-aws"
    _executable(provider, "official")
    plugins.install(bin_folder, plugin_folder)
    assert provider.read_text() == "official"


def test_the_launcher_of_another_sandbox_on_path_is_not_taken_for_official(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bin_folder, plugin_folder, elsewhere = folders
    plugins.install(elsewhere, tmp_path / "other-plugins")
    plugins.install(bin_folder, plugin_folder)
    assert (bin_folder / "pulumi-language-python").exists()
