"""Finds the service class in an author's folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Final

from holdfast_runtime.routes import ServiceError
from holdfast_runtime.service import Service

MODULE: Final = "service"
"""The module of the folder that holds the class."""


def load(folder: Path) -> type[Service]:
    """The only subclass of Service that `service.py` defines. Raises ServiceError; what the author's own code raises
    when it is imported passes through."""
    file = folder / f"{MODULE}.py"
    if not file.is_file():
        raise ServiceError(f"{file} is missing: write the service class there, or start with `holdfast init`")
    sys.path.insert(0, str(folder.resolve()))
    module = importlib.import_module(MODULE)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Service) and value.__module__ == MODULE
    ]
    if not found:
        raise ServiceError(f"{file} has no service: write `class Name(Service):` with a method `infer`")
    if len(found) > 1:
        names = ", ".join(one.__name__ for one in found)
        raise ServiceError(f"{file} has several services ({names}): leave one, and move the others elsewhere")
    return found[0]
