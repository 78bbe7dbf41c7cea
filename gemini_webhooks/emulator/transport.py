"""One HTTP POST that cannot hang for ever."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
ANSWER_BYTES = 64 * 1024
KEPT_BYTES = 4 * 1024


class Unreachable(Exception):
    """No HTTP answer came; the message says why."""


class BrokenOff(Exception):
    """The emulator ends; nobody knows what became of the request."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a receiver answered; ``body`` is its first 4 KiB."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def is_target(uri: object) -> bool:
    """Whether a webhook can be delivered to ``uri``: absolute, http or https, no login in it."""
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable() or " " in uri:
        return False
    try:
        parts = urlsplit(uri)
        return (
            parts.scheme in CONNECTIONS
            and bool(parts.hostname)
            and parts.port != 0
            and ("@" not in parts.netloc)
        )
    except ValueError:
        return False


class Transport:
    """Posts, and can break off everything under way.

    Args:
        timeout: seconds to connect, and seconds to wait for the answer.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False

    def post(self, uri: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send ``body`` and return the answer; redirects are not followed.

        Raises:
            Unreachable: there was no answer.
            BrokenOff: :meth:`close` was called meanwhile.
        """
        parts = urlsplit(uri)
        connection = CONNECTIONS[parts.scheme](parts.netloc, timeout=self._timeout)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        try:
            connection.connect()
            with self._tracked(connection.sock):
                connection.request("POST", path, body=body, headers=dict(headers))
                response = connection.getresponse()
                # Read, or the receiver sees its connection reset.
                with response:
                    answer = response.read(ANSWER_BYTES)
                return Reply(
                    status=int(response.status),
                    headers=dict(response.getheaders()),
                    body=answer[:KEPT_BYTES],
                )
        # ValueError: a host whose name has too long a part, or whatever else cannot be called.
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._closed:
                raise BrokenOff from error
            if isinstance(error, TimeoutError):
                raise Unreachable(f"no answer within {self._timeout:g} s") from error
            raise Unreachable(str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Break off what is under way."""
        with self._lock:
            self._closed = True
            for connected in self._open:
                with contextlib.suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _tracked(self, connected: socket.socket) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise BrokenOff
            self._open.add(connected)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connected)
