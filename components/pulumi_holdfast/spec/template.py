"""The catalogue of templates: ready-made declarations, one folder each.

`templates/README.md` says what the fields mean.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, Field, JsonValue, ValidationError, model_validator

from pulumi_holdfast.spec.endpoint import CacheSpec, Egress, Filesystem, SizesSpec
from pulumi_holdfast.spec.model import AbsolutePath, Route, Spec, Whole
from pulumi_holdfast.spec.problems import Problem, SpecError, nearest, problem, refused, translate

_QUANTITY: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>m|Mi|Gi|)")
_TUPLES: Final = ("examples", "command", "args", "writable_paths")
_PASSED_ON: Final = ("command", "args", "cache", "egress", "filesystem", "writable_paths")
"""Fields that a clone takes over as they are, where the template declares them."""
_FACTORS: Final[Mapping[str, float]] = {"": 1.0, "m": 0.001, "Mi": 1.0, "Gi": 1024.0}


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise refused("not a quantity", 'write it as "1", "500m", "512Mi" or "2Gi"')
    return text


class Resources(Spec):
    """Kubernetes quantities that replace the preset's."""

    cpu: Annotated[str, AfterValidator(_quantity)] | None = None
    memory: Annotated[str, AfterValidator(_quantity)] | None = None

    def as_hardware(self) -> dict[str, Any]:
        """The same in the words of an endpoint's `hardware`."""
        found: dict[str, Any] = {}
        if self.cpu is not None:
            found["cpu"] = _number(self.cpu)
        if self.memory is not None:
            found["memory_mib"] = round(_number(self.memory))
        return found


class Model(Spec):
    """Which weights, and whose."""

    name: str
    source: str
    licence: str


class TemplateExample(Spec):
    """An example request: shown to people, and the contract of a clone."""

    name: str
    title: str = ""
    method: str = "POST"
    path: Route = "/"
    headers: Mapping[str, str] = Field(default_factory=dict)
    body_json: JsonValue = None
    body_file: str | None = None
    expect_status: Whole = 200
    expect_text: str | None = None
    timeout_s: Whole = 60
    answer_file: str | None = None


class Template(Spec):
    """One template, as its `template.yaml` says."""

    name: str
    version: str
    """A newer one shows up as a diff in every clone."""
    title: str
    description: str = ""
    licence: str
    model: Model
    image: str
    """`repository:tag` below the platform's template registry, or a whole reference with its digest."""
    port: Whole = 8000
    health_check_path: Route = "/healthcheck"
    hardware: str
    resources: Resources = Resources()
    command: tuple[str, ...] = ()
    """Replaces the image's entrypoint. Empty: the image's own."""
    args: tuple[str, ...] = ()
    """Replaces the image's arguments. Empty: the image's own."""
    cache: CacheSpec | None = None
    """Where weights that are fetched at the start are kept on the node. None: the image has its weights."""
    sizes: SizesSpec = SizesSpec()
    """What a cold start has to move, where the model card or the registry tells."""
    egress: Egress | None = None
    """`internet` for images that fetch their weights. None: the endpoint's default."""
    filesystem: Filesystem | None = None
    """None: the endpoint's default, read-only."""
    writable_paths: tuple[AbsolutePath, ...] = ()
    scaling: Mapping[str, Any] = Field(default_factory=dict)
    env: Mapping[str, str] = Field(default_factory=dict)
    input_schema: str | None = None
    output_schema: str | None = None
    input_path: Route = "/"
    input_encoding: Literal["json", "multipart"] = "json"
    """How the input schema's properties travel: one JSON object, or one part of a form for each."""
    examples: tuple[TemplateExample, ...] = ()
    folder: Path
    """Where the template was read from; its paths are relative to it."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        """YAML has lists where the spec has tuples."""
        if not isinstance(data, Mapping):
            return data
        lists = {key: data.get(key) or () for key in _TUPLES}
        return {
            **data,
            **{key: tuple(found) for key, found in lists.items() if isinstance(found, list | tuple)},
        }

    def endpoint_args(self) -> dict[str, Any]:
        """What a clone declares unless it says otherwise, in the words of an endpoint."""
        return {
            "port": self.port,
            "health_check_path": self.health_check_path,
            "hardware": {"preset": self.hardware, **self.resources.as_hardware()},
            "scaling": dict(self.scaling),
            "env": dict(self.env),
            "sizes": self.sizes.model_dump(exclude_none=True),
            **{field: value for field in _PASSED_ON if (value := getattr(self, field))},
            "contract": tuple(self._contract(example) for example in self.examples),
        }

    def _contract(self, example: TemplateExample) -> dict[str, Any]:
        plain = example.model_dump(exclude={"title", "body_file", "answer_file"}, exclude_none=True)
        if example.body_file is not None:
            plain["body_base64"] = base64.b64encode((self.folder / example.body_file).read_bytes()).decode()
        return plain


_SECTIONS: Final[Mapping[str, type[Spec]]] = {
    "": Template,
    "model": Model,
    "resources": Resources,
    "cache": CacheSpec,
    "sizes": SizesSpec,
    "examples": TemplateExample,
}


class Catalogue:
    """Templates by name, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        """All templates, sorted."""
        return tuple(sorted(found.parent.name for found in self._folder.glob("*/template.yaml")))

    def find(self, name: str) -> Template | None:
        """A template; None where there is none of that name. Raises SpecError for one that is wrong."""
        if name not in self.names():
            return None
        folder = self._folder / name
        try:
            data = yaml.safe_load((folder / "template.yaml").read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
            raise SpecError(f'template "{name}"', [_unreadable(str(error))]) from None
        if not isinstance(data, dict):
            raise SpecError(f'template "{name}"', [_unreadable(f"it holds a {type(data).__name__}")])
        try:
            return Template.model_validate({**data, "folder": folder})
        except ValidationError as error:
            known = {section: frozenset(model.model_fields) for section, model in _SECTIONS.items()}
            known[""] -= {"folder"}
            raise SpecError(f'template "{name}"', translate(error.errors(include_url=False), known)) from None

    def nearest(self, name: str) -> str:
        """The remedy for a name that is not there."""
        known = self.names()
        return nearest(name, known) if known else f"no templates are installed in {self._folder}"


def _unreadable(why: str) -> Problem:
    return problem("template.yaml", why, "is not a mapping in YAML", "see templates/README.md for its form")


def _number(text: str) -> float:
    match = _QUANTITY.fullmatch(text)
    assert match is not None  # the field's validator has seen it
    return float(match["number"]) * _FACTORS[match["unit"]]


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue that ships with this version: package data, else the repository's `templates/`."""
    packaged = Path(str(resources.files("pulumi_holdfast").joinpath("templates")))
    return Catalogue(packaged if packaged.is_dir() else Path(__file__).parents[3] / "templates")
