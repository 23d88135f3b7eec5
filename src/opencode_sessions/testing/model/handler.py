"""One HTTP connection to the scripted model, and the listener that hands them out."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import socketserver
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread
from typing import Any

from opencode_sessions.testing.model.completions import (
    chunk,
    completion,
    deltas,
    error_body,
    finish_reason,
    usage,
)
from opencode_sessions.testing.model.request import MAIN_MODEL, SMALL_MODEL, ModelRequest
from opencode_sessions.testing.model.script import Cut, Refusal, Step

__all__ = ["Listener"]

logger = logging.getLogger("opencode_sessions.testing.model")

# OpenCode names its session here, so that a provider can keep it on one machine.
_SESSION_HEADER = "x-session-affinity"


class Listener(socketserver.TCPServer):
    """A socket, a thread for each of its connections, and a way to end them all.

    Args:
        hostname: The address to listen on.
        port: The port; 0 for any free port.
        answer: Returns the step for a request; it is called from many threads.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, hostname: str, port: int, answer: Callable[[ModelRequest], Step]) -> None:
        super().__init__((hostname, port), _Handler)
        self.answer = answer
        self.stopping = Event()
        self._connections: dict[socket.socket, Thread] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that `hang_up` can find."""
        thread = Thread(
            target=self._serve, args=(request, client_address), name="scripted-model-connection", daemon=True
        )
        self._connections = {one: its for one, its in self._connections.items() if its.is_alive()}
        self._connections[request] = thread
        thread.start()

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except ConnectionError as error:
            logger.debug("the client went away: %s", error)
        except Exception:
            logger.exception("the scripted model failed at a request")
        finally:
            self.shutdown_request(request)

    def hang_up(self) -> None:
        """Break all connections, and wait until their threads have ended. Call it after `shutdown`."""
        self.stopping.set()
        for connection, thread in self._connections.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class named it
        logger.debug(format, *args)

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/v1/models":
            models = [{"id": name, "object": "model"} for name in (MAIN_MODEL, SMALL_MODEL)]
            self._send_json(HTTPStatus.OK, {"object": "list", "data": models})
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {self.path} here")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.rstrip("/") != "/v1/chat/completions":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {self.path} here")
            return
        try:
            request = ModelRequest.from_body(json.loads(body), session=self.headers.get(_SESSION_HEADER))
            step = self.server.answer(request)
        except Exception as error:
            # A status that is not retried: a host's faulty rule must end the turn, not delay it.
            logger.exception("the scripted model has no answer to a request")
            self._refuse(HTTPStatus.BAD_REQUEST, f"no answer: {type(error).__name__}: {error}")
            return
        if isinstance(step.trouble, Refusal):
            self._send_refusal(step.trouble)
        elif request.stream:
            self._stream(step, request)
        else:
            self._send_whole(step, request)

    def _stream(self, step: Step, request: ModelRequest) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self._send_event(chunk(request, {"role": "assistant", "content": ""}))
        pieces = list(deltas(step, request))
        if isinstance(step.trouble, Cut):
            pieces = pieces[: len(pieces) // 2]
        for piece in pieces:
            if self.server.stopping.wait(step.pause):
                return
            self._send_event(chunk(request, piece))
        if isinstance(step.trouble, Cut):
            return  # without the empty chunk that ends a body, so that the client sees an interruption
        self._send_event(chunk(request, {}, finish=finish_reason(step), tokens=usage(step, request)))
        self._send_chunk(b"data: [DONE]\n\n")
        self._send_chunk(b"")

    def _send_whole(self, step: Step, request: ModelRequest) -> None:
        if not self.server.stopping.wait(step.pause * len(list(deltas(step, request)))):
            cut = isinstance(step.trouble, Cut)
            self._send_json(HTTPStatus.OK, completion(step, request), cut=cut)

    def _send_refusal(self, refusal: Refusal) -> None:
        limited = refusal.status == HTTPStatus.TOO_MANY_REQUESTS
        headers = {} if refusal.retry_after is None else {"Retry-After": f"{refusal.retry_after:g}"}
        kind = "rate_limit_exceeded" if limited else "scripted_error"
        self._send_json(refusal.status, error_body(refusal.message, kind=kind), headers=headers)

    def _refuse(self, status: int, message: str) -> None:
        self._send_json(status, error_body(f"The scripted model: {message}.", kind="invalid_request"))

    def _send_json(
        self, status: int, body: Any, *, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)

    def _send_event(self, event: dict[str, Any]) -> None:
        self._send_chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
