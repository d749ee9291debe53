"""Resources that the AWS stand-in lacks: what was declared is written down in it, and nothing acts on it.

The notes are objects in a bucket of the stand-in itself. So they live exactly as long as everything else in it, and
a restart of the stand-in cannot leave a note of something that is gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from botocore.exceptions import ClientError

from holdfast_sandbox.plugins.aws.model import Client, Extract, Row, Tags, Update, Values

BUCKET: Final = "holdfast-stand-in-records"


def recorded(
    token: str,
    *,
    identity: Callable[[Values], str],
    properties: tuple[str, ...],
    computed: Mapping[str, Callable[[Values], Any]],
    required: tuple[str, ...],
    fixed: tuple[str, ...],
    tagged: bool = False,
) -> Row:
    """A row for such a type. `fixed`: inputs whose change means replacement."""

    def put(client: Client, values: Values) -> None:
        _make_bucket(client)
        named = Values(values.properties, values.id or identity(values), values.session)
        note = {name: named.get(name) for name in properties}
        note |= {name: function(named) for name, function in computed.items()}
        _write(client, token, named.id, note)

    def read(client: Client, values: Values) -> Any:
        return json.loads(client.get_object(Bucket=BUCKET, Key=_key(token, values.id))["Body"].read())

    def delete(client: Client, values: Values) -> None:
        client.delete_object(Bucket=BUCKET, Key=_key(token, values.id))

    def replace_tags(client: Client, values: Values, tags: Mapping[str, str]) -> None:
        _write(client, token, values.id, {**read(client, values), "@tags": dict(tags)})

    def change(client: Client, values: Values) -> None:
        tags = read(client, values).get("@tags", {})
        put(client, values)
        replace_tags(client, values, tags)

    changeable = tuple(name for name in properties if name not in fixed)
    outputs: dict[str, Extract] = {name: name for name in (*properties, *computed)}
    return Row(
        token=token,
        service="s3",
        required=required,
        unique=fixed,
        create=put,
        identity=lambda _answer, values: identity(values),
        read=read,
        outputs=outputs,
        updates=(Update(changeable, change),) if changeable else (),
        delete=delete,
        tags=Tags(replace=replace_tags, path='"@tags"', key="") if tagged else None,
        recorded=True,
    )


def _make_bucket(client: Client) -> None:
    region = client.meta.region_name
    # S3 takes no constraint in its first region, and wants one in every other.
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
    try:
        client.create_bucket(Bucket=BUCKET, **place)
    except ClientError as error:
        # One bucket serves all regions.
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise


def _key(token: str, identity: str) -> str:
    return f"{token}/{quote(identity, safe='')}"


def _write(client: Client, token: str, identity: str, note: Mapping[str, Any]) -> None:
    client.put_object(Bucket=BUCKET, Key=_key(token, identity), Body=json.dumps(note).encode())
