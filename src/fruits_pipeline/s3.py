"""What this project asks of S3: lists, the bytes of many small objects, some files; and its errors in plain words.

Two clients share one chain of credentials. botocore lists and writes: it finds keys and roles wherever AWS puts them,
one request brings 1000 names, and files to be written are few. obstore reads: a GET of a 5 KB object costs it 0.22 ms
of CPU, against 1.8 ms for botocore, 0.7 ms for pyarrow (two requests) and 3 ms for s3fs, and the worker's core has
better things to do.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from fruits_pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from obstore.store import BackoffConfig, RetryConfig, S3Credential, S3Store

PROTOCOLS: Final = ("s3", "s3a", "s3n")
"""How the addresses of objects begin: Amazon's way, and Hadoop's."""

EU_REGIONS: Final = {
    "eu-central-1": "Frankfurt",
    "eu-north-1": "Stockholm",
    "eu-south-1": "Milan",
    "eu-south-2": "Spain",
    "eu-west-1": "Ireland",
    "eu-west-3": "Paris",
}
"""AWS regions in the European Union. London (eu-west-2) and Zürich (eu-central-2) are not in it."""

_CREDENTIALS_LIVE: Final = timedelta(minutes=10)
"""botocore renews credentials that have less than 10 to 15 minutes left, so what it hands out is good for so long."""

_ODD_KEY: Final = re.compile(r"[\x00-\x1f\x7f]|(^|/)\.{0,2}(/|$)")
"""Keys that obstore cannot say: control characters, and empty, `.` and `..` parts, which it takes for a path's.

botocore reads these. It does not repeat a GET whose body breaks off; then the Spark task is repeated.
"""

_SIGN_IN: Final = (
    "S3 does not accept these AWS credentials. Sign in again (aws sso login), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
    "and AWS_SECRET_ACCESS_KEY; on EMR the role of the instance is used and none of these may be set."
)
_NO_CREDENTIALS: Final = (
    "No AWS credentials were found. Sign in (aws configure sso, then aws sso login), or set AWS_PROFILE, or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on EMR the role of the instance is used."
)
_NO_ANSWER: Final = "S3 does not answer. Check the network, AWS_REGION, and AWS_ENDPOINT_URL_S3 if it is set."
_NO_BUCKET: Final = (
    "There is no bucket {bucket}. Check its name in FRUITS_BUCKET or in --params=images=s3://BUCKET/FOLDER."
)
_NOT_ALLOWED: Final = (
    "This AWS identity may not do that. It needs s3:ListBucket on arn:aws:s3:::{bucket}, and on "
    "arn:aws:s3:::{bucket}/* s3:GetObject for images, s3:PutObject and s3:DeleteObject too for results; and no "
    "bucket policy may deny them."
)
_NO_KEY: Final = (
    "This AWS identity may not encrypt what it writes: it needs kms:GenerateDataKey and kms:Decrypt on the key of the "
    "bucket. ({error})"
)
_OUTSIDE: Final = (
    "The bucket {bucket} lies in {region}, outside the European Union, where this data has to stay. Copy it into a "
    "bucket in {regions} (aws s3 sync), and name that one in FRUITS_BUCKET or in --params=images=s3://…,output=s3://…."
)
_SET_CLOCK: Final = "The clock of this machine is wrong: S3 refuses requests from another time."

_CURES: Final = {
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": _NO_BUCKET,
    "ParamValidationError": _NO_BUCKET,
    "AccessDenied": _NOT_ALLOWED,
    "AllAccessDisabled": _NOT_ALLOWED,
    "RequestTimeTooSkewed": _SET_CLOCK,
    "EndpointConnectionError": _NO_ANSWER,
    "ConnectTimeoutError": _NO_ANSWER,
    "ExpiredToken": _SIGN_IN,
    "InvalidAccessKeyId": _SIGN_IN,
    "InvalidToken": _SIGN_IN,
    "SignatureDoesNotMatch": _SIGN_IN,
    "UnauthorizedSSOTokenError": _SIGN_IN,
    "CredentialRetrievalError": _NO_CREDENTIALS,
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "ProfileNotFound": _NO_CREDENTIALS,
    "SSOTokenLoadError": _NO_CREDENTIALS,
    "TokenRetrievalError": _NO_CREDENTIALS,
}
"""What mends a fault that is the caller's: by S3's error code, or by the class of botocore's error."""


