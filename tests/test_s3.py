"""The S3 clients: what they are told, and what their errors become. Real requests: tests/integration/test_s3.py."""

import inspect
from datetime import UTC, datetime, timedelta

import botocore.session
import obstore
import pytest
from botocore.exceptions import ClientError, ParamValidationError
from botocore.stub import Stubber

from fruits_pipeline import s3
from fruits_pipeline.errors import InputError


@pytest.fixture(autouse=True)
def no_clients_of_other_tests():
    cached = (s3._session, s3.client, s3._object_store)
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


@pytest.fixture
def stubbed(monkeypatch):
    """A botocore client whose answers are given by the test, and no server."""
    client = botocore.session.Session().create_client(
        "s3", region_name="eu-west-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    monkeypatch.setattr(s3, "client", lambda: client)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Stubber(client) as stubber:
        yield stubber
    client.close()


def url_of(bucket: str) -> str:
    return obstore.sign(s3.object_store(bucket), "GET", "a b.jpg", timedelta(minutes=1))


def asked_for_region(stubber: Stubber, headers: dict[str, str], bucket: str = "my-bucket") -> None:
    stubber.add_response("head_bucket", {"ResponseMetadata": {"HTTPHeaders": headers}}, {"Bucket": bucket})


def test_the_bucket_says_its_region(stubbed, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    asked_for_region(stubbed, {"x-amz-bucket-region": "eu-central-1"})
    assert s3.object_store("my-bucket").config["region"] == "eu-central-1"


def test_even_to_strangers(stubbed):
    stubbed.add_client_error(
        "head_bucket", http_status_code=403, response_meta={"HTTPHeaders": {"x-amz-bucket-region": "eu-south-2"}}
    )
    assert s3.object_store("my-bucket").config["region"] == "eu-south-2"


def test_servers_that_do_not_say_are_in_the_region_of_the_settings(stubbed):
    asked_for_region(stubbed, {})
    assert s3.object_store("my-bucket").config["region"] == "eu-west-1"


def test_buckets_must_lie_in_the_european_union(stubbed):
    asked_for_region(stubbed, {"x-amz-bucket-region": "eu-north-1"})
    s3.check_region("my-bucket")
    asked_for_region(stubbed, {"x-amz-bucket-region": "eu-west-2"})
    with pytest.raises(InputError, match=r"my-bucket lies in eu-west-2, outside the European Union.*aws s3 sync"):
        s3.check_region("my-bucket")


def test_unless_the_server_is_ones_own(stubbed):
    asked_for_region(stubbed, {})
    s3.check_region("my-bucket")


def test_on_aws_the_bucket_is_part_of_the_host(stubbed):
    asked_for_region(stubbed, {"x-amz-bucket-region": "eu-west-3"})
    assert url_of("my-bucket").startswith("https://my-bucket.s3.eu-west-3.amazonaws.com/a%20b.jpg?")


def test_unless_its_name_does_not_fit_the_certificate(stubbed):
    asked_for_region(stubbed, {}, "my.bucket")
    assert url_of("my.bucket").startswith("https://s3.eu-west-1.amazonaws.com/my.bucket/a%20b.jpg?")


def test_elsewhere_it_is_part_of_the_path(monkeypatch):
    endpoint = "https://bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com"
    for name, value in {"ENDPOINT_URL_S3": endpoint, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(s3, "_region", lambda bucket: "eu-west-1")
    assert url_of("my-bucket").startswith(f"{endpoint}/my-bucket/a%20b.jpg?")


def test_one_client_per_bucket(stubbed):
    asked_for_region(stubbed, {})  # a second question would find no answer
    assert s3.object_store("my-bucket") is s3.object_store("my-bucket")


def test_credentials_are_asked_for_again_before_they_end(monkeypatch):
    session = botocore.session.Session()
    session.set_credentials("key", "secret", "token")
    monkeypatch.setattr(s3, "_session", lambda: session)
    keys = s3._credentials()
    assert (keys["access_key_id"], keys["secret_access_key"], keys["token"]) == ("key", "secret", "token")
    assert timedelta(0) < keys["expires_at"] - datetime.now(UTC) <= timedelta(minutes=10)


def test_patience_lasts_longer_than_a_throttled_prefix():
    """Twelve pauses that treble, on average by half: what obstore draws is between 0.1 s and three times the last."""
    retries = s3._retries()
    pause, total = retries["backoff"]["init_backoff"].total_seconds(), 0.0
    for _ in range(retries["max_retries"]):
        total += pause
        pause = min((0.1 + retries["backoff"]["base"] * pause) / 2, retries["backoff"]["max_backoff"].total_seconds())
    assert 20 < total < retries["retry_timeout"].total_seconds()


@pytest.mark.parametrize(
    ("key", "odd"),
    [
        ("a/b.jpg", False),
        ("a b/é%20#?.jpg", False),
        (".hidden/..x/...jpg", False),
        ("a//b.jpg", True),
        ("/a.jpg", True),
        ("a/../b.jpg", True),
        ("./b.jpg", True),
        ("a/", True),
        ("a\nb.jpg", True),
        ("a\x7f.jpg", True),
    ],
)
def test_odd_keys(key, odd):
    assert bool(s3._ODD_KEY.search(key)) is odd


@pytest.mark.parametrize("key", ["a//b.jpg", "/a.jpg", "a/../b.jpg"])
def test_odd_keys_are_read_as_they_are(stubbed, key):
    """SeaweedFS has no such keys, S3 has."""
    asked = []

    def answer(params, **_):
        asked.append(params["Key"])

    stubbed.client.meta.events.register("provide-client-params.s3.GetObject", answer)
    stubbed.add_client_error("get_object", "NoSuchKey")
    with pytest.raises(FileNotFoundError):
        s3.read_object("my-bucket", key)
    assert asked == [key]


def client_error(code: str, message: str = "words") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "becomes", "words"),
    [
        (client_error("NoSuchKey"), FileNotFoundError, "s3://b/k"),
        (client_error("NoSuchBucket"), InputError, "There is no bucket b"),
        (client_error("AccessDenied"), InputError, "s3:ListBucket on arn:aws:s3:::b"),
        (client_error("InvalidToken"), InputError, "aws sso login"),
        (client_error("RequestTimeTooSkewed"), InputError, "clock"),
        (client_error("InvalidObjectState"), s3.UnreadableObjectError, "InvalidObjectState: words"),
        (client_error("KMS.KMSInvalidStateException"), s3.UnreadableObjectError, "KMS"),
        (client_error("InvalidRequest", "Server Side Encryption"), s3.UnreadableObjectError, "Server Side"),
        (client_error("InvalidRequest", "something else"), OSError, "something else"),
        (client_error("SlowDown"), OSError, "SlowDown: words"),
        (ParamValidationError(report="no"), InputError, "There is no bucket b"),
        (RuntimeError("first line\nsecond"), OSError, "RuntimeError: first line second"),
        (RuntimeError("words\n\nDebug source:\nGeneric {"), OSError, "RuntimeError: words"),
        (RuntimeError("said <Code>ExpiredToken</Code><Message>too late</Message>"), InputError, "too late"),
    ],
)
def test_errors_in_plain_words(error, becomes, words):
    explained = s3._explained(error, "b", "k")
    assert type(explained) is becomes
    assert words in str(explained)
    assert "\n" not in str(explained)


def test_every_cure_is_one_sentence_or_more():
    assert [cure for cure in set(s3._CURES.values()) if not inspect.cleandoc(cure).endswith(".")] == []
