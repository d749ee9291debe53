"""What changed between two sets of properties, and what that means for the resource. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Row
from holdfast_sandbox.plugins.aws.wire import Unknown, has_unknown

DEFAULTS: Final = "__defaults"
"""An input that lists those which the provider made up, as Pulumi's bridged providers write it."""
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,14})", re.ASCII)
"""As a number is written, and nothing else: 0042 is an account or a password."""
_IGNORED: Final = frozenset({DEFAULTS, "tagsAll"})


@dataclass(frozen=True, slots=True)
class Difference:
    """What an update has to do."""

    changed: tuple[str, ...]
    """Names of inputs, sorted."""
    replacing: tuple[str, ...]
    """Those which cannot be changed in place."""
    delete_first: bool
    """Whether a replacement has to delete before it creates."""


def difference(
    row: Row, old: Mapping[str, Any], new: Mapping[str, Any], old_tags: Mapping[str, str], new_tags: Any
) -> Difference:
    """Compare inputs; `old_tags` and `new_tags` are complete, with the provider's default tags."""
    names = {*old, *new} - _IGNORED - {"tags"}
    old_values, new_values = {**row.usual, **old}, {**row.usual, **new}
    changed = {
        name for name in names if not same(old_values.get(name), new_values.get(name), name in row.json)
    }
    changed -= {name for name in _left_to_aws(row, old) if new.get(name) is None}
    if row.tags and not same(dict(old_tags), new_tags):
        changed.add("tags")
    updatable = {name for update in row.updates for name in update.properties} | row.local
    if row.tags:
        updatable.add("tags")
    # What the stand-in does not model has no effect, so changing it must not replace anything.
    unmodelled = changed - row.known_inputs()
    replacing = changed - updatable - unmodelled
    return Difference(
        tuple(sorted(changed)),
        tuple(sorted(replacing)),
        bool(replacing) and _in_each_others_way(row, old, new),
    )


def _left_to_aws(row: Row, old: Mapping[str, Any]) -> set[str]:
    """Properties that need not be declared to stay: those that AWS decides, and what an import found and filled in.

    An import marks what only a replacement could change (see `operations.inputs_from`): a program that relies on
    AWS's default there declares the same resource.
    """
    filled_in = set(old.get(DEFAULTS) or ()) - {row.name}
    return {*row.computed, *filled_in}


def _in_each_others_way(row: Row, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if row.name and row.name not in (new.get(DEFAULTS) or ()) and same(old.get(row.name), new.get(row.name)):
        return True
    return bool(row.unique) and all(same(old.get(name), new.get(name)) for name in row.unique)


def same(left: Any, right: Any, as_json: bool = False) -> bool:
    """Whether two values mean the same. Missing, empty and false are the same; lists are sets, as AWS has them."""
    if has_unknown(left) or has_unknown(right):
        return isinstance(left, Unknown) and isinstance(right, Unknown)
    if as_json:
        left, right = _parsed(left), _parsed(right)
    return bool(_comparable(left) == _comparable(right))


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _comparable(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {str(name): _comparable(item) for name, item in value.items() if name != DEFAULTS}
        return {name: item for name, item in kept.items() if item is not None} or None
    if isinstance(value, list | tuple):
        items = [_comparable(item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True, default=str)) or None
    if value is False or value == "":
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        # Pulumi's schema and the API disagree now and then on whether a port is a number.
        return float(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    return value


def covers(wanted: Any, found: Any) -> bool:
    """Whether what was found has everything that is wanted: the API adds defaults to what it was given."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(covers(item, found.get(name)) for name, item in wanted.items() if name != DEFAULTS)
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        left = list(found)
        for item in wanted:
            match = next((other for other in left if covers(item, other)), None)
            if match is None:
                return False
            left.remove(match)
        return True
    return same(wanted, found)
