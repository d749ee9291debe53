"""What a change of inputs means for a resource."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast_sandbox.plugins.aws.differences import DEFAULTS, covers, difference, same
from holdfast_sandbox.plugins.aws.model import Call, Row, Tags, Update
from holdfast_sandbox.plugins.aws.wire import UNKNOWN

NOTHING = Call("nothing", {})
ROW = Row(
    token="aws:test/thing:Thing",
    service="test",
    create=NOTHING,
    identity="Id",
    read=NOTHING,
    outputs={"name": "Name", "size": "Size", "zone": "Zone", "policy": "Policy"},
    updates=(Update(("size", "policy"), NOTHING),),
    delete=NOTHING,
    tags=Tags(),
    name="name",
    unique=("zone",),
    local=frozenset({"forceDestroy"}),
    json=frozenset({"policy"}),
)
OLD: dict[str, Any] = {"name": "a", "size": 1, "zone": "x", "policy": '{"a": 1}', "tags": {"t": "1"}}


def _difference(new: dict[str, Any], tags: Any = None) -> Any:
    return difference(ROW, OLD, new, {"t": "1"}, new.get("tags") if tags is None else tags)


def test_nothing_changes_where_nothing_changed() -> None:
    found = _difference(dict(OLD))
    assert (found.changed, found.replacing) == ((), ())


def test_what_an_update_covers_changes_in_place() -> None:
    found = _difference({**OLD, "size": 2, "forceDestroy": True})
    assert (found.changed, found.replacing) == (("forceDestroy", "size"), ())


def test_everything_else_replaces() -> None:
    assert _difference({**OLD, "zone": "y"}).replacing == ("zone",)


def test_a_document_is_compared_by_meaning() -> None:
    assert _difference({**OLD, "policy": '{ "a":1 }'}).changed == ()
    assert _difference({**OLD, "policy": '{"a": 2}'}).changed == ("policy",)


def test_default_tags_of_the_provider_count() -> None:
    assert _difference(dict(OLD), tags={"t": "1", "owner": "platform"}).changed == ("tags",)


def test_an_unknown_value_counts_as_changed() -> None:
    assert _difference({**OLD, "zone": UNKNOWN}).replacing == ("zone",)


def test_what_the_stand_in_does_not_model_never_replaces() -> None:
    found = _difference({**OLD, "acceleration": "on"})
    assert (found.changed, found.replacing) == (("acceleration",), ())


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"zone": "y"}, True),  # the name was given and stays: it would be taken
        ({"name": "b"}, True),  # the zone stays, and a zone holds only one
        ({"name": "b", "zone": "y"}, False),
        ({"zone": "y", DEFAULTS: ["name"]}, False),  # a made-up name is made up anew
    ],
)
def test_a_replacement_deletes_first_where_both_cannot_be_there(change: dict[str, Any], first: bool) -> None:
    assert _difference({**OLD, **change}).delete_first is first


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (None, ""),
        (None, []),
        (None, False),
        (None, {}),
        (["a", "b"], ["b", "a"]),
        ("443", 443),
        ({"a": 1, "b": None}, {"a": 1.0}),
    ],
)
def test_these_mean_the_same(left: Any, right: Any) -> None:
    assert same(left, right)
    assert same(right, left)


@pytest.mark.parametrize(("left", "right"), [(None, 0), (["a"], ["a", "a"]), ("a", "b"), (True, None)])
def test_these_do_not(left: Any, right: Any) -> None:
    assert not same(left, right)


def test_what_was_found_may_have_more_than_what_was_wanted() -> None:
    assert covers({"a": 1}, {"a": 1, "added": 2})
    assert covers([{"a": 1}], [{"a": 1, "added": 2}])
    assert not covers({"a": 1, "b": 2}, {"a": 1})
    assert not covers([{"a": 1}], [{"a": 1}, {"a": 2}])
