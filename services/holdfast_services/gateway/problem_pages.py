"""A page for every kind of problem: `/problems` lists them, `/problems/<slug>` says cause and remedy of one.

`python -m holdfast_services.gateway.problem_pages --write` writes the same as `docs/reference/problems.md`.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from holdfast_contract import problems
from holdfast_contract.problems import Problem
from holdfast_services.gateway.core.refusal import Answer, Refusal
from holdfast_services.gateway.page import PAGE_HEADERS, StaticFile, answer_file

__all__ = ["PATH_PROBLEMS", "answer", "markdown"]

PATH_PROBLEMS: Final = "/problems"
PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "reference" / "problems.md"
"""Where the reference stands in a checkout."""

_HEAD: Final = """# Problems

<!-- Made by `python -m holdfast_services.gateway.problem_pages --write` from the contract: edit that, not this. -->

Every error of the gateway is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) document, \
`application/problem+json`: `type` names the kind, `detail` says what was wrong in this case, `remedy` what to do, \
and `request_id` which request it was. `x-should-retry` says whether sending the same again can help and is safe. \
Every gateway serves this page at `/problems`, and each kind at `/problems/<its name>`.

An answer with the header `x-replica` that is no problem document is the model's own, whatever its status.
"""


def markdown() -> str:
    """The reference page."""
    rows = "".join(
        f"| {kind.status} | [`{kind.slug}`](#{kind.slug}) | {kind.title} | {_again(kind)} |\n"
        for kind in problems.ALL
    )
    sections = "".join(
        f"\n## {kind.slug}\n\n{kind.status}: {kind.title}.\n\n**Cause.** {kind.cause}\n\n"
        f"**What to do.** {kind.remedy}\n\n**Retry.** {_retry(kind)}\n"
        for kind in problems.ALL
    )
    return f"{_HEAD}\n| status | kind | | retry |\n|---|---|---|---|\n{rows}{sections}"


def _again(kind: Problem) -> str:
    return "yes" if kind.retry else "no"


def _retry(kind: Problem) -> str:
    if kind.retry:
        return "The same request may be sent again; `Retry-After` says when, where that is known."
    return "Sending the same request again does not help, or could run it twice (`x-should-retry: false`)."


def answer(path: str, if_none_match: str | None = None) -> Answer | None:
    """The answer to GET; None where the path is not one of these. Raises Refusal for a kind that does not exist."""
    path = path.rstrip("/")
    if path != PATH_PROBLEMS and not path.startswith(PATH_PROBLEMS + "/"):
        return None
    file = _FILES.get(path)
    if file is None:
        raise Refusal(problems.NOT_FOUND, f"there is no {path[:200]}: {PATH_PROBLEMS} lists every kind")
    return answer_file(file, if_none_match, PAGE_HEADERS)


def _page(title: str, body: str) -> StaticFile:
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="stylesheet" href="/page/style.css">\n'
        '</head>\n<body>\n<header><a class="brand" href="/">holdfast</a><nav aria-label="Main">'
        '<a href="/docs">HTTP interface</a><a href="/problems">Problems</a></nav></header>\n'
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    return StaticFile.of(text.encode(), "text/html; charset=utf-8")


def _html(text: str) -> str:
    """Text with its `code` marked up."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def _one(kind: Problem) -> StaticFile:
    part: Callable[[str, str], str] = lambda head, text: f"<h2>{head}</h2>\n<p>{_html(text)}</p>\n"  # noqa: E731
    body = (
        f'<p class="crumb"><a href="{PATH_PROBLEMS}">All problems</a></p>\n<h1>{html.escape(kind.title)}</h1>\n'
        f"<p><code>{kind.slug}</code>, status {kind.status}</p>\n"
        + part("Cause", kind.cause)
        + part("What to do", kind.remedy)
        + part("Retry", _retry(kind))
    )
    return _page(f"{kind.title} · holdfast", body)


def _all() -> StaticFile:
    rows = "".join(
        f'<tr><td>{kind.status}</td><td><a href="{PATH_PROBLEMS}/{kind.slug}">{html.escape(kind.title)}</a></td>'
        f"<td>{_again(kind)}</td></tr>\n"
        for kind in problems.ALL
    )
    head = '<tr><th scope="col">Status</th><th scope="col">Problem</th><th scope="col">Retry</th></tr>'
    return _page("Problems · holdfast", f'<h1>Problems</h1>\n<table class="plain">\n{head}\n{rows}</table>')


_FILES: Final = {
    PATH_PROBLEMS: _all(),
    **{f"{PATH_PROBLEMS}/{kind.slug}": _one(kind) for kind in problems.ALL},
}


def main(arguments: list[str]) -> int:
    """Prints the reference, or writes it with `--write`; 2 for anything else."""
    if arguments == ["--write"]:
        PAGE.write_text(markdown())
    elif arguments:
        print("usage: python -m holdfast_services.gateway.problem_pages [--write]", file=sys.stderr)
        return 2
    else:
        print(markdown(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
