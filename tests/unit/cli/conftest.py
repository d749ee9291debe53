"""The command, run in this process against the gateway that lives in memory."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest

from holdfast_cli.exits import Exit
from holdfast_cli.main import main


def _load_standin() -> ModuleType:
    path = Path(__file__).parents[1] / "client" / "standin.py"
    found = importlib.util.spec_from_file_location("holdfast_test_standin", path)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


STANDIN = _load_standin()


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def standin() -> ModuleType:
    """The module of the stand-in, for its helpers."""
    return STANDIN


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The stand-in, at the URL and with the token that the environment names; pauses take no time."""
    made = STANDIN.Gateway()
    threads = httpx2.Client
    monkeypatch.setattr(httpx2, "Client", lambda **_: threads(transport=made.transport()))
    monkeypatch.setattr("holdfast_client._client.time.sleep", lambda _: None)
    monkeypatch.setenv("HOLDFAST_URL", STANDIN.URL)
    monkeypatch.setenv("HOLDFAST_TOKEN", "hf_test_secret")
    monkeypatch.setenv("HOLDFAST_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.delenv("HOLDFAST_TOKEN_FILE", raising=False)
    return made


@pytest.fixture
def holdfast(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `holdfast …`; `stdin`: bytes on its standard input."""

    def run(*words: str | Path, stdin: bytes = b"", expect: int = Exit.OK) -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(word) for word in words])
        shown = capfd.readouterr()
        done = Done(int(code), shown.out, shown.err)
        assert done.code == expect, f"exit code {done.code}, not {expect}: {done.out}{done.err}"
        return done

    return run
