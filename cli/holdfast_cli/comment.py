"""A preview as the comment of a pull request: Markdown, the summary first, never longer than a comment may be.

Pure: the same plan and facts give the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast_cli.previewplan import OTHERS, Group, Plan, Scale
from holdfast_contract.secretlike import holds_secret

MAX_BYTES: Final = 60_000
"""Comments above 65,536 characters are refused (pulumi/actions#482); bytes, so that no way of counting is above."""
_TABLE_BYTES: Final = 40_000
_NOTES_BYTES: Final = 8_000
_ESCAPED: Final = str.maketrans(
    {char: f"&#{ord(char)};" for char in "&<>|`*_[]\\@#~!"} | {"\n": " ", "\r": " ", "\t": " "}
)
"""Also `@`: a name in a comment calls nobody."""


class Verdict(StrEnum):
    """What the change in cost means."""

    NOTICE = "notice"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the preview itself does not know."""

    commit: str = ""
    time: str = ""
    warn_above_usd_month: float | None = None
    """The ceiling's change from which on the comment warns; None: never."""
    fail_above_usd_month: float | None = None


def verdict(plan: Plan, facts: Facts) -> Verdict:
    """By the change of the whole ceiling."""
    delta = total(plan, "ceiling_usd_month")
    if facts.fail_above_usd_month is not None and delta > facts.fail_above_usd_month:
        return Verdict.FAIL
    if facts.warn_above_usd_month is not None and delta > facts.warn_above_usd_month:
        return Verdict.WARN
    return Verdict.NOTICE


def total(plan: Plan, what: str) -> float:
    """The change of all endpoints' known cost."""
    return round(sum(group.delta(what) or 0.0 for group in plan.endpoints), 2)


def marker(plan: Plan) -> str:
    """Hidden in the comment: by it, the next one finds this and takes its place."""
    return f"<!-- holdfast-preview {_escaped(plan.project)}/{_escaped(plan.stack)} -->"


def comment(plan: Plan, facts: Facts | None = None) -> str:
    """The comment. At most MAX_BYTES long as UTF-8: details are left out first, and it says so."""
    facts = facts or Facts()
    changed = [group for group in plan.groups if group.changed]
    head = [marker(plan), "", _headline(plan, changed, facts), ""]
    foot = ["", *_notes(plan), "", _footer(plan, facts), ""]
    if not changed:
        return "\n".join([*head[:3], *foot])
    table = _table([group for group in changed if group.name != OTHERS])
    left = MAX_BYTES - _size([*head, *table, "", *foot]) - 200
    return "\n".join([*head, *table, "", *_details(changed, left), *foot])


def _headline(plan: Plan, changed: Sequence[Group], facts: Facts) -> str:
    where = f"**{_escaped(plan.stack) or 'preview'}**"
    if plan.failed:
        return f"❌ {where}: the preview failed; what follows is what it had found until then"
    if not changed:
        return f"✅ {where}: nothing changes"
    endpoints = [group for group in changed if group.name != OTHERS]
    replaced = sum(len(group.replaced) + (group.op == "replace") for group in changed)
    mark = {Verdict.NOTICE: "🔹", Verdict.WARN: "⚠️", Verdict.FAIL: "⛔"}[verdict(plan, facts)]
    parts = [f"{mark} {where}: {_count(len(endpoints), 'endpoint')} of {len(plan.endpoints)} change"]
    if replaced:
        parts.append(f"🔥 **{_count(replaced, 'resource')} REPLACED** (deleted and made anew)")
    for what, word in (("ceiling_usd_month", "at most"), ("floor_usd_month", "at least")):
        parts.append(f"**{_delta(total(plan, what))} $ a month** {word}")
    return " · ".join(parts)


def _table(groups: Sequence[Group]) -> list[str]:
    if not groups:
        return []
    head = [
        "| endpoint | change | replicas | floor $/month | ceiling $/month | Δ ceiling | replaced |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    order = sorted(
        groups, key=lambda g: (not _replaces(g), -abs(g.delta("ceiling_usd_month") or 0.0), g.name)
    )
    rows = [_row(group) for group in order]
    kept, left = _fitting(rows, _TABLE_BYTES)
    more = [f"\n… and {_count(left, 'endpoint')} with smaller changes."] if left else []
    return [*head, *kept, *more]


def _replaces(group: Group) -> bool:
    return bool(group.replaced) or group.op == "replace"


def _row(group: Group) -> str:
    replaced = f"🔥 {len(group.replaced) + (group.op == 'replace')}" if _replaces(group) else ""
    delta = group.delta("ceiling_usd_month")
    cells = [
        _escaped(group.name),
        _change(group),
        _pair(group, _replicas),
        _pair(group, lambda scale: _usd(scale.floor_usd_month)),
        _pair(group, lambda scale: _usd(scale.ceiling_usd_month)),
        "?" if delta is None else _delta(delta),
        replaced,
    ]
    return f"| {' | '.join(cells)} |"


def _change(group: Group) -> str:
    return _escaped(group.op) if group.op != "same" else "parts"


def _pair(group: Group, shown: Callable[[Scale], str]) -> str:
    before, after = (shown(side) if side else None for side in (group.before, group.after))
    if before is not None and after is not None and before != after:
        return f"{before} → {after}"
    return after or before or ""


def _replicas(scale: Scale) -> str:
    return f"{scale.min_replicas}–{scale.max_replicas}"


def _usd(value: float | None) -> str:
    return "?" if value is None else f"{value:,.2f}"


def _delta(value: float) -> str:
    return f"{value:+,.2f}" if value else "±0"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _details(groups: Sequence[Group], room: int) -> list[str]:
    """A fold for each group; those that do not fit are counted."""
    order = sorted(groups, key=lambda group: (not _replaces(group), group.name == OTHERS, group.name))
    kept, left = _fitting([_fold(group) for group in order], room)
    return [
        *kept,
        *([f"Details of {left:,} more are left out: the comment would be too long."] if left else []),
    ]


def _fold(group: Group) -> str:
    title = _escaped(group.name) if group.name != OTHERS else "beside the endpoints"
    lines = [
        f"- {'🔥 **replace**' if step.replaces else _escaped(step.op)} {_escaped(step.type)} {_escaped(step.name)}"
        for step in group.steps
    ]
    shown, left = _fitting(lines, 6_000)
    more = [f"- … and {left:,} more"] if left else []
    body = "\n".join([*shown, *more]) or "- only what it declares"
    return (
        f"<details><summary>{title}: {_count(len(group.steps), 'resource')}</summary>\n\n{body}\n\n</details>"
    )


def _notes(plan: Plan) -> list[str]:
    """What was refused, what deserves to be known, and what could not be checked."""
    lines: list[str] = []
    for what, title in (
        ("refused", "Refused"),
        ("warning", "Deserves to be known"),
        ("not checked", "Not checked"),
    ):
        found = [
            f"- {_escaped(endpoint)}: {_escaped(text)}"
            for endpoint, kind, text in plan.told
            if kind == what and not holds_secret(text)
        ]
        unpriced = [g.name for g in plan.endpoints if g.after and g.after.ceiling_usd_month is None]
        if what == "not checked":
            found += [f"- {_escaped(name)}: cost: no price for its machines" for name in unpriced]
        if found:
            kept, left = _fitting(found, _NOTES_BYTES // 3)
            lines += [f"**{title}**", "", *kept, *([f"- … and {left:,} more"] if left else []), ""]
    return lines


def _footer(plan: Plan, facts: Facts) -> str:
    sides = [
        side for group in plan.endpoints for side in (group.after, group.before) if side and side.prices_from
    ]
    prices = sorted({f"{side.prices_from} {side.region}".strip() for side in sides})
    parts = [
        f"commit {_escaped(facts.commit[:40])}" if facts.commit else "",
        _escaped(facts.time[:40]),
        f"on-demand prices of {', '.join(prices[:3])}, machines only" if prices else "",
        "from `pulumi preview`: operations, types and names; no property of any resource",
    ]
    return f"<sub>{' · '.join(part for part in parts if part)}</sub>"


def _escaped(text: str) -> str:
    """Text that a user chose, as plain words in Markdown; at most 400 characters of it."""
    shown = text if len(text) <= 400 else text[:399] + "…"
    plain = "".join(char if char.isprintable() or char in "\n\r\t" else "�" for char in shown)
    # Nothing becomes a link by itself either.
    return plain.translate(_ESCAPED).replace("://", "&#58;//").replace("www.", "www&#46;")


def _fitting(lines: Iterable[str], room: int) -> tuple[list[str], int]:
    """The first lines that fit into so many bytes, and how many do not."""
    kept: list[str] = []
    left = 0
    for line in lines:
        size = _size([line])
        if left or size > room:
            left += 1
            continue
        room -= size
        kept.append(line)
    return kept, left


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
