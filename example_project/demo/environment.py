"""Gives a run everything of its own: folder, ports, database, queue.

Settings come from environment variables and are read once. So the command makes the variables,
then starts itself anew with them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from django.db import Error as DatabaseTrouble
from django.db import connection, connections
from kombu.exceptions import OperationalError

from example_project.config import celery_app
from example_project.demo.errors import DemoFailed

RUN = "STUDIO_DEMO_RUN"
HOST = "127.0.0.1"


def is_prepared() -> bool:
    """Whether this process has the variables of a run."""
    return RUN in os.environ


def start_anew() -> None:
    """Replace this process by one with the variables of a new run; does not return."""
    run = f"gemini_webhooks_demo_{secrets.token_hex(4)}"
    folder = tempfile.mkdtemp(prefix=f"{run}_")
    site, emulator = (f"http://{HOST}:{port}" for port in _free_ports(2))
    own = {
        RUN: run,
        "STUDIO_DIR": folder,
        # Also what processes leave behind that are not asked to end, but ended.
        "TMPDIR": folder,
        "DATABASE_URL": _beside(os.environ.get("DATABASE_URL", ""), run),
        "CELERY_QUEUE": run,
        "STUDIO_QUEUES": "",
        "PUBLIC_BASE_URL": site,
        "GOOGLE_GEMINI_BASE_URL": emulator,
        "STORAGE_EMULATOR_HOST": emulator,
        "GEMINI_API_KEY": "demo",
        "DEBUG": "1",
        "ALLOWED_HOSTS": HOST,
        # Everything is on this machine; a proxy could not reach it.
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }
    sys.stdout.flush()
    os.execve(sys.executable, sys.orig_argv, {**os.environ, **own})  # noqa: S606  # this very command


@contextmanager
def of_its_own() -> Iterator[Path]:
    """Give the folder of the run; remove folder, database and queue at the end.

    After a failure the folder stays: the logs are in it.
    """
    folder = Path(os.environ["STUDIO_DIR"])
    with ExitStack() as stack:
        stack.enter_context(_removed_unless_failed(folder))
        stack.enter_context(_database())
        stack.callback(_remove_queue)
        yield folder


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]


def _beside(url: str, name: str) -> str:
    """The database ``name`` on the same server; empty, for the default, if there is no server."""
    if not url or url.startswith("sqlite"):
        return ""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def _removed_unless_failed(folder: Path) -> Iterator[None]:
    keep = False
    try:
        yield
    except Exception:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database() -> Iterator[None]:
    if connection.vendor == "sqlite":  # a file in the folder
        yield
        return
    name = connection.ops.quote_name(os.environ[RUN])
    mysql = connection.vendor == "mysql"
    _execute(f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if mysql else ""))
    try:
        yield
    finally:
        connections.close_all()
        _execute(f"DROP DATABASE {name}" + ("" if mysql else " WITH (FORCE)"))


def _execute(statement: str) -> None:
    try:
        # As Django's test runner does: a connection to the server, but to no database of a user.
        with connection._nodb_cursor() as cursor:
            cursor.execute(statement)
    except DatabaseTrouble as error:
        raise DemoFailed(f"The database server refused “{statement}”: {error}") from error


def _remove_queue() -> None:
    """A server keeps queues until somebody removes them."""
    if celery_app.conf.broker_url.startswith("filesystem:"):
        return
    queue = celery_app.amqp.queues[os.environ[RUN]]
    # A broker that is gone cannot be tidied; whoever looks for it has noticed by now.
    with suppress(OperationalError), celery_app.connection_for_write(connect_timeout=3) as broker:
        broker.ensure_connection(max_retries=1)
        mine = queue(broker.default_channel)
        mine.declare()  # tells this process what belongs to it
        mine.delete()
        mine.exchange.delete()
