"""How builds and pushes are called; buildah itself is not run."""

from __future__ import annotations

import configparser
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast_sandbox import buildah, registry
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths


def _read(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return dict(parser["global"])


def test_pip_in_a_build_asks_the_index_that_this_machine_asks() -> None:
    files = {"/etc/pip.conf": "[global]\nindex-url = https://one.test/simple\ntimeout = 30\n"}
    written = _read(buildah.pip_configuration({}, files, certificates=False))
    assert written["index-url"] == "https://one.test/simple"
    assert written["timeout"] == "30"
    assert "cert" not in written


def test_variables_win_over_files_and_later_files_over_earlier_ones() -> None:
    files = {
        "/etc/pip.conf": "[global]\nindex-url = https://one.test/simple\nextra-index-url = https://extra.test\n",
        "~/.pip/pip.conf": "[global]\nindex-url = https://two.test/simple\n",
    }
    assert (
        _read(buildah.pip_configuration({}, files, certificates=False))["index-url"]
        == "https://two.test/simple"
    )
    environ = {"PIP_INDEX_URL": "https://three.test/simple"}
    written = _read(buildah.pip_configuration(environ, files, certificates=False))
    assert written["index-url"] == "https://three.test/simple"
    assert written["extra-index-url"] == "https://extra.test"


def test_paths_of_this_machine_stay_out_of_the_build() -> None:
    files = {"/etc/pip.conf": "[global]\nfind-links = /opt/wheels\ncert = /home/me/ca.crt\n"}
    written = _read(buildah.pip_configuration({"PIP_FIND_LINKS": "/opt/wheels"}, files, certificates=True))
    assert written["cert"] == buildah.CERTIFICATES_IN_BUILD
    assert "find-links" not in written


def test_a_percent_sign_in_an_index_password_survives() -> None:
    environ = {"PIP_INDEX_URL": "https://me:p%40ss@one.test/simple"}
    written = _read(buildah.pip_configuration(environ, {}, certificates=False))
    assert written["index-url"] == environ["PIP_INDEX_URL"]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(state=tmp_path / "state", run=tmp_path / "run", cache=tmp_path / "cache")


class Recorded:
    """Stands in for the command: remembers how it was called, and answers what a test says."""

    def __init__(self, *, info_fails: bool = False, fails: bool = False) -> None:
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self._info_fails, self._fails = info_fails, fails

    def __call__(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(list(command))
        self.environments.append(options["env"])
        digest = next((word for word in command if word.endswith("/digest")), None)
        if digest:
            Path(digest).write_text("sha256:abc\n")
        failed = self._info_fails if "info" in command else self._fails
        return subprocess.CompletedProcess(
            command, int(failed), "step 1\n", "no such thing\n" if failed else ""
        )


def _record(monkeypatch: pytest.MonkeyPatch, recorded: Recorded) -> Recorded:
    monkeypatch.setattr(subprocess, "run", recorded)
    return recorded


def test_the_registrys_password_is_in_no_command_line(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = _record(monkeypatch, Recorded())
    assert buildah.push(paths, "r.test/a:1", "127.0.0.1:5000/a:1") == "sha256:abc"
    secret = registry.password(paths)
    assert not [word for command in recorded.commands for word in command if secret in word]
    file = Path(recorded.environments[-1]["REGISTRY_AUTH_FILE"])
    assert set(json.loads(file.read_text())["auths"]) == {registry.HOST, registry.LISTENER}
    assert file.stat().st_mode & 0o077 == 0


def test_storage_is_the_sandboxs_own_and_never_roots(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = _record(monkeypatch, Recorded())
    buildah.run(paths, "images")
    command = recorded.commands[-1]
    assert command[command.index("--root") + 1] == str(paths.cache / "buildah-overlay")
    assert command[command.index("--runroot") + 1] == str(paths.run / "buildah-overlay")


def test_where_overlay_does_not_work_vfs_is_used_and_remembered(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = _record(monkeypatch, Recorded(info_fails=True))
    buildah.run(paths, "images")
    buildah.run(paths, "images")
    assert [command[command.index("--storage-driver") + 1] for command in recorded.commands] == [
        "overlay",
        "vfs",
        "vfs",
    ]


def test_a_build_pulls_nothing_and_sets_no_variable_in_the_image(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded = _record(monkeypatch, Recorded())
    buildah.build(paths, tmp_path / "Dockerfile", tmp_path, "r.test/a:1")
    command = recorded.commands[-1]
    assert "--pull-never" in command
    assert not [word for word in command if word.startswith(("--env", "--build-arg"))]
    assert next(word.split(":")[1] for word in command if word.startswith("--volume=")) == "/etc/pip.conf"


def test_a_failing_build_is_told_with_the_end_of_its_output(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _record(monkeypatch, Recorded(fails=True))
    with pytest.raises(SandboxError) as failure:
        buildah.build(paths, tmp_path / "Dockerfile", tmp_path, "r.test/a:1")
    assert str(failure.value) == "buildah bud failed:\nstep 1\nno such thing"


def test_the_storage_is_not_left_mounted(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = _record(monkeypatch, Recorded())
    buildah.run(paths, "images")
    command = recorded.commands[-1]
    assert command[command.index("--storage-opt") + 1] == "overlay.skip_mount_home=true"
