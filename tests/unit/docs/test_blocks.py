"""Every command and snippet of the documentation is run by a test, or at least checked against what exists."""

from __future__ import annotations

from pathlib import Path

import blockcheck
import pytest
from pages import Block, blocks, shows

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("*/*/README.md"),
    )
    if not page.relative_to(ROOT).parts[0].startswith(".")
)
RUN_BY = {
    "docs/guides/calling-an-endpoint.md": "tests/services/client/test_guide.py",
    "docs/guides/sizing.md": "tests/unit/cli/test_replay.py",
    "docs/guides/templates.md": "tests/services/client/test_templates_guide.py",
    "docs/tutorial.md": "tests/cluster/platform/test_tutorial.py",
    "docs/guides/your-own-code.md": "tests/cluster/platform/test_code.py",
}
"""Which test runs the marked blocks of a page."""
CHECKS = {
    "": blockcheck.of_unnamed,
    "sh": blockcheck.of_shell,
    "console": blockcheck.of_console,
    "python": blockcheck.of_python,
}
MARKS = ("run", "beside", "file=")


def wrong_with(page: str, text: str) -> list[str]:
    """What is wrong with a page's blocks, each with its line."""
    found = [f"{page}: {one}" for one in (*blockcheck.of_settings(text), *blockcheck.of_inline(text))]
    for block in blocks(text):
        problems = _marks(page, block)
        if block.language in CHECKS:
            problems += CHECKS[block.language](block.text)
        found += [f"{page}, line {block.line}: {one}" for one in problems]
    return found


def _marks(page: str, block: Block) -> list[str]:
    if not block.mark:
        return []
    if not block.mark.startswith(MARKS):
        return [f"the mark {block.mark!r} means nothing: `run`, `beside` and `file=<path>` do"]
    if page not in RUN_BY:
        return [f"marked {block.mark!r}, and no test runs this page: write one and name it in RUN_BY"]
    return []


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/tutorial.md", "docs/guides/preview.md", "templates/ocr/README.md"} <= set(
        PAGES
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_snippet_is_run_or_names_what_exists(page: str) -> None:
    assert wrong_with(page, (ROOT / page).read_text()) == []


@pytest.mark.parametrize(("page", "test"), RUN_BY.items())
def test_a_page_that_is_run_is_named_in_its_test(page: str, test: str) -> None:
    assert f'"{Path(page).name}"' in (ROOT / test).read_text()
    assert any(block.mark for block in blocks((ROOT / page).read_text())), "and has something to run"


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("sh", "holdfast infr receipts", "no command `holdfast infr`"),
        ("sh", "holdfast infer receipts --tmings", "`holdfast infer`: No such option"),
        ("sh", "id=$(holdfast submit receipts one two)", "`holdfast submit` takes no two"),
        ("sh", "holdfast logs", "`holdfast logs`: NAME is missing"),
        ("sh", "holdfast completion tcsh", "is not one of 'bash', 'zsh', 'fish'"),
        ("sh", 'eval "$(holdfast sandbox envs)"', "no command `holdfast sandbox envs`"),
        ("sh", "ls -l && holdfast status", "`holdfast status`: NAME is missing"),
        ("console", "$ make everything\nmake nothing", "no target `make everything`"),
        ("console", "$ .venv/bin/python -m bench.sok --minutes 1", "no module for `python -m bench.sok`"),
        ("", "pulumi up -s prod", "`pulumi …` in a block without a language: say `sh` or `console`"),
        ("sh", "terraform apply", "nobody knows the program terraform"),
        (
            "sh run",
            "holdfast ls",
            "marked 'run', and no test runs this page: write one and name it in RUN_BY",
        ),
        ("sh rum", "holdfast ls", "the mark 'rum' means nothing: `run`, `beside` and `file=<path>` do"),
        ("python", "if:", "line 1 is no Python: invalid syntax"),
        ("python", "import holdfast_client\nholdfast_client.Cleint()", "holdfast_client has no Cleint"),
        ("python", "from holdfast_runtime import Sevice", "nothing to import as holdfast_runtime.Sevice"),
        ("python", "import holdfast_clent", "nothing to import as holdfast_clent"),
        ("python", 'holdfast.Endpoint("a", {…, "scale": 1})', "Endpoint has no argument scale"),
    ],
)
def test_what_is_wrong_with_a_block_is_said_with_its_line(language: str, text: str, said: str) -> None:
    told = "\n".join(wrong_with("page.md", f"A page.\n\n```{language}\n{text}\n```\n"))
    assert "page.md, line 3: " in told
    assert said in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Set `holdfast:feasability`.", "page.md: no setting holdfast:feasability"),
        ("`holdfast:observability.monitor`", "page.md: no setting holdfast:observability.monitor"),
        ("`holdfast clon` copies.", "page.md: no command `holdfast clon`"),
        ("`holdfast replay --hour 3`", "page.md: `holdfast replay` has no --hour"),
    ],
)
def test_what_is_wrong_in_running_text_is_said(text: str, said: str) -> None:
    assert wrong_with("page.md", text) == [said]


def test_what_is_right_is_not_complained_of() -> None:
    page = """
```sh
accepted=$(holdfast submit receipts ocr -d '{"n": "a
b"}' 2>/dev/null)  # isn't it
cat > x.py <<'END'
holdfast is not called here
END
curl -sS "$HOLDFAST_URL" | jq . > out && holdfast result "$id" --json
```

`holdfast:brokerSecret`, `holdfast:observability.monitors`, a type `holdfast:index:Endpoint`,
`holdfast infer … --timings`.
"""
    assert wrong_with("page.md", page) == []


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("held 2.759 s", "held     0.1 s", True),
        ("held 2.759 s", "held 2 s", False),
        ("a\n…\nb", "a\nx\ny\nb", True),
        ("replica …, attempt 1", "replica x-1, attempt 1", True),
        ("replica …, attempt 1", "replica x-1, attempt 2", False),
        ("a", "a\nb", False),
    ],
)
def test_what_a_page_shows_is_compared_but_for_figures_and_what_it_leaves_out(
    shown: str, printed: str, same: bool
) -> None:
    assert shows(shown, printed) is same
