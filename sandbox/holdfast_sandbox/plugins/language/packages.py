"""What an environment has installed: Pulumi packages with the plugins they need, and plain dependencies.

Standard library only: it also runs as a script, with the interpreter of the program that is asked about.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import sysconfig
from pathlib import Path
from typing import Any

_LABEL = "pulumi-plugin.json"


def installed() -> dict[str, list[dict[str, Any]]]:
    """`plugins`: of every installed package with a `pulumi-plugin.json`; `dependencies`: all, by name."""
    plugins = {}
    # Not by each distribution's list of files: that of pulumi-aws alone has thousands of lines.
    for folder in dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")):
        for file in sorted(Path(folder).glob(f"*/{_LABEL}")):
            plugin = _plugin(json.loads(file.read_text()), file.parent.name)
            if plugin:
                plugins[plugin["name"]] = plugin
    dependencies: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = str(distribution.metadata["Name"] or "").lower()
        dependencies.setdefault(name, distribution.version)
    return {
        "plugins": [plugins[name] for name in sorted(plugins)],
        "dependencies": [
            {"name": name, "version": dependencies[name]} for name in sorted(dependencies) if name
        ],
    }


def _plugin(label: dict[str, Any], package: str) -> dict[str, Any] | None:
    """What one `pulumi-plugin.json` asks for; None where the package says that it has no plugin."""
    if not label.get("resource", False):
        return None
    return {
        "name": label.get("name") or package.replace("_", "-").removeprefix("pulumi-"),
        "version": (label.get("version") or "").removeprefix("v"),
        "server": label.get("server") or "",
        "parameterization": label.get("parameterization"),
    }


if __name__ == "__main__":
    # The folder of this script must not shadow modules of the environment that is looked at.
    sys.path.pop(0)
    json.dump(installed(), sys.stdout)
