"""Doubles of services that pushes go to: mail over SMTP, and Telegram behind an HTTPS proxy.

Apprise cannot be told another host for Telegram. But like every HTTP client it asks the proxy that
``HTTPS_PROXY`` names, and trusts the certificates in ``REQUESTS_CA_BUNDLE``: `TelegramDouble` is
that proxy, and speaks for api.telegram.org with a certificate of its own. Nothing is patched.
"""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

CERTIFICATE = Path(__file__).with_name("double.pem")
"""Certificate and key for api.telegram.org that only these tests trust."""


class _Server:
    """A server on a free loopback port, for a ``with`` block."""

    server: socketserver.BaseServer

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


@dataclass
class Mail:
    """One mail as it came."""

    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    message: EmailMessage = field(default_factory=EmailMessage)


class MailDouble(_Server):
    """An SMTP server that takes every mail, or refuses recipients with ``refuse``."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.refuse = ""
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                owner._talk(self)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def _talk(self, handler: socketserver.StreamRequestHandler) -> None:
        def say(line: str) -> None:
            handler.wfile.write(line.encode() + b"\r\n")

        mail = Mail()
        say("220 double")
        while line := handler.rfile.readline():
            verb = line[:4].upper()
            if verb == b"MAIL":
                mail.sender = _address(line)
            elif verb == b"RCPT" and self.refuse:
                say(self.refuse)
                continue
            elif verb == b"RCPT":
                mail.recipients.append(_address(line))
            elif verb == b"DATA":
                say("354 go on")
                mail.message = message_from_bytes(_data(handler), policy=policy.default)
                self.mails.append(mail)
                mail = Mail()
            elif verb == b"QUIT":
                say("221 bye")
                return
            say("250 ok")


def _address(line: bytes) -> str:
    return line.decode().partition("<")[2].partition(">")[0]


def _data(handler: socketserver.StreamRequestHandler) -> bytes:
    lines: list[bytes] = []
    while (line := handler.rfile.readline()) not in (b".\r\n", b""):
        lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
    return b"".join(lines)


class TelegramDouble(_Server):
    """A proxy that opens a tunnel to api.telegram.org and answers there itself."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Path and body of each call."""
        self.status = 200
        self.answer: dict[str, Any] = {"ok": True}
        owner = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                assert self.path == "api.telegram.org:443"
                self.wfile.write(b"HTTP/1.1 200 open\r\n\r\n")
                with context.wrap_socket(self.connection, server_side=True) as tunnel:
                    with tunnel.makefile("rb") as read:
                        path = read.readline().split()[1].decode()
                        length = 0
                        while (line := read.readline().strip()) != b"":
                            name, _, value = line.partition(b":")
                            length = int(value) if name.lower() == b"content-length" else length
                        owner.calls.append((path, json.loads(read.read(length))))
                    body = json.dumps(owner.answer).encode()
                    head = f"HTTP/1.1 {owner.status} x\r\nContent-Length: {len(body)}\r\n"
                    head += "Connection: close\r\n\r\n"
                    tunnel.sendall(head.encode() + body)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Tests look at ``calls`` instead."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.server.server_address[1]}",
            "REQUESTS_CA_BUNDLE": str(CERTIFICATE),
        }
