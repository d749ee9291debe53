"""Writes the reference of the command from the command itself: `python -m holdfast_cli.reference --write`.

Without `--write` it prints the page. A test compares the page in the repository with what this makes.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from holdfast_cli.exits import MEANINGS
from holdfast_cli.main import PROGRAM, cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
"""Where the page stands in a checkout."""

_HEAD = """# The command `holdfast`

<!-- Made by `python -m holdfast_cli.reference --write` from the command itself: edit that, not this. -->

Results go to standard output, everything said to people to standard error. `--json` gives one JSON document.
Colours and progress appear on a terminal only, colours not where `NO_COLOR` is set. An error is one line that says what
is wrong and, where there is one, a line that says what to do next.

Where the gateway is and which token to send is read, in this order, from the options `--url` and `--token-file`, the
variables `HOLDFAST_URL` and `HOLDFAST_TOKEN` (or `HOLDFAST_TOKEN_FILE`), and the file `~/.config/holdfast/config.toml`
(or the one that `HOLDFAST_CONFIG` names). A token is never given as an argument: every user of a machine sees those.

```toml
url = "https://gateway.example.com"
token = "hf_…"

[tokens]           # for endpoints that have their own
receipts = "hf_…"
```

Tokens of the file are sent to the file's `url` and to no other gateway that `--url` or `HOLDFAST_URL` names.

Completion: `eval "$(holdfast completion bash)"` in `~/.bashrc`; `zsh` and `fish` likewise.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## Exit codes\n\n| code | meaning |\n|---|---|"]
    parts[-1] += "".join(f"\n| {code.value} | {text} |" for code, text in MEANINGS.items()) + "\n"
    root = click.Context(cli, info_name=PROGRAM)
    for name, command in cli.commands.items():
        parts += _sections(command, click.Context(command, info_name=name, parent=root))
    return "\n".join(parts)


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """A section for a command, and one for each command of a group."""
    level = "#" * (1 + context.command_path.count(" "))
    yield f"{level} {context.command_path}\n\n{_text(command.help or '')}\n"
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _sections(child, click.Context(child, info_name=name, parent=context))
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{context.command_path} {usage}".rstrip() + "\n```\n"
    rows = [_row(one, context) for one in command.params if isinstance(one, click.Option)]
    if rows:
        yield "| option | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None  # no option here is hidden
    names, text = (re.sub(r"\s+", " ", part).replace("|", "\\|") for part in record)
    return f"| `{names}` | {text} |"


def _text(text: str) -> str:
    """Help as Markdown: paragraphs in one line each, blocks that click must not wrap as code."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = paragraph.splitlines()
        if lines[0].strip() != "\b":
            parts.append(" ".join(line.strip() for line in lines))
            continue
        prose = [line.strip() for line in lines[1:] if not line.startswith("    ")]
        code = [line.strip() for line in lines[1:] if line.startswith("    ")]
        parts.append(" ".join(prose) + ("\n\n```sh\n" + "\n".join(code) + "\n```" if code else ""))
    return "\n\n".join(parts)


def main(arguments: list[str]) -> int:
    """Print the page, or write it where it belongs."""
    if arguments == ["--write"]:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page())
        return 0
    if arguments:
        click.echo("usage: python -m holdfast_cli.reference [--write]", err=True)
        return 2
    click.echo(page(), nl=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
