"""The catalogue of templates, as the public interface tells it: read once at start, answered from memory.

`/v1/templates` lists, `/v1/templates/<name>` describes one in full with its schemas, model card and examples, and
`/v1/templates/<name>/files/<path>` gives a file that its description names. Everybody may read all of it: a
template is what can be cloned, and holds no secret.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import quote

import yaml

from holdfast_contract import problems
from holdfast_services.gateway.core.refusal import Answer, Refusal
from holdfast_services.gateway.page import StaticFile, answer_file

__all__ = ["PATH_TEMPLATES", "Templates"]

PATH_TEMPLATES: Final = "/v1/templates"
_SUMMARY: Final = ("name", "version", "title", "description", "licence", "hardware", "image")
_HEADERS: Final = ((b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox"))
_JSON: Final = "application/json"


class Templates:
    """Answers by path."""

    def __init__(self, files: Mapping[str, StaticFile]) -> None:
        self.files = MappingProxyType(dict(files))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read every `<folder>/<name>/template.yaml`. A folder without templates gives an empty catalogue.

        Raises ValueError naming the template and what is wrong with it.
        """
        files: dict[str, StaticFile] = {}
        listed: list[dict[str, Any]] = []
        for declaration in sorted(folder.glob("*/template.yaml")):
            try:
                described, named = _describe(declaration)
            except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
                raise ValueError(f"template {declaration.parent.name} cannot be read: {error!r}") from error
            listed.append({key: described.get(key) for key in _SUMMARY})
            files[f"{PATH_TEMPLATES}/{described['name']}"] = _json(described)
            files.update(named)
        files[PATH_TEMPLATES] = _json({"templates": listed})
        return cls(files)

    def answer(self, path: str, if_none_match: str | None = None) -> Answer | None:
        """The answer to GET; None where the path is not the catalogue's.

        Raises Refusal for a template or file that does not exist.
        """
        if path != PATH_TEMPLATES and not path.startswith(PATH_TEMPLATES + "/"):
            return None
        file = self.files.get(path.rstrip("/"))
        if file is None:
            raise Refusal(problems.NOT_FOUND, f"the catalogue has no {path[:200]}: {PATH_TEMPLATES} lists it")
        return answer_file(file, if_none_match, _HEADERS)


def _json(value: object) -> StaticFile:
    return StaticFile.of(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), _JSON)


def _describe(declaration: Path) -> tuple[dict[str, Any], dict[str, StaticFile]]:
    """What the declaration says with what it refers to, and the files that stay files."""
    folder = declaration.parent
    declared: dict[str, Any] = yaml.safe_load(declaration.read_text(encoding="utf-8"))
    prefix = f"{PATH_TEMPLATES}/{declared['name']}/files/"
    files: dict[str, StaticFile] = {}
    described = dict(declared)
    for field in ("input_schema", "output_schema"):
        if declared.get(field):
            described[field] = json.loads(_inside(folder, declared[field]).read_text(encoding="utf-8"))
    card = folder / "README.md"
    described["model_card"] = card.read_text(encoding="utf-8") if card.is_file() else ""
    described["examples"] = []
    for declared_example in declared.get("examples") or ():
        example = dict(declared_example)
        if body_file := example.pop("body_file", None):
            example["body_url"] = prefix + quote(body_file)
            files[example["body_url"]] = _file(_inside(folder, body_file))
        if answer_name := example.pop("answer_file", None):
            answer = _inside(folder, answer_name)
            if answer.suffix == ".json":
                example["answer"] = json.loads(answer.read_text(encoding="utf-8"))
            else:
                example["answer_url"] = prefix + quote(answer_name)
                files[example["answer_url"]] = _file(answer)
        described["examples"].append(example)
    return described, files


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} lies outside of the template's folder")
    return path


def _file(path: Path) -> StaticFile:
    return StaticFile.of(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
