"""Serves the emulator over HTTP, on its own, without a site's middleware."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse, StreamingHttpResponse, UnreadablePostError
from django.urls import Resolver404, resolve

from gemini_webhooks.emulator.errors import ApiError, not_found
from gemini_webhooks.emulator.faults import AnswerLost
from gemini_webhooks.emulator.keeping import Keeper
from gemini_webhooks.emulator.options import Options
from gemini_webhooks.emulator.state import ENVIRON_KEY, Emulator

URLCONF = "gemini_webhooks.emulator.urls"
DRAIN_BYTES = 64 * 1024
#: Nobody can be called there on every system.
EVERYWHERE = ("", "0.0.0.0")  # noqa: S104  # it is not listened at because of this

logger = logging.getLogger(__name__)


def respond(request: WSGIRequest) -> HttpResponse | StreamingHttpResponse:
    """Find the view and call it; whatever goes wrong has Google's form.

    Raises:
        ConnectionAbortedError: the client went away, or a fault asks for it; nobody is answered.
    """
    try:
        match = resolve(request.path_info, URLCONF)
        response: HttpResponse | StreamingHttpResponse = match.func(request, **match.kwargs)
    except Resolver404:
        return not_found("The path").response()
    except UnreadablePostError as error:
        raise ConnectionAbortedError("the client went away") from error
    except AnswerLost:
        raise
    except Exception:
        logger.exception("The emulator failed to answer")
        return ApiError(500, "The emulator failed; see its log.").response()
    return response


class _Handler(WSGIRequestHandler):
    """One connection, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    # One packet per answer where it fits, sent at once: otherwise each waits for an ACK.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        # The parent closes after one request.
        with contextlib.suppress(ConnectionError):
            BaseHTTPRequestHandler.handle(self)

    def answer(self) -> None:
        request = WSGIRequest(self._environ())
        try:
            with contextlib.closing(respond(request)) as response:
                self._send(response)
            while request.read(DRAIN_BYTES):
                """What a view left unread would be taken for the next request."""
        except (ConnectionError, UnreadablePostError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815  # the parent's

    def log_message(self, *args: Any) -> None:
        """Say nothing: the deliveries are what one wants to see."""

    def _environ(self) -> dict[str, Any]:
        return {
            **self.get_environ(),
            ENVIRON_KEY: self.server.emulator,
            "wsgi.input": self.rfile,
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
        }

    def _send(self, response: HttpResponse | StreamingHttpResponse) -> None:
        self.send_response(response.status_code, response.reason_phrase)
        if isinstance(response, HttpResponse):
            response.headers["Content-Length"] = str(len(response.content))
        for name, value in response.items():
            self.send_header(name, value)
        endless = "Content-Length" not in response
        if endless:
            # It ends with the connection, and each piece goes out as it comes.
            self.send_header("Connection", "close")
        self.end_headers()
        for chunk in response if self.command != "HEAD" else ():
            self.wfile.write(chunk)
            if endless:
                self.wfile.flush()
        self.wfile.flush()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Knows its connections, so that it can end them."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], emulator: Emulator) -> None:
        self.emulator = emulator
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)
        host, port = self.server_address[:2]
        self.base_environ = {
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "SCRIPT_NAME": "",
            "GATEWAY_INTERFACE": "CGI/1.1",
        }

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the parent's
        # A client that goes away is none of our business.
        if not isinstance(error := sys.exception(), ConnectionError):
            logger.error("A connection to the emulator failed", exc_info=error)

    def stop_listening(self) -> None:
        """End the loop, at once where a listening socket can be shut down."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()

    def end_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class EmulatorServer:
    """An emulator and its HTTP server, for use in a ``with`` statement.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        options: keywords of :class:`~gemini_webhooks.emulator.options.Options`.

    Attributes:
        emulator: what it serves.
        url: its base address, without a slash at the end, for whoever is on this machine.

    Raises:
        OSError: the port cannot be had.
        ConfigurationError: an option makes no sense.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        self.emulator = Emulator(Options(**options))
        self._keeper = Keeper(self.emulator)
        try:
            self._server = _Server((host, port), self.emulator)
        except BaseException:
            self._keeper.close()
            raise
        name = "127.0.0.1" if host in EVERYWHERE else host
        self.url = f"http://{name}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="gemini-emulator-http"
        )

    def __enter__(self) -> Self:
        self._keeper.start()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.emulator.closing.set()
        self._server.stop_listening()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()
        self.emulator.close()
        self._keeper.close()
