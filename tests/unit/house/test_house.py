"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LEVELS = ("unit", "services", "engine", "cluster")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_file_names_a_registry_host() -> None:
    # Spelled in two halves so that this file does not break its own rule.
    hosts = [
        "python" + "hosted.org",
        "pypi" + ".org",
        "proxy.golang" + ".org",
        "sum.golang" + ".org",
        "registry.npm" + "js",
        "deb.debian" + ".org",
    ]
    named = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in _tracked()
        for host in hosts
        if host in path.read_bytes().decode(errors="ignore")
    ]
    assert named == []


def test_every_test_file_stands_where_it_is_collected() -> None:
    misplaced = [
        str(path.relative_to(ROOT))
        for path in _tracked("*test_*.py", "*_test.py")
        if path.name.startswith("test_") or path.name.endswith("_test.py")
        if path.relative_to(ROOT).parts[:1] != ("tests",)
        or path.relative_to(ROOT).parts[1] not in LEVELS
        or not path.name.startswith("test_")
    ]
    assert misplaced == []


def test_no_test_module_is_without_a_test() -> None:
    empty = [
        str(path.relative_to(ROOT))
        for path in _tracked("tests/**/test_*.py")
        if not re.search(r"^\s*(async )?def test_", path.read_text(), re.MULTILINE)
        and "TestCase" not in path.read_text()
    ]
    assert empty == []


@pytest.mark.parametrize("program", ["__main__.py", "endpoints.py", "shared.py"])
def test_the_stacks_programs_stay_short_enough_to_be_read_at_once(program: str) -> None:
    assert len((ROOT / "stacks" / program).read_text().splitlines()) < 60


@pytest.mark.parametrize("lock", sorted(str(p.relative_to(ROOT)) for p in _tracked("*.lock")))
def test_lock_files_pin_every_package_with_hashes_and_name_no_url(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pins = re.findall(r"^[a-zA-Z0-9_.\[\]-]+==[^\s\\]+(.*)$", text, re.MULTILINE)
    assert pins
    assert all(rest.strip().endswith("\\") for rest in pins), "a pin without a hash"
    assert "://" not in text
