"""An HTTP proxy that counts, delays and breaks requests on their way to an S3 server.

Clients talk to the proxy's address and sign it as their Host, which is passed on unchanged: signatures stay valid.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'


@dataclass(frozen=True)
class Request:
    """The head of a request.

    Attributes:
        method: `GET`, …
        target: Path and query as sent, percent-encoded.
        headers: Names in lower case.
    """

    method: str
    target: str
    headers: dict[str, str]

    @property
    def key(self) -> str:
        """Bucket and key of the object, decoded; empty for requests about buckets."""
        path = self.target.partition("?")[0].lstrip("/")
        return unquote_to_bytes(path).decode() if "/" in path else ""

    @property
    def is_read(self) -> bool:
        return self.method == "GET" and bool(self.key)

    @property
    def is_write(self) -> bool:
        return self.method in ("PUT", "POST") and bool(self.key)

    @property
    def is_listing(self) -> bool:
        return "list-type=2" in self.target


@dataclass(frozen=True)
class Fault:
    """What becomes of a request.

    Attributes:
        delay: Seconds before it is passed on.
        status: Answered by the proxy itself with this status, and …
        code: … this S3 error code, and …
        message: … these words.
        drop_after: Bytes of the answer's body after which the connection is reset.
        bytes_per_second: Of the answer's body.
        unsent: The connection is reset before the request is passed on.
        headers: Added to the answer.
        lost: The request is done, but its answer never arrives: the connection is reset.
    """

    delay: float = 0.0
    status: int | None = None
    code: str = ""
    message: str = ""
    drop_after: int | None = None
    bytes_per_second: float | None = None
    unsent: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False


@dataclass
class S3Proxy:
    """The proxy; use it as a context manager.

    Attributes:
        upstream: Port of the S3 server on 127.0.0.1.
        fault: Says what becomes of each request; may be exchanged at any time.
        requests: All requests so far.
        reading: Objects whose GETs are under way.
        most_reading: The largest that `reading` has been.
    """

    upstream: int
    fault: Callable[[Request], Fault] = lambda request: Fault()
    requests: list[Request] = field(default_factory=list)
    reading: int = 0
    most_reading: int = 0
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def reads(self) -> list[str]:
        """Bucket and key of every GET of an object, in order."""
        return [request.key for request in self.requests if request.is_read]

    @property
    def listings(self) -> list[Request]:
        return [request for request in self.requests if request.is_listing]

    def __enter__(self) -> "S3Proxy":
        ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._run(ready)], name="s3-proxy")
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=256)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopped.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(_Peer(reader, writer)))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, client: "_Peer") -> None:
        server = None
        try:
            server = _Peer(*await asyncio.open_connection("127.0.0.1", self.upstream))
            while True:
                await self._exchange(client, server)
        except (OSError, asyncio.IncompleteReadError):
            pass  # one side has hung up, or a fault says so
        finally:
            await client.close()
            if server:
                await server.close()

    async def _exchange(self, client: "_Peer", server: "_Peer") -> None:
        """One request and its answer."""
        head = await client.head()
        request = _parse(head)
        self.requests.append(request)
        fault = self.fault(request)
        with self._counted(request):
            await asyncio.sleep(fault.delay)
            if fault.unsent:
                client.reset()
            if fault.status:
                if "expect" not in request.headers:  # otherwise the body is not sent before we ask for it
                    await client.discard_body(request.headers)
                await client.send(_error(fault, request.method))
            else:
                await server.send(head)
                sending = asyncio.create_task(client.pass_body(server, request.headers))
                await _answer(request, fault, client, server)
                await sending

    @contextmanager
    def _counted(self, request: Request) -> Iterator[None]:
        self.reading += request.is_read
        self.most_reading = max(self.most_reading, self.reading)
        try:
            yield
        finally:
            self.reading -= request.is_read


async def _answer(request: Request, fault: Fault, client: "_Peer", server: "_Peer") -> None:
    """Passes the server's answer on, `100 Continue` included."""
    status = 100
    while status == 100:
        head = await server.head()
        status = int(head.split(b" ", 2)[1])
        if fault.lost and status != 100:
            client.reset()
        await client.send(_with(fault.headers, head))
    if request.method != "HEAD" and status not in (204, 304):
        await server.pass_body(client, _headers(head), fault)


def _parse(head: bytes) -> Request:
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    return Request(method, target, _headers(head))


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _with(more: dict[str, str], head: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
    return head.removesuffix(b"\r\n") + lines.encode() + b"\r\n"


def _error(fault: Fault, method: str) -> bytes:
    body = _ERROR.format(fault.code, fault.message).encode()
    head = f"HTTP/1.1 {fault.status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + (b"" if method == "HEAD" else body)


@dataclass
class _Peer:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def discard_body(self, headers: dict[str, str]) -> None:
        async for _ in self._body(headers):
            pass

    async def pass_body(self, other: "_Peer", headers: dict[str, str], fault: Fault | None = None) -> None:
        fault, sent = fault or Fault(), 0
        async for part in self._body(headers):
            if fault.drop_after is not None and sent + len(part) > fault.drop_after:
                await other.send(part[: fault.drop_after - sent])
                other.reset()
            if fault.bytes_per_second:
                await asyncio.sleep(len(part) / fault.bytes_per_second)
            await other.send(part)
            sent += len(part)

    async def _body(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        """The parts of a body as they stand on the wire."""
        if headers.get("transfer-encoding") == "chunked":
            size = -1
            while size != 0:
                line = await self.reader.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                yield line + await self.reader.readexactly(size + 2)
        else:
            left = int(headers.get("content-length", 0))
            while left and (part := await self.reader.read(min(left, 65536))):
                left -= len(part)
                yield part

    def reset(self) -> None:
        """Ends the connection as a fallen machine would: with RST, not FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()
        raise ConnectionAbortedError

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()
