"""The AWS stand-in's provider under the real engine, against a real moto server."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
SECRET = "hush-7c1e-never-in-plain"

STORE = """
    import json
    import pulumi
    import pulumi_aws as aws

    config = pulumi.Config()
    secret = aws.secretsmanager.Secret("db", description=config.get("description"), recovery_window_in_days=0,
                                       tags={"team": config.get("team") or "search"})
    version = aws.secretsmanager.SecretVersion("db", secret_id=secret.id,
                                               secret_string=config.require_secret("password"))
    bucket = aws.s3.Bucket("results", bucket=config.get("bucket"), force_destroy=True)
    aws.s3.BucketLifecycleConfiguration("results", bucket=bucket.id, rules=[{
        "id": "expire", "status": "Enabled", "filter": {"prefix": "results/"},
        "expiration": {"days": int(config.get("days") or 7)},
    }])
    aws.s3.BucketPublicAccessBlock("results", bucket=bucket.id, block_public_acls=True, block_public_policy=True,
                                   ignore_public_acls=True, restrict_public_buckets=True)
    aws.s3.BucketServerSideEncryptionConfiguration("results", bucket=bucket.id, rules=[{
        "applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}])
    trust = aws.iam.get_policy_document(statements=[{
        "actions": ["sts:AssumeRole"], "principals": [{"type": "Service", "identifiers": ["ec2.amazonaws.com"]}]}])
    role = aws.iam.Role("reader", assume_role_policy=trust.json)
    policy = aws.iam.Policy("read", policy=bucket.arn.apply(lambda arn: json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{arn}/*"}]})))
    aws.iam.RolePolicyAttachment("read", role=role.name, policy_arn=policy.arn)
    aws.iam.RolePolicy("inline", role=role.id, policy=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}))
    aws.ecr.Repository("models", image_scanning_configuration={"scanOnPush": True}, force_delete=True)
    key = aws.kms.Key("disk", description="disks", enable_key_rotation=True, deletion_window_in_days=7)
    aws.kms.Alias("disk", target_key_id=key.id)
    pulumi.export("secret", secret.arn)
    pulumi.export("bucket", bucket.bucket)
    pulumi.export("role", role.name)
    pulumi.export("account", aws.get_caller_identity().account_id)
    pulumi.export("zones", aws.get_availability_zones(state="available").names)
    pulumi.export("region", aws.get_region().region)
    pulumi.export("partition", aws.get_partition().partition)
    """


VAULT = """
    import pulumi
    import pulumi_aws as aws

    config = pulumi.Config()
    secret = aws.secretsmanager.Secret("db", description=config.get("description"), recovery_window_in_days=0,
                                       tags={"team": config.get("team") or "search"})
    aws.secretsmanager.SecretVersion("db-value", secret_id=secret.id,
                                     secret_string=config.require_secret("password"))
    pulumi.export("secret", secret.arn)
    """


@pytest.fixture
def vault(project: Any, aws: Any) -> Any:
    """A project that declares a secret with a value; not yet brought up."""
    project.run("config", "set", "--secret", "password", SECRET)
    project.write(VAULT)
    return project


@pytest.fixture
def store(project: Any, aws: Any) -> Any:
    """A project that declares storage, secrets and roles; not yet brought up."""
    project.run("config", "set", "--secret", "password", SECRET)
    project.write(STORE)
    return project


def test_a_preview_of_everything_new_needs_no_known_values(store: Any, aws: Any) -> None:
    assert set(store.steps().values()) == {"create"}
    assert aws.client("secretsmanager").list_secrets()["SecretList"] == []


def test_up_creates_and_a_second_up_changes_nothing(store: Any, aws: Any) -> None:
    store.up()
    outputs = store.outputs()
    manager = aws.client("secretsmanager")
    assert manager.get_secret_value(SecretId=outputs["secret"])["SecretString"] == SECRET
    assert outputs["account"] == "123456789012"
    assert outputs["region"] == "us-east-1"
    assert outputs["partition"] == "aws"
    assert outputs["zones"][:2] == ["us-east-1a", "us-east-1b"]
    rules = aws.client("s3").get_bucket_lifecycle_configuration(Bucket=outputs["bucket"])["Rules"]
    assert rules[0]["Expiration"]["Days"] == 7
    attached = aws.client("iam").list_attached_role_policies(RoleName=outputs["role"])["AttachedPolicies"]
    assert len(attached) == 1
    store.expect_no_changes()
    store.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")


def test_a_secret_value_is_nowhere_in_plain_text(vault: Any, aws: Any) -> None:
    shown = vault.preview() + vault.up() + vault.preview("--diff") + vault.run("stack", "export")
    vault.run("config", "set", "--secret", "password", f"{SECRET}-2")
    shown += (
        vault.preview("--diff", "--json") + vault.preview("--diff") + vault.up() + vault.run("refresh", "-y")
    )
    shown += vault.run("stack", "export") + vault.run("stack", "output") + vault.run("destroy", "-y")
    assert SECRET not in shown


def test_tags_and_description_change_in_place(vault: Any, aws: Any) -> None:
    vault.up()
    arn = vault.outputs()["secret"]
    vault.run("config", "set", "description", "the database")
    vault.run("config", "set", "team", "ranking")
    assert vault.steps() == {"db": "update"}
    vault.up()
    assert vault.outputs()["secret"] == arn
    found = aws.client("secretsmanager").describe_secret(SecretId=arn)
    assert found["Description"] == "the database"
    assert found["Tags"] == [{"Key": "team", "Value": "ranking"}]
    vault.expect_no_changes()


def test_a_new_secret_value_is_a_new_version_that_is_current(vault: Any, aws: Any) -> None:
    vault.up()
    arn = vault.outputs()["secret"]
    vault.run("config", "set", "--secret", "password", "rotated")
    assert vault.steps() == {"db-value": "replace"}
    vault.up()
    assert aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"] == "rotated"
    vault.expect_no_changes()


def test_a_nested_setting_changes_in_place(store: Any, aws: Any) -> None:
    store.up()
    store.run("config", "set", "days", "30")
    assert store.steps() == {"results": "update"}
    store.up()
    rules = aws.client("s3").get_bucket_lifecycle_configuration(Bucket=store.outputs()["bucket"])["Rules"]
    assert rules[0]["Expiration"]["Days"] == 30


def test_another_bucket_name_replaces_the_bucket_and_what_hangs_on_it(store: Any, aws: Any) -> None:
    store.up()
    before = store.outputs()["bucket"]
    assert before.startswith("results-")
    store.run("config", "set", "bucket", "results-by-hand")
    store.up()
    assert store.outputs()["bucket"] == "results-by-hand"
    buckets = aws.client("s3").list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in buckets] == ["results-by-hand"]
    store.expect_no_changes()


def test_a_change_from_outside_is_seen_by_refresh_and_put_right(vault: Any, aws: Any) -> None:
    vault.up()
    arn = vault.outputs()["secret"]
    manager = aws.client("secretsmanager")
    manager.tag_resource(SecretId=arn, Tags=[{"Key": "team", "Value": "intruder"}])
    done = vault.attempt("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert done.returncode != 0, "the drift was not seen"
    vault.run("refresh", "--yes", "--skip-preview")
    assert vault.steps() == {"db": "update"}
    vault.up()
    assert manager.describe_secret(SecretId=arn)["Tags"] == [{"Key": "team", "Value": "search"}]


def test_what_was_deleted_from_outside_is_made_again_after_a_refresh(vault: Any, aws: Any) -> None:
    vault.up()
    manager = aws.client("secretsmanager")
    manager.delete_secret(SecretId=vault.outputs()["secret"], ForceDeleteWithoutRecovery=True)
    vault.run("refresh", "--yes", "--skip-preview")
    assert vault.steps() == {"db": "create", "db-value": "create"}
    vault.up()
    assert manager.get_secret_value(SecretId=vault.outputs()["secret"])["SecretString"] == SECRET


def test_destroy_leaves_nothing_even_where_something_is_gone_already(store: Any, aws: Any) -> None:
    store.up()
    repository = aws.client("ecr").describe_repositories()["repositories"][0]["repositoryName"]
    aws.client("ecr").delete_repository(repositoryName=repository, force=True)
    bucket = store.outputs()["bucket"]
    aws.client("s3").put_object(Bucket=bucket, Key="left", Body=b"over")
    store.run("destroy", "--yes", "--skip-preview")
    assert aws.client("secretsmanager").list_secrets()["SecretList"] == []
    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert aws.client("iam").list_roles()["Roles"] == []
    assert store.export()["deployment"].get("resources", [])[1:] == []


def test_an_existing_secret_is_imported_and_then_unchanged(project: Any, aws: Any) -> None:
    manager = aws.client("secretsmanager")
    made = manager.create_secret(
        Name="old", Description="from before", Tags=[{"Key": "a", "Value": "b"}], SecretString="x"
    )
    shown = project.run(
        "import",
        "aws:secretsmanager/secret:Secret",
        "old",
        made["ARN"],
        "--yes",
        "--generate-code=false",
        "--protect=false",
    )
    assert "1 imported" in shown
    project.write("""
        import pulumi_aws as aws
        aws.secretsmanager.Secret("old", name="old", description="from before", tags={"a": "b"})
        """)
    project.expect_no_changes()


def test_an_import_option_adopts_what_is_there(project: Any, aws: Any) -> None:
    aws.client("ecr").create_repository(repositoryName="base/images")
    project.write("""
        import pulumi, pulumi_aws as aws
        repository = aws.ecr.Repository("base", name="base/images", image_tag_mutability="MUTABLE",
                                        opts=pulumi.ResourceOptions(import_="base/images"))
        pulumi.export("url", repository.repository_url)
        """)
    project.up()
    assert project.outputs()["url"].endswith("/base/images")
    project.expect_no_changes()


def test_an_unknown_id_in_get_is_told(project: Any, aws: Any) -> None:
    project.write("""
        import pulumi_aws as aws
        aws.iam.Role.get("gone", "no-such-role")
        """)
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "no-such-role" in done.stdout


def test_a_type_without_a_row_is_refused_with_remedy_and_list(project: Any, aws: Any) -> None:
    project.write("""
        import pulumi_aws as aws
        aws.sns.Topic("jobs")
        """)
    done = project.attempt("preview")
    assert done.returncode != 0
    text = " ".join(done.stdout.split())
    assert (
        "aws:sns/topic:Topic is a type that the sandbox's stand-in for the AWS provider does not have: add a row "
        "for it in sandbox/holdfast_sandbox/plugins/aws/tables, leave the resource out of the sandbox's stack, or "
        "work against an account with Pulumi's own AWS provider. It has: aws:"
    ) in text
    assert "aws:s3/bucket:Bucket" in text


def test_a_function_without_an_entry_is_refused(project: Any, aws: Any) -> None:
    project.write("""
        import pulumi_aws as aws
        aws.sqs.get_queue(name="jobs")
        """)
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "aws:sqs/getQueue:getQueue is a function that the sandbox's stand-in" in done.stdout


def test_a_refused_call_is_one_sentence_and_not_a_traceback(project: Any, aws: Any) -> None:
    project.write("""
        import pulumi_aws as aws
        aws.iam.Policy("broken", policy="not json")
        """)
    done = project.attempt("up", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert "aws:iam/policy:Policy: broken: CreatePolicy was refused: MalformedPolicyDocument" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_value_of_the_wrong_kind_is_told_without_the_value(project: Any, aws: Any) -> None:
    project.write("""
        import pulumi, pulumi_aws as aws
        secret = aws.secretsmanager.Secret("db")
        aws.secretsmanager.SecretVersion("db", secret_id=secret.id, secret_string=pulumi.Output.secret(12345678))
        """)
    done = project.attempt("up", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert "the API takes no such values: look at SecretString" in done.stdout
    assert "12345678" not in done.stdout


def test_an_input_without_effect_is_warned_about_and_kept(project: Any, aws: Any) -> None:
    project.write("""
        import pulumi_aws as aws
        aws.s3.Bucket("fast", acceleration_status="Enabled")
        """)
    shown = project.up()
    assert "does not model accelerationStatus of aws:s3/bucket:Bucket: without effect here" in shown
    project.expect_no_changes()


def test_default_tags_of_a_provider_reach_every_resource(project: Any, aws: Any) -> None:
    project.write("""
        import pulumi, pulumi_aws as aws
        provider = aws.Provider("tagged", region="us-west-2", default_tags={"tags": {"owner": "platform"}})
        role = aws.ecr.Repository("models", name="models", tags={"team": "ranking"},
                                  opts=pulumi.ResourceOptions(provider=provider))
        pulumi.export("url", role.repository_url)
        """)
    project.up()
    assert ".us-west-2." in project.outputs()["url"]
    resource = project.resource("models")
    assert resource["inputs"]["tags"] == {"team": "ranking"}
    assert resource["outputs"]["tagsAll"] == {"owner": "platform", "team": "ranking"}
    project.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    project.expect_no_changes()


def test_a_secret_is_read_as_a_secret(project: Any, aws: Any) -> None:
    aws.client("secretsmanager").create_secret(Name="given", SecretString=json.dumps({"password": SECRET}))
    project.write("""
        import pulumi, pulumi_aws as aws
        secret = aws.secretsmanager.get_secret(name="given")
        value = aws.secretsmanager.get_secret_version_output(secret_id=secret.arn)
        pulumi.export("value", value.secret_string)
        """)
    project.up()
    assert SECRET not in project.run("stack", "export")
    assert SECRET in project.outputs("--show-secrets")["value"]


def test_without_an_address_the_provider_refuses_and_never_calls_aws(project: Any, aws: Any) -> None:
    project.environment["AWS_ENDPOINT_URL"] = ""
    project.write("""
        import pulumi_aws as aws
        aws.s3.Bucket("any")
        """)
    done = project.attempt("preview")
    assert done.returncode != 0
    assert "AWS_ENDPOINT_URL is not set: this is the sandbox's stand-in for the AWS provider" in done.stdout
    project.environment["AWS_ENDPOINT_URL"] = "https://s3.us-east-1.amazonaws.com"
    assert "which is AWS itself" in project.attempt("preview").stdout


def test_a_stand_in_that_is_down_is_named_with_the_remedy(project: Any, aws: Any) -> None:
    project.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    project.write("""
        import pulumi_aws as aws
        aws.s3.Bucket("any")
        """)
    done = project.attempt("up", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert "the AWS stand-in does not answer" in done.stdout
    assert "run `holdfast sandbox up`" in done.stdout
