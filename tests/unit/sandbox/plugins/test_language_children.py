"""Programs that the language host starts end with it."""

from __future__ import annotations

from pathlib import Path

from holdfast_sandbox.plugins.language.children import Children


def test_a_program_that_is_started_while_the_host_ends_is_ended_too(tmp_path: Path) -> None:
    children = Children()
    first = children.start(["sleep", "60"], cwd=tmp_path, piped=False)
    children.end_all()
    late = children.start(["sleep", "60"], cwd=tmp_path, piped=False)
    assert first.poll() is not None
    try:
        assert late.poll() is not None
        assert children.wait(late) != 0
    finally:
        late.kill()
        late.wait()
