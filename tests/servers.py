"""Where the servers of the tests are, and whether they answer."""

from __future__ import annotations

import os
import shutil
import socket
from functools import cache
from urllib.parse import urlsplit

import pytest

#: The defaults are those of Debian's packages on loopback.
URLS = {
    "postgres": os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
    "mariadb": os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/test"),
    "redis": os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9"),
    "amqp": os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}
DEFAULT_PORTS = {"postgres": 5432, "mariadb": 3306, "redis": 6379, "amqp": 5672}
REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


@cache
def missing(name: str) -> str | None:
    """Say why the server ``name`` cannot be used; ``None`` if it can."""
    if name == "wrk":  # serves nothing, and is installed with the others
        return None if shutil.which(name) else "no wrk; `make services`"
    url = urlsplit(URLS[name])
    address = (url.hostname or "127.0.0.1", url.port or DEFAULT_PORTS[name])
    try:
        with socket.create_connection(address, timeout=2):
            return None
    except OSError as error:
        variable = f"TEST_{name.upper()}_URL"
        return (
            f"no {name} at {address[0]}:{address[1]} ({error}); set {variable} or `make services`"
        )


def demand(item: pytest.Item) -> None:
    """Skip a test without a server that its markers name; fail it where servers are required."""
    for marker in item.iter_markers("server"):
        for name in marker.args:
            go_without(missing(name))


def go_without(reason: str | None) -> None:
    """Skip a test for ``reason``, if there is one; fail it where servers are required."""
    if reason and REQUIRED:
        pytest.fail(f"REQUIRE_SERVICES=1, but {reason}", pytrace=False)
    elif reason:
        pytest.skip(reason)
