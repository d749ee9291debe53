"""The reference of what can be declared is what the specs say."""

from __future__ import annotations

import pytest

from pulumi_holdfast.spec import reference
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.scaling import ScalingSpec
from pulumi_holdfast.spec.shared import SharedSpec


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_the_pages_in_the_repository_are_current(name: str) -> None:
    remedy = "run: python -m pulumi_holdfast.spec.reference --write"
    assert (reference.FOLDER / f"{name}.md").read_text() == reference.page(name), remedy


def test_every_field_that_can_be_declared_has_a_row_with_its_type_and_default() -> None:
    endpoint, shared = reference.page("endpoint"), reference.page("shared")
    for page, model, hidden in (
        (endpoint, EndpointSpec, {"name", "template_ref"}),
        (shared, SharedSpec, {"name"}),
    ):
        missing = [name for name in model.model_fields if name not in hidden and f"| `{name}` |" not in page]
        assert missing == []
        assert not [name for name in hidden if f"| `{name}` | text" in page.partition("\n## `")[0]]
    timeout = ScalingSpec.model_fields["timeout_s"].default
    assert f"| `timeout_s` | whole number, 1 to 604800 | `{timeout}` | Seconds without a request" in endpoint
    assert "## `secrets.<NAME>`" in endpoint
    assert "| `visibility` | `private` or `public` | `private` | Who may call it." in endpoint


def test_every_preset_stands_there_with_its_price() -> None:
    table, page = hardware_table(), reference.page("endpoint")
    for name, preset in table.presets.items():
        assert f"| `{name}` | {preset.gpus} |" in page
    assert f"{table.region}, {table.generated}" in page


def test_the_generator_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--wrong"]) == 2
    assert "usage:" in capsys.readouterr().err
