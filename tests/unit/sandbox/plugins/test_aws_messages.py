"""Queues, rules and targets of the AWS stand-in: what a change in the program does to them."""

from __future__ import annotations

import pytest
from aws_in_process import Aws, Refused, Resource

QUEUE = "aws:sqs/queue:Queue"
QUEUE_POLICY = "aws:sqs/queuePolicy:QueuePolicy"
RULE = "aws:cloudwatch/eventRule:EventRule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
POLICY = '{"Version": "2012-10-17", "Statement": []}'


def _retention(aws: Aws, queue: Resource) -> str:
    answer = aws.client("sqs").get_queue_attributes(QueueUrl=queue.id, AttributeNames=["All"])
    return str(answer["Attributes"]["MessageRetentionPeriod"])


def test_a_target_that_points_elsewhere_is_changed_in_place(aws: Aws) -> None:
    aws.create(RULE, name="notices", eventPattern='{"source": ["aws.ec2"]}')
    first, second = (aws.create(QUEUE, name=name).state.plain["arn"] for name in ("first", "second"))
    target = aws.create(TARGET, rule="notices", targetId="queue", arn=first)
    assert target.update(arn=second)["arn"] == second
    found = aws.client("events").list_targets_by_rule(Rule="notices")["Targets"]
    assert [(one["Id"], one["Arn"]) for one in found] == [("queue", second)]
    assert not target.diff().diffs


def test_a_target_without_an_id_is_given_one(aws: Aws) -> None:
    aws.create(RULE, name="notices", eventPattern='{"source": ["aws.ec2"]}')
    arn = aws.create(QUEUE, name="first").state.plain["arn"]
    target = aws.create(TARGET, rule="notices", arn=arn)
    found = aws.client("events").list_targets_by_rule(Rule="notices")["Targets"]
    assert [one["Id"] for one in found] == [target.state.plain["targetId"]]


def test_a_retention_that_is_no_longer_declared_is_the_usual_one_again(aws: Aws) -> None:
    queue = aws.create(QUEUE, name="work", messageRetentionSeconds=60, sqsManagedSseEnabled=True)
    queue.update(messageRetentionSeconds=None)
    assert _retention(aws, queue) == "345600"
    assert not queue.diff().diffs


def test_encryption_that_is_no_longer_declared_stays_as_it_is(aws: Aws) -> None:
    queue = aws.create(QUEUE, name="work", sqsManagedSseEnabled=True)
    assert not queue.diff(sqsManagedSseEnabled=None).diffs


def test_what_was_deleted_from_outside_is_no_error_at_refresh_or_destroy(aws: Aws) -> None:
    queue = aws.create(QUEUE, name="work")
    policy = aws.create(QUEUE_POLICY, queueUrl=queue.id, policy=POLICY.replace("[]", '[{"Effect": "Deny"}]'))
    aws.client("sqs").delete_queue(QueueUrl=queue.id)
    assert not policy.refresh()
    assert not queue.refresh()
    policy.delete()
    queue.delete()


def test_a_target_is_imported_by_rule_and_id(aws: Aws) -> None:
    aws.create(RULE, name="notices", eventPattern='{"source": ["aws.ec2"]}')
    arn = aws.create(QUEUE, name="first").state.plain["arn"]
    aws.client("events").put_targets(Rule="notices", Targets=[{"Id": "queue", "Arn": arn}])
    target = aws.adopt(TARGET, "notices/queue")
    assert target.inputs.plain == {"rule": "notices", "targetId": "queue", "arn": arn}
    target.delete()
    assert aws.client("events").list_targets_by_rule(Rule="notices")["Targets"] == []


def test_a_target_without_its_rule_is_not_imported(aws: Aws) -> None:
    with pytest.raises(Refused, match=r"a target is imported as <rule>/<target id>, not as queue$"):
        aws.adopt(TARGET, "queue")
