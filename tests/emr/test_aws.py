"""AWS's errors in words."""

import builtins

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore import exceptions
from botocore.exceptions import ClientError

from fruits_pipeline.emr import aws
from fruits_pipeline.errors import InputError


def refused(code: str, message: str = "no", **more: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message, **more}}, "SomeOperation")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "aws sso login"),
        ("ExpiredTokenException", "expired"),
        ("RequestExpired", "expired"),
        ("InvalidClientTokenId", "does not know these credentials"),
        ("UnrecognizedClientException", "does not know these credentials"),
        ("SignatureDoesNotMatch", "aws sts get-caller-identity"),
        ("AccessDenied", "permission"),
        ("AccessDeniedException", "permission"),
        ("UnauthorizedOperation", "permission"),
        ("403", "permission"),
        ("NoSuchBucket", "kedro emr deploy"),
        ("Throttling", "same command again"),
        ("ThrottlingException", "same command again"),
        ("SlowDown", "same command again"),
        ("TooManyRequestsException", "same command again"),
        ("503", "same command again"),
        ("PermanentRedirect", "--region"),
        ("BucketAlreadyExists", "another name"),
        ("OptInRequired", "activate"),
        ("VcpuLimitExceeded", "Service Quotas"),
        ("LimitExceededException", "Service Quotas"),
        ("RequestTimeTooSkewed", "clock"),
    ],
)
def test_known_codes_have_a_cure(code, words):
    text = aws.explain(refused(code))
    assert words.lower() in text.lower()
    assert f"(SomeOperation: {code})" in text


def test_what_aws_says_is_kept():
    text = aws.explain(refused("AccessDenied", "User x may not perform elasticmapreduce:RunJobFlow"))
    assert "elasticmapreduce:RunJobFlow" in text


def test_a_missing_bucket_is_named():
    assert "bucket photos" in aws.explain(refused("NoSuchBucket", BucketName="photos"))


def test_other_codes_are_told_as_they_are():
    assert aws.explain(refused("OddThing", "odd words")) == "AWS answers OddThing to SomeOperation: odd words"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.NoCredentialsError(), "no AWS credentials"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "no AWS credentials"),
        (exceptions.ProfileNotFound(profile="mine"), "mine"),
        (exceptions.UnauthorizedSSOTokenError(), "expired"),
        (exceptions.SSOTokenLoadError(error_msg="x"), "expired"),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="x"), "expired"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "internet"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), "internet"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "internet"),
        (exceptions.ConnectionClosedError(endpoint_url="https://x"), "internet"),
        (exceptions.ProxyConnectionError(proxy_url="http://p"), "internet"),
        (exceptions.SSLError(endpoint_url="https://x", error="certificate"), "certificate"),
    ],
)
def test_the_way_to_aws_has_its_own_words(error, words):
    assert words in aws.explain(error)


def test_any_other_error_of_the_libraries_is_told():
    assert aws.explain(exceptions.ParamValidationError(report="bad name")).startswith("ParamValidationError: ")


def test_the_cause_behind_a_failed_upload_is_found():
    error = S3UploadFailedError("Failed to upload x")
    error.__cause__ = refused("AccessDenied", "s3:PutObject")
    assert "s3:PutObject" in aws.explain(error)


def test_errors_of_ours_are_none_of_aws():
    assert aws.explain(ZeroDivisionError("a bug")) is None


def test_without_boto3_the_cure_is_named(monkeypatch, settings):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "boto3":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    aws._session.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"fruits_pipeline\[emr\]"):
        aws.client("s3", settings)


def test_clients_are_in_the_settings_region(settings):
    assert aws.client("emr", settings).meta.region_name == "eu-west-3"


def test_calls_are_shown_with_arguments_and_without_templates(capsys):
    aws.show_call("cloudformation", "create_stack", {"StackName": "é", "TemplateBody": "a\nb", "Tags": [{"Key": 1}]})
    assert capsys.readouterr().out.splitlines() == [
        "would call cloudformation.create_stack",
        "    StackName: é",
        "    TemplateBody: <3 characters>",
        "    Tags:",
        "    - Key: 1",
    ]
