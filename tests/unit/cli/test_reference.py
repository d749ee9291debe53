"""The reference page is what the command says of itself."""

from __future__ import annotations

import pytest

from holdfast_cli import reference
from holdfast_cli.exits import Exit


def test_the_page_in_the_repository_is_current() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run: python -m holdfast_cli.reference --write"


def test_every_command_option_and_exit_code_stands_in_it() -> None:
    page = reference.page()
    for heading in ("# holdfast infer\n", "# holdfast sandbox up\n", "# holdfast token new\n"):
        assert heading in page
    assert "`--timings`" in page
    assert all(f"| {code.value} |" in page for code in Exit)


def test_the_generator_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--wrong"]) == 2
    assert "usage:" in capsys.readouterr().err