_AWS_ENDPOINT: Final = re.compile(r"https://s3(\.[a-z0-9-]+)?\.amazonaws\.com")
"""The public one, as opposed to a private endpoint of a VPC or another maker's server."""


class UnreadableObjectError(Exception):
    """This object cannot be read, however often one tries; its neighbours can."""


def read_object(bucket: str, key: str) -> bytes:
    """Reads one object whole, with a single GET.

    Args:
        bucket: Name of the bucket.
        key: Of the object, not percent-encoded.

    Returns:
        Its bytes.

    Raises:
        FileNotFoundError: If it is gone.
        UnreadableObjectError: If the fault is the object's: archived, or encrypted with a key that is out of reach.
        InputError: If the fault is the caller's: credentials, permissions, no such bucket.
        OSError: If S3 still fails after half a minute of attempts: throttling, broken connections. It may pass.
    """
    if _ODD_KEY.search(key):
        with _plain_words(bucket, key):
            content: bytes = client().get_object(Bucket=bucket, Key=key)["Body"].read()
            return content
    with _plain_words(bucket, key):
        return object_store(bucket).get(key).bytes().to_bytes()


def write_object(bucket: str, key: str, file: Path) -> None:
    """Writes one object whole, with a single PUT: up to 5 GB.

    Args:
        bucket: Name of the bucket.
        key: Of the object, not percent-encoded.
        file: Its content.

    Raises:
        InputError: If the fault is the caller's: credentials, permissions, no such bucket, a key of KMS out of reach.
        OSError: As for `read_object`.
    """
    try:
        with _plain_words(bucket, key), file.open("rb") as content:
            client().put_object(Bucket=bucket, Key=key, Body=content)
    except UnreadableObjectError as error:
        raise InputError(_NO_KEY.format(error=error)) from error


