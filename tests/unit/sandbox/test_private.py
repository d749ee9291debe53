"""Secrets of the sandbox: the same for everybody who asks, and whole at every moment."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest

from holdfast_sandbox import buildah, demo, node, private, registry
from holdfast_sandbox.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(state=tmp_path / "state", run=tmp_path / "run", cache=tmp_path / "cache")


def test_a_secret_stays_and_only_its_owner_may_read_it(paths: Paths) -> None:
    first = registry.secret(paths, "one")
    assert len(first) >= 32
    assert registry.secret(paths, "one") == first
    assert registry.secret(paths, "two") != first
    assert (paths.secrets / "one").stat().st_mode & 0o777 == 0o600
    assert paths.secrets.stat().st_mode & 0o777 == 0o700
    assert sorted(file.name for file in paths.secrets.iterdir()) == ["one", "two"]


def test_a_file_that_a_killed_process_left_empty_is_no_secret(paths: Paths) -> None:
    paths.secrets.mkdir(parents=True)
    for name in ("pulumi-passphrase", "caller-token"):
        (paths.secrets / name).touch(mode=0o600)
    assert registry.secret(paths, "pulumi-passphrase")
    assert demo.caller_token(paths).startswith("hf_")
    assert demo.caller_token(paths) == (paths.secrets / "caller-token").read_text()


def test_all_who_are_first_at_the_same_moment_get_the_same_secret(paths: Paths) -> None:
    many = 8
    for round_ in range(20):
        together = Barrier(many)

        def ask(name: str, together: Barrier = together) -> str:
            together.wait()
            return registry.secret(paths, name)

        with ThreadPoolExecutor(many) as threads:
            found = set(threads.map(ask, [f"secret-{round_}"] * many))
        assert len(found) == 1
        assert "" not in found


def test_credentials_are_written_beside_and_moved_and_not_again_where_they_are_the_same(paths: Paths) -> None:
    file = registry.auth_file(paths)
    before = file.stat()
    assert registry.auth_file(paths).stat().st_ino == before.st_ino
    assert before.st_mode & 0o777 == 0o600
    with file.open() as reader:  # one who reads while it is replaced reads the old one to its end
        private.write(paths.secrets / "registry-password", "another")
        registry.auth_file(paths)
        assert json.load(reader)["auths"].keys() == {registry.HOST, registry.LISTENER}
    assert file.stat().st_ino != before.st_ino


def test_names_that_a_killed_process_left_empty_are_found_out_anew(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buildah, "_buildah", lambda *_: SimpleNamespace(returncode=1))
    for file in (paths.state / "node-name", paths.cache / "buildah-driver"):
        file.parent.mkdir(parents=True)
        file.touch()
    assert node.name(paths)
    assert buildah.storage_driver(paths) == "vfs"
