"""A real webhook receiver on a loopback port: it records, verifies, and misbehaves as told.

    with WebhookReceiver(secrets={"/an": "an-secret"}) as receiver:
        ...                                          # channel url: receiver.url("/an")
        receiver.plan("/an", Status(500), Status(429, retry_after="2"), Close(), Hang(5))
        receiver.wait_for(1)

Answers in a plan are used up one by one; then every request is answered 200. What was *received*
counts also where the answer was an error or none: only ``accepted`` requests got a 2xx.
"""

from __future__ import annotations

import functools
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

from notify.signature import IDEMPOTENCY_KEY, SIGNATURE, TIMESTAMP, verify


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with a status, and perhaps a ``Retry-After``."""

    code: int = 200
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    """Take the request, then close the connection before any answer."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Take the request and say nothing for so long, or until the receiver is closed; then answer 200."""

    seconds: float = 30.0


Behaviour = Status | Close | Hang


@dataclass(frozen=True, slots=True)
class Received:
    """One request. ``verified``: signature and time stamp are right for the path's secret."""

    path: str
    key: str
    body: bytes
    headers: dict[str, str]
    verified: bool
    at: float
    behaviour: Behaviour

    @property
    def accepted(self) -> bool:
        """Was it answered with 2xx?"""
        return isinstance(self.behaviour, Hang) or (
            isinstance(self.behaviour, Status) and 200 <= self.behaviour.code < 300
        )

    def json(self) -> dict[str, Any]:
        """The body."""
        return cast("dict[str, Any]", json.loads(self.body))


@dataclass
class WebhookReceiver:
    """The receiver; a context manager. Thread-safe."""

    secrets: dict[str, str] = field(default_factory=dict)
    """Path → secret. A request to another path is recorded and counts as not verified."""
    port: int = 0

    def __post_init__(self) -> None:
        self.requests: list[Received] = []
        self.always: Behaviour = Status(200)
        self.on_request: Callable[[Received], None] = lambda received: None
        """Called after a request was recorded and before it is answered."""
        self._plans: dict[str, deque[Behaviour]] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that went away is part of the tests."""

        self._server = Server(("127.0.0.1", self.port), functools.partial(_Handler, self))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def url(self, path: str) -> str:
        """Address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def plan(self, path: str, *behaviours: Behaviour) -> None:
        """What the next requests to ``path`` are answered with, one each."""
        with self._changed:
            self._plans.setdefault(path, deque()).extend(behaviours)

    def keys(self) -> list[str]:
        """Idempotency keys of the accepted requests, in order, with repeats."""
        with self._changed:
            return [request.key for request in self.requests if request.accepted]

    def wait_for(
        self, count: int, timeout: float = 30.0, *, where: Callable[[Received], bool] = lambda r: r.accepted
    ) -> list[Received]:
        """Wait until ``count`` different pushes (by key) were received; ``where`` says which requests count.

        Raises `TimeoutError` with what came instead.
        """
        deadline = time.monotonic() + timeout

        def found() -> list[Received]:
            return [request for request in self.requests if where(request)]

        with self._changed:
            while len({request.key for request in found()}) < count:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    came = [(request.key, request.behaviour) for request in self.requests]
                    raise TimeoutError(f"{count} pushes were expected; came: {came}")
            return found()

    def _receive(self, path: str, headers: dict[str, str], body: bytes) -> Received:
        secret = self.secrets.get(path)
        timestamp, signature = headers.get(TIMESTAMP.lower(), ""), headers.get(SIGNATURE.lower(), "")
        verified = secret is not None and verify(secret, timestamp, signature, body, now=time.time())
        key = headers.get(IDEMPOTENCY_KEY.lower(), "")
        with self._changed:
            plan = self._plans.get(path)
            behaviour = plan.popleft() if plan else self.always
            received = Received(path, key, body, headers, verified, time.time(), behaviour)
            self.requests.append(received)
            self._changed.notify_all()
        self.on_request(received)
        return received

    def _wait(self, seconds: float) -> None:
        self._closing.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, owner: WebhookReceiver, *arguments: Any) -> None:
        self.owner = owner
        super().__init__(*arguments)

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = int(headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # the sender died, or gave up, in the middle of it: no request came
            self.close_connection = True
            return
        received = self.owner._receive(self.path, headers, body)
        behaviour = received.behaviour
        if isinstance(behaviour, Close):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if isinstance(behaviour, Hang):
            self.owner._wait(behaviour.seconds)
            behaviour = Status(200)
        self.send_response(behaviour.code)
        if behaviour.retry_after:
            self.send_header("Retry-After", behaviour.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Tests look at ``requests`` instead."""
