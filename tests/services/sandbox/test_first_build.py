"""A tool built by the real Go from modules that nothing has fetched yet, as on a fresh machine."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from holdfast_sandbox import builds, recipes
from holdfast_sandbox.progress import Progress

MODULE = "example.test/library"
GO_MOD = f"module {MODULE}\n\ngo 1.24\n"
MAIN = """package main

import (
	_ "embed"
	"fmt"

	_ "example.test/library"
)

//go:embed schema-embed.json
var schema string

func main() { fmt.Print(schema) }
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> recipes.Recipe:
    """A tool that embeds a file of a module and keeps another; the module is only in a module proxy."""
    proxy = tmp_path / "proxy" / MODULE / "@v"
    proxy.mkdir(parents=True)
    (proxy / "v1.0.0.info").write_text('{"Version": "v1.0.0"}')
    (proxy / "v1.0.0.mod").write_text(GO_MOD)
    with zipfile.ZipFile(proxy / "v1.0.0.zip", "w") as packed:
        prefix = f"{MODULE}@v1.0.0"
        packed.writestr(f"{prefix}/go.mod", GO_MOD)
        packed.writestr(f"{prefix}/library.go", "package library\n")
        packed.writestr(f"{prefix}/schema.json", '{"name": "tool", "version": "4.0.0-dev", "resources": {}}')
        packed.writestr(f"{prefix}/config/crd.yaml", "kind: List\n")
    source = tmp_path / "source" / "go" / "tool"
    source.mkdir(parents=True)
    (source / "go.mod").write_text(f"module example.test/tool\n\ngo 1.24\n\nrequire {MODULE} v1.0.0\n")
    (source / "main.go").write_text(MAIN)
    (source / "schema-embed.json").write_text("{}")
    monkeypatch.setenv("GOPROXY", f"file://{tmp_path / 'proxy'}")
    monkeypatch.setenv("GONOSUMDB", "*")
    locking = os.environ | {"GOMODCACHE": str(tmp_path / "elsewhere"), "GOFLAGS": "-mod=mod -modcacherw"}
    subprocess.run(["go", "mod", "tidy"], cwd=source, env=locking, check=True)
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(recipes, "SOURCE", tmp_path / "source")
    return recipes.Recipe(
        name="tool",
        version="1.2.3",
        packages=(".",),
        binaries=(("tool", "tool"),),
        copied=((MODULE, "schema.json", "schema-embed.json"),),
        kept=((MODULE, "config"),),
    )


def test_a_file_of_a_module_that_was_never_fetched_is_built_in(tmp_path: Path, tool: recipes.Recipe) -> None:
    built = builds._build(tmp_path / "cache", tool, "[1/1] tool", Progress())

    said = subprocess.run([built.binaries["tool"]], capture_output=True, text=True, check=True).stdout
    assert json.loads(said) == {"name": "tool", "version": "1.2.3", "resources": {}}
    assert (tmp_path / "cache" / "tools" / tool.key() / "kept" / "config" / "crd.yaml").is_file()
