"""Executes rows: create, read, update and delete one resource through the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import jmespath  # type: ignore[import-untyped]
from botocore.exceptions import ClientError

from holdfast_sandbox.plugins.aws.differences import DEFAULTS, covers, same
from holdfast_sandbox.plugins.aws.model import Action, Call, Client, Extract, Row, Session, Source, Values
from holdfast_sandbox.plugins.aws.session import ProviderError, is_missing

COMPLETE_TAGS: Final = "@tags"
"""While something is created: its tags with the provider's default ones, for calls that want them at once."""


def create(
    row: Row, session: Session, inputs: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Create it; returns id and properties. What fails after `row.create` is taken back."""
    client = session.client(row.service, inputs.get("region"))
    values = Values({**inputs, COMPLETE_TAGS: dict(tags)}, "", session)
    answer = _act(client, row.create, values)
    identity = str(_extract(row.identity, answer, values))
    try:
        made = Values(inputs, identity, session)
        for update in row.updates:
            if update.after_create and any(inputs.get(name) is not None for name in update.properties):
                _act(client, update.action, made)
        found = _find(row, client, made)
        if row.tags and tags:
            complete = Values({**inputs, **_outputs(row, found, made)}, identity, session)
            _change_tags(row, client, complete, {}, tags)
        properties = read(row, session, identity, inputs, tags_of_provider(inputs, tags))
    except Exception:
        with suppress(ClientError):
            _act(client, row.take_back or row.delete, Values(inputs, identity, session))
        raise
    assert properties is not None, "what was just created is there"
    return identity, properties


def read(
    row: Row,
    session: Session,
    identity: str,
    known: Mapping[str, Any],
    default_tags: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """What is there now, over what is known of it; None where it is gone.

    A property that means the same as before keeps its old spelling. `default_tags` are the provider's own, which
    are not the resource's.
    """
    client = session.client(row.service, known.get("region"))
    values = Values(known, identity, session)
    found = _find(row, client, values)
    if found is None:
        return None
    now = _outputs(row, found, values)
    for name, value in list(now.items()):
        if name in known and _still(known[name], value, name in row.json):
            now[name] = {**value, **known[name]} if name in row.adds else known[name]
    if row.tags:
        present = _read_tags(row, client, Values({**known, **now}, identity, session), found)
        now["tagsAll"] = present
        own = known.get("tags") or {}
        now["tags"] = {k: v for k, v in present.items() if k in own or k not in (default_tags or {})}
    properties = {**known, **now, "region": known.get("region") or session.region}
    properties.pop(DEFAULTS, None)
    return {name: value for name, value in properties.items() if value is not None}


def tags_of_provider(inputs: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, str]:
    """Of the complete tags, those that the resource itself does not declare."""
    own = inputs.get("tags") or {}
    return {name: value for name, value in tags.items() if name not in own}


def _still(known: Any, value: Any, as_json: bool) -> bool:
    return same(known, value, as_json) or (not as_json and covers(known, value))


def update(
    row: Row,
    session: Session,
    identity: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    changed: Iterable[str],
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """Bring it from `old` (its state) to `new` (its inputs); returns its properties."""
    client = session.client(row.service, new.get("region"))
    wanted = set(changed)
    # What is no longer declared must not live on as what it was.
    dropped = {name for name in wanted if name not in new}
    kept = {name: value for name, value in old.items() if name not in dropped}
    values = Values({**kept, **new}, identity, session)
    for one in row.updates:
        if wanted & set(one.properties):
            _act(client, one.action, values)
    if row.tags and "tags" in wanted:
        _change_tags(row, client, values, old.get("tagsAll") or {}, tags)
    known = {name: value for name, value in {**kept, **new}.items() if name not in row.unsure}
    properties = read(row, session, identity, known, tags_of_provider(new, tags))
    if properties is None:
        raise ProviderError(f"{row.token}: {identity} is gone since the last look: run `pulumi refresh`")
    return properties


def delete(row: Row, session: Session, identity: str, properties: Mapping[str, Any]) -> None:
    """Delete it; nothing happens where it is gone already."""
    client = session.client(row.service, properties.get("region"))
    try:
        _act(client, row.delete, Values(properties, identity, session))
    except ClientError as error:
        if not is_missing(error):
            raise


def inputs_from(
    row: Row, properties: Mapping[str, Any], old_inputs: Mapping[str, Any], old_state: Mapping[str, Any]
) -> dict[str, Any]:
    """The inputs that would declare what was read: those that were declared, or all where nothing was (import).

    What the API showed before and shows no longer was removed from outside. What it never showed counts as there.
    """
    if not old_inputs:
        return _imported(row, properties)
    removed = {name for name in row.outputs if name in old_state and name not in properties}
    kept = {name: properties.get(name, value) for name, value in old_inputs.items() if name not in removed}
    declared = {name for name in row.adds & kept.keys() if covers(old_inputs[name], kept[name])}
    kept |= {name: old_inputs[name] for name in declared}
    return {name: value for name, value in kept.items() if value is not None}


def _imported(row: Row, properties: Mapping[str, Any]) -> dict[str, Any]:
    in_place = {name for update in row.updates for name in update.properties}
    at_creation = {*row.inputs, *row.computed}
    if isinstance(row.create, Call):
        at_creation |= {source for source in row.create.parameters.values() if isinstance(source, str)}
    always = {*row.required, *([row.name] if row.name else []), *(["tags"] if row.tags else [])}
    settable = {*in_place, *at_creation, *always}
    inputs = {name: value for name, value in properties.items() if name in settable and not same(value, None)}
    filled_in = sorted((at_creation - in_place - always) & inputs.keys())
    return {**inputs, DEFAULTS: filled_in} if filled_in else inputs


# One call.


def _act(client: Client, action: Action, values: Values) -> Any:
    if not isinstance(action, Call):
        return action(client, values)
    parameters = {name: _source(source, values) for name, source in action.parameters.items()}
    return getattr(client, action.method)(
        **{name: value for name, value in parameters.items() if value is not None}
    )


def _source(source: Source, values: Values) -> Any:
    if not isinstance(source, str):
        return source(values)
    return values.id if source == "@id" else values.get(source)


def _extract(extract: Extract, found: Any, values: Values) -> Any:
    return jmespath.search(extract, found) if isinstance(extract, str) else extract(found, values)


def _find(row: Row, client: Client, values: Values) -> Any:
    try:
        answer = _act(client, row.read, values)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return None if answer is None else _extract(row.found, answer, values)


def _outputs(row: Row, found: Any, values: Values) -> dict[str, Any]:
    return {name: _extract(extract, found, values) for name, extract in row.outputs.items()}


# Tags.


def _owner(row: Row, values: Values) -> dict[str, Any]:
    assert row.tags is not None, "only called for rows with tags"
    parameter, source = row.tags.owner
    owner = _source(source, values)
    return {parameter: [owner] if row.tags.plural else owner}


def _listed(row: Row, tags: Mapping[str, str]) -> Any:
    assert row.tags is not None, "only called for rows with tags"
    if not row.tags.key:
        return dict(tags)
    return [{row.tags.key: name, row.tags.value: value} for name, value in tags.items()]


def _change_tags(
    row: Row, client: Client, values: Values, old: Mapping[str, str], new: Mapping[str, str]
) -> None:
    assert row.tags is not None, "only called for rows with tags"
    if row.tags.replace is not None:
        row.tags.replace(client, values, new)
        return
    _remove_tags(row, client, values, [name for name in old if name not in new])
    _add_tags(row, client, values, {name: value for name, value in new.items() if old.get(name) != value})


def _add_tags(row: Row, client: Client, values: Values, tags: Mapping[str, str]) -> None:
    if row.tags and tags:
        parameters = {**_owner(row, values), row.tags.tags_parameter: _listed(row, tags)}
        getattr(client, row.tags.add)(**parameters)


def _remove_tags(row: Row, client: Client, values: Values, names: list[str]) -> None:
    if row.tags and names:
        gone = [{row.tags.key: name} for name in names] if row.tags.remove_by_tags else names
        getattr(client, row.tags.remove)(**_owner(row, values), **{row.tags.keys_parameter: gone})


def _read_tags(row: Row, client: Client, values: Values, found: Any) -> dict[str, str]:
    assert row.tags is not None, "only called for rows with tags"
    source = found
    if row.tags.read is not None:
        try:
            source = _act(client, row.tags.read, values)
        except ClientError as error:
            # S3 answers NoSuchTagSet where there are none.
            if not is_missing(error):
                raise
            return {}
    listed = jmespath.search(row.tags.path, source) or []
    if not row.tags.key:
        tags = dict(listed or {})
    else:
        tags = {item[row.tags.key]: item.get(row.tags.value, "") for item in listed}
    return {name: value for name, value in tags.items() if not name.startswith(row.tags.ignored)}
