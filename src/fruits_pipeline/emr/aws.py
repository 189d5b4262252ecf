"""The way to AWS: clients, and AWS's errors in words, with the cure."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

import click
import yaml

from fruits_pipeline.emr.settings import EmrSettings
from fruits_pipeline.errors import InputError, causes_of

LOGIN: Final = (
    "Log in (aws sso login, or aws configure) and look who you are with: aws sts get-caller-identity. "
    "AWS_PROFILE chooses a profile."
)
_ALLOW: Final = (
    "Your user or role lacks this permission: ask whoever runs the account for it (bootstrap/README.md lists what is "
    "needed), or log in as somebody who has it."
)
_AGAIN: Final = "Wait a minute and run the same command again: it continues where it stopped."

_CODES: Final = {
    r"ExpiredToken\w*|RequestExpired|TokenRefreshRequired|ExpiredTokenException": (
        "Your AWS login has expired.",
        LOGIN,
    ),
    r"InvalidClientTokenId|UnrecognizedClient\w*|InvalidAccessKeyId|SignatureDoesNotMatch|AuthFailure|InvalidToken"
    r"|MissingAuthenticationToken\w*": ("AWS does not know these credentials.", LOGIN),
    r"AccessDenied\w*|UnauthorizedOperation|UnauthorizedAccess|AllAccessDisabled|403|Forbidden": (
        "AWS refuses: {message}",
        _ALLOW,
    ),
    r"NoSuchBucket": (
        "There is no such bucket{bucket}.",
        "Make it with kedro emr deploy, or correct FRUITS_BUCKET or --bucket.",
    ),
    r"Throttl\w*|RequestLimitExceeded|TooManyRequests\w*|SlowDown|RequestThrottled\w*|503|ServiceUnavailable"
    r"|InternalError|InternalFailure\w*|InternalServer\w*|500": ("AWS is busy: {message}", _AGAIN),
    r"PermanentRedirect|301|AuthorizationHeaderMalformed|IllegalLocationConstraint\w*": (
        "The bucket{bucket} lies in another region.",
        "Give its region with --region; this project works in the European Union only.",
    ),
    r"BucketAlreadyExists": (
        "Somebody else owns a bucket{bucket}: names are unique in the whole world.",
        "Choose another name: FRUITS_BUCKET or --bucket.",
    ),
    r"OptInRequired|SubscriptionRequired\w*": (
        "This account has not activated the service: {message}",
        "Activate it in the AWS console (Billing, or Account → Regions).",
    ),
    r"LimitExceeded\w*|VcpuLimitExceeded|ServiceQuotaExceeded\w*|MaxSpotInstanceCountExceeded": (
        "A quota of the account is used up: {message}",
        "Use fewer or smaller nodes, or ask for more under Service Quotas (EC2) in the AWS console.",
    ),
    r"RequestTimeTooSkewed": ("This machine's clock is wrong.", "Set it (timedatectl set-ntp true)."),
}


def client(service: str, settings: EmrSettings) -> Any:
    """A boto3 client in the settings' region, patient with throttling.

    Args:
        service: `s3`, `emr`, `cloudformation`, ….
        settings: For the region.

    Raises:
        InputError: If boto3 is not installed.
    """
    try:
        session = _session()
    except ImportError as error:
        raise InputError("kedro emr needs boto3: pip install 'fruits_pipeline[emr]' (or make setup).") from error
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "max_attempts": 8}, connect_timeout=10, max_pool_connections=32)
    return session.client(service, region_name=settings.region, config=config)


@cache
def _session() -> Any:
    """One for the whole command: who is logged in is found out once."""
    import boto3

    return boto3.session.Session()


def explain(error: BaseException) -> str | None:
    """Says in one message what AWS, or the way there, objects to.

    Args:
        error: Whatever a command raised.

    Returns:
        The message with its cure; None if the error has nothing to do with AWS.
    """
    chain = list(causes_of(error))
    for link in chain:
        code = error_code(link)
        if code is not None:
            return _client_error(link, code)
    for link in chain:
        if type(link).__module__.partition(".")[0] in ("botocore", "boto3", "s3transfer"):
            return _connection_error(type(link).__name__, str(link))
    return None


def error_code(error: BaseException) -> str | None:
    """The code of a botocore ClientError; None for other errors."""
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return None
    return str(response.get("Error", {}).get("Code", "")) or None


def _client_error(error: BaseException, code: str) -> str:
    response: Any = getattr(error, "response", {})
    found = response.get("Error", {})
    operation = getattr(error, "operation_name", "a request")
    bucket = f" {found['BucketName']}" if found.get("BucketName") else ""
    for pattern, (what, cure) in _CODES.items():
        if re.fullmatch(pattern, code):
            message = found.get("Message") or code
            return f"{what.format(message=message, bucket=bucket)} ({operation}: {code})\n{cure}"
    return f"AWS answers {code} to {operation}: {found.get('Message') or 'no further word'}"


_CONNECTION: Final = {
    r"NoCredentialsError|PartialCredentialsError|CredentialRetrievalError": (
        "There are no AWS credentials here.",
        LOGIN,
    ),
    r"ProfileNotFound": ("{message}.", LOGIN),
    r"\w*SSO\w*|TokenRetrievalError|LoginRefresh\w*|Login\w*Error": ("Your AWS login has expired.", LOGIN),
    r"EndpointConnectionError|ConnectTimeoutError|ReadTimeoutError|ConnectionClosedError|ConnectionError|HTTPClientError"
    r"|ProxyConnectionError|SSLError": (
        "AWS cannot be reached: {message}",
        f"Is there internet here, through a proxy perhaps (HTTPS_PROXY)? {_AGAIN}",
    ),
}


def _connection_error(name: str, message: str) -> str:
    for pattern, (what, cure) in _CONNECTION.items():
        if re.fullmatch(pattern, name):
            return f"{what.format(message=message.rstrip('.'))}\n{cure}"
    return f"{name}: {message}"


def pause(seconds: float) -> None:
    """Waits between two questions to AWS."""
    time.sleep(seconds)


def say(line: str = "") -> None:
    """Tells the user something."""
    click.echo(line)
    sys.stdout.flush()


def show_call(service: str, operation: str, arguments: Mapping[str, Any]) -> None:
    """What `--dry-run` prints instead of a call: `service.operation` and its arguments."""
    text = yaml.safe_dump(_plain(arguments), sort_keys=False, allow_unicode=True, width=10_000)
    say(f"would call {service}.{operation}")
    for line in text.splitlines():
        say(f"    {line}")


def _plain(value: Any) -> Any:
    """Values as YAML prints them well; a template is named by its length."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return value if len(value) < 500 and "\n" not in value else f"<{len(value)} characters>"
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return value
