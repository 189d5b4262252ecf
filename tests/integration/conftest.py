"""Fixtures: a real S3 server, and a proxy that breaks the way to it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from fruits_pipeline import s3

from .s3_proxy import S3Proxy
from .s3_server import S3Server, S3ServerError, start_s3_server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS with enforced keys; its data are gone after the tests."""
    try:
        server = start_s3_server(tmp_path_factory.mktemp("s3"))
    except S3ServerError as error:
        pytest.skip(f"no S3 server: {error}")
    yield server
    server.stop()


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    """The way to the server; without faults until a test names some."""
    with S3Proxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def sign_in(s3_server: S3Server, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that makes this process one of the server's identities; every change makes new clients."""

    def forget_clients() -> None:
        for cached in (s3._session, s3.client, s3._object_store):
            cached.cache_clear()

    def become(identity: str = "admin", **changes: str) -> None:
        for name, value in {**s3_server.environment(identity, proxy.endpoint), **changes}.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        forget_clients()

    become()
    yield become
    forget_clients()


@dataclass(frozen=True)
class S3Folder:
    """A folder of the test bucket.

    Attributes:
        bucket: Name of the bucket.
        prefix: Of the folder's keys, without a slash at its end.
    """

    server: S3Server
    bucket: str
    prefix: str

    @property
    def root(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def fill(self, objects: dict[str, bytes]) -> None:
        """Uploads objects by their names in this folder."""
        self.server.fill(self.bucket, {f"{self.prefix}/{name}": content for name, content in objects.items()})

    def delete(self, name: str) -> None:
        self.server.client().delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server) -> str:
    """One for all tests: a new one costs seconds until the server has made room for it."""
    s3_server.fill("fruits-test", {})
    s3_server.fill("fruits-test", {"first": b""})
    return "fruits-test"


@pytest.fixture
def folder(s3_server: S3Server, bucket: str, sign_in: Callable[..., None]) -> S3Folder:
    """An empty folder of this test's own; this process may read and write it."""
    return S3Folder(s3_server, bucket, f"test {uuid.uuid4().hex[:8]} é")
