"""SQS queues, and EventBridge rules that put events into them."""

from __future__ import annotations

from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Tags, Update, Values
from holdfast_sandbox.plugins.aws.session import ProviderError

_TARGET_TOKEN: Final = "aws:cloudwatch/eventTarget:EventTarget"
_USUAL_RETENTION_S: Final = 345_600
"""Four days: what SQS gives a queue that asks for nothing."""


def _settings(values: Values) -> dict[str, str]:
    given = {
        "MessageRetentionPeriod": values.get("messageRetentionSeconds"),
        "SqsManagedSseEnabled": values.get("sqsManagedSseEnabled"),
    }
    return {name: str(value).lower() for name, value in given.items() if value is not None}


def _changed_settings(values: Values) -> dict[str, str]:
    # A setting left out of the call would keep its old value.
    return {"MessageRetentionPeriod": str(_USUAL_RETENTION_S), **_settings(values)}


def _read_queue(client: Client, values: Values) -> Any:
    return client.get_queue_attributes(QueueUrl=values.id, AttributeNames=["All"])["Attributes"]


def _read_policy(client: Client, values: Values) -> Any:
    found = _read_queue(client, values)
    return found if found.get("Policy") else None


def _rule_and_target(values: Values) -> tuple[str, str]:
    """What is declared; an import has only `<rule>/<target id>`, as an id with dashes cannot be taken apart."""
    if values.get("rule") and values.get("targetId"):
        return values["rule"], values["targetId"]
    rule, slash, target = values.id.partition("/")
    if not slash:
        raise ProviderError(
            f"{_TARGET_TOKEN}: a target is imported as <rule>/<target id>, not as {values.id}"
        )
    return rule, target


def _read_target(client: Client, values: Values) -> Any:
    rule, target = _rule_and_target(values)
    targets = client.list_targets_by_rule(Rule=rule)["Targets"]
    return next((one for one in targets if one["Id"] == target), None)


_SET_POLICY: Final = Call(
    "set_queue_attributes",
    {"QueueUrl": "queueUrl", "Attributes": lambda values: {"Policy": values["policy"]}},
)
_PUT_RULE: Final = Call(
    "put_rule", {"Name": "name", "EventPattern": "eventPattern", "Description": "description"}
)
_PUT_TARGET: Final = Call(
    "put_targets",
    {"Rule": "rule", "Targets": lambda values: [{"Id": values["targetId"], "Arn": values["arn"]}]},
)

QUEUE: Final = Row(
    token="aws:sqs/queue:Queue",
    service="sqs",
    name="name",
    name_length=80,
    create=Call("create_queue", {"QueueName": "name", "Attributes": _settings}),
    identity="QueueUrl",
    read=_read_queue,
    outputs={
        "arn": "QueueArn",
        "url": lambda _found, values: values.id,
        "name": lambda found, _values: found["QueueArn"].rpartition(":")[2],
    },
    updates=(
        Update(
            ("messageRetentionSeconds", "sqsManagedSseEnabled"),
            Call("set_queue_attributes", {"QueueUrl": "@id", "Attributes": _changed_settings}),
        ),
    ),
    delete=Call("delete_queue", {"QueueUrl": "@id"}),
    tags=Tags(
        add="tag_queue",
        remove="untag_queue",
        owner=("QueueUrl", "@id"),
        read=Call("list_queue_tags", {"QueueUrl": "@id"}),
        key="",
    ),
    computed=frozenset({"sqsManagedSseEnabled"}),
)

QUEUE_POLICY: Final = Row(
    token="aws:sqs/queuePolicy:QueuePolicy",
    service="sqs",
    required=("queueUrl", "policy"),
    unique=("queueUrl",),
    create=_SET_POLICY,
    identity=lambda _answer, values: values["queueUrl"],
    read=_read_policy,
    outputs={"queueUrl": lambda _found, values: values.id, "policy": "Policy"},
    updates=(Update(("policy",), _SET_POLICY),),
    delete=Call("set_queue_attributes", {"QueueUrl": "@id", "Attributes": lambda _values: {"Policy": ""}}),
    json=frozenset({"policy"}),
)

RULE: Final = Row(
    token="aws:cloudwatch/eventRule:EventRule",
    service="events",
    name="name",
    create=_PUT_RULE,
    identity=lambda _answer, values: values["name"],
    read=Call("describe_rule", {"Name": "@id"}),
    outputs={
        "arn": "Arn",
        "name": "Name",
        "eventPattern": "EventPattern",
        "description": "Description",
    },
    updates=(Update(("eventPattern", "description"), _PUT_RULE),),
    delete=Call("delete_rule", {"Name": "@id"}),
    json=frozenset({"eventPattern"}),
)

TARGET: Final = Row(
    token=_TARGET_TOKEN,
    service="events",
    required=("rule", "arn"),
    name="targetId",
    create=_PUT_TARGET,
    identity=lambda _answer, values: f"{values['rule']}-{values['targetId']}",
    read=_read_target,
    outputs={"rule": lambda _found, values: _rule_and_target(values)[0], "arn": "Arn", "targetId": "Id"},
    updates=(Update(("arn",), _PUT_TARGET),),
    delete=Call("remove_targets", {"Rule": "rule", "Ids": lambda values: [values["targetId"]]}),
)

ROWS: Final = (QUEUE, QUEUE_POLICY, RULE, TARGET)