def list_objects(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Lists all objects whose keys begin with `prefix`; each further page is asked for when it is needed.

    Yields:
        S3's own entries: `Key`, `Size`, `LastModified`, …

    Raises:
        InputError: As for `read_object`.
        OSError: As for `read_object`.
    """
    with _plain_words(bucket, prefix):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", [])


def check_region(bucket: str) -> None:
    """Makes sure that a bucket lies in the European Union, if its server says where it lies (Amazon's does).

    Raises:
        InputError: If it does not; and as for `read_object`.
        OSError: As for `read_object`.
    """
    with _plain_words(bucket, ""):
        region = _told_region(bucket)
    if region and region not in EU_REGIONS:
        raise InputError(_OUTSIDE.format(bucket=bucket, region=region, regions=", ".join(EU_REGIONS)))


def check_writable(bucket: str, prefix: str) -> None:
    """Makes sure that results can be written, by an empty object that is deleted at once.

    Raises:
        InputError: As for `read_object`.
        OSError: As for `read_object`.
    """
    key = f"{prefix.rstrip('/')}/.is-writable"
    with _plain_words(bucket, key):
        client().put_object(Bucket=bucket, Key=key, Body=b"")
        client().delete_object(Bucket=bucket, Key=key)


@cache
def _session() -> Any:
    """Imported here because local runs need no S3 client."""
    import botocore.session

    return botocore.session.get_session()


@cache
def client() -> Any:
    """This process's botocore client.

    Retries are of the mode `standard`: unlike `legacy` it knows all of S3's throttling codes, and unlike `adaptive` it
    does not slow down the requests that succeed. Eight attempts take half a minute in sum.
    """
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 8}
    return _session().create_client("s3", config=Config(retries=retries, connect_timeout=5, read_timeout=30))


_making_store = threading.Lock()


def object_store(bucket: str) -> S3Store:
    """This process's obstore client for a bucket, made once though many threads may ask at the same time."""
    with _making_store:
        return _object_store(bucket)


@cache
def _object_store(bucket: str) -> S3Store:
    from obstore.store import S3Store

    endpoint = client().meta.endpoint_url
    on_aws = bool(_AWS_ENDPOINT.fullmatch(endpoint))
    return S3Store(
        bucket,
        region=_region(bucket),
        # AWS wants the bucket in the host's name, whose certificate does not cover buckets with dots.
        virtual_hosted_style_request=on_aws and "." not in bucket,
        credential_provider=_credentials,
        # A photograph may be large and a line slow; only silence is a fault.
        client_options={
            "allow_http": endpoint.startswith("http:"),
            "connect_timeout": "5s",
            "read_timeout": "30s",
            "timeout": "10min",
        },
        retry_config=_retries(),
        **({} if on_aws else {"endpoint": endpoint}),
    )


def _retries() -> RetryConfig:
    """Pauses of 0.1 s at first, 15 s at last, 45 s in sum.

    obstore's own grow so slowly that ten of them are over in two seconds, less than S3 needs to spread a busy prefix.
    """
    backoff: BackoffConfig = {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=15),
        "base": 3,  # each pause is drawn from 0.1 s to three times the last one
    }
    return {"max_retries": 12, "backoff": backoff, "retry_timeout": timedelta(minutes=3)}


def _region(bucket: str) -> str:
    """Where the bucket is. botocore follows it by itself, obstore must be told."""
    region: str = _told_region(bucket) or client().meta.region_name
    return "us-east-1" if region == "aws-global" else region


def _told_region(bucket: str) -> str | None:
    """What S3 says to everyone about the bucket's place; None from servers that do not say it."""
    from botocore.exceptions import ClientError

    try:
        answer = client().head_bucket(Bucket=bucket)
    except ClientError as error:  # 403 and 404 are told by the first GET, with more words
        answer = error.response
    region: str | None = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return region


def _credentials() -> S3Credential:
    """The keys that botocore finds (environment, profile, role of the machine), as obstore wants them."""
    from botocore.exceptions import NoCredentialsError

    found = _session().get_credentials()
    if found is None:
        raise NoCredentialsError
    keys = found.get_frozen_credentials()
    return {
        "access_key_id": keys.access_key,
        "secret_access_key": keys.secret_key,
        "token": keys.token,
        "expires_at": datetime.now(UTC) + _CREDENTIALS_LIVE,
    }


@contextmanager
def _plain_words(bucket: str, key: str) -> Iterator[None]:
    """Turns what either client raises into the errors of `read_object`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise _explained(error, bucket, key) from error


def _explained(error: Exception, bucket: str, key: str) -> Exception:
    code, message = _code_and_message(error)
    what = f"s3://{bucket}/{key}: {code}: {message}"
    if code == "NoSuchKey":
        return FileNotFoundError(what)
    if _is_about_one_object(code, message):
        return UnreadableObjectError(what)
    if code in _CURES:
        return InputError(f"{_CURES[code].format(bucket=bucket)} ({what})")
    return OSError(what)


def _code_and_message(error: Exception) -> tuple[str, str]:
    """S3's error code and words from the response; for errors without one, the error's class and words."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return response["Error"].get("Code", ""), response["Error"].get("Message", "")
    code = re.search("<Code>([^<]+)</Code>", str(error))
    if code is None:
        return type(error).__name__, words_of(error)
    message = re.search("<Message>([^<]*)</Message>", str(error))
    return code[1], message[1] if message else ""


def words_of(error: Exception) -> str:
    """What an error says, on one line, without obstore's many lines for its makers."""
    return " ".join(str(error).partition("\n\nDebug source")[0].split())


def _is_about_one_object(code: str, message: str) -> bool:
    """Whether the object itself is out of reach: archived, or encrypted with a key that this role may not use.

    A plain AccessDenied is not among them. S3 says it in the same words of an object that belongs to another account
    (rare since bucket owners own all objects) and of a role without s3:GetObject (common), and to quarantine every
    image for a missing permission would be worse than to stop at one.
    """
    if code == "AccessDenied":
        return "kms:" in message
    other_key = code == "InvalidRequest" and "Server Side Encryption" in message  # SSE-C: the key is the customer's
    return code == "InvalidObjectState" or code.startswith("KMS.") or other_key
