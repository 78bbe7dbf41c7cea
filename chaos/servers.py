"""PostgreSQL, RabbitMQ and Redis of the run's own, made to be broken. Nothing else is touched."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psycopg
import redis
from kombu import Connection

from chaos.processes import ChaosError, Processes, Service, wait_until

LOOPBACK = "127.0.0.1"
START_SECONDS = 60


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def serves(port: int) -> bool:
    """Whether a web server there answers at once."""
    connection = HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == HTTPStatus.NOT_FOUND
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def missing(*, broker: str) -> str | None:
    """Which program is not installed; ``None`` if all are there."""
    try:
        _postgres_binary("initdb")
    except ChaosError as error:
        return str(error)
    if broker == "amqp" and not RABBITMQ.exists():
        return f"{RABBITMQ} is not there: make services"
    if shutil.which("redis-server") is None:
        return "redis-server is not installed: make services"
    return None


def _postgres_binary(name: str) -> str:
    found = shutil.which(name)
    if found:
        return found
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise ChaosError(f"PostgreSQL's {name} is not installed: make services")
    return str(newest)


class Postgres:
    """A cluster of its own, started as a child so that each signal reaches the postmaster."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.port = free_port()
        self._processes = processes
        # It refuses to be root.
        user = "postgres" if os.getuid() == 0 else None
        name = user or pwd.getpwuid(os.getuid()).pw_name
        folder.mkdir()
        if user:
            shutil.chown(folder, user, user)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        data = folder / "data"
        processes.run(
            [
                _postgres_binary("initdb"),
                f"--pgdata={data}",
                "--username=chaos",
                "--auth=trust",
                "--encoding=UTF8",
            ],
            {**environment, "HOME": str(folder), "USER": name},
            user=user,
        )
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": folder,
            "max_connections": 150,
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.service = processes.add(
            "postgres",
            [_postgres_binary("postgres"), "-D", str(data), *options],
            environment,
            user=user,
            # Its children hide their environment, and with it the mark; it ends them itself.
            last_signal=signal.SIGQUIT,
        )
        self.wait()

    def connect(self) -> psycopg.Connection:
        """A new connection in autocommit mode."""
        return psycopg.connect(
            host=LOOPBACK, port=self.port, user="chaos", dbname="postgres", autocommit=True
        )

    def is_ready(self) -> bool:
        """Whether it takes queries; while it recovers from a crash it does not."""
        with suppress(psycopg.Error), self.connect() as connection:
            connection.execute("SELECT 1")
            return True
        return False

    def wait(self) -> None:
        """Wait until it takes queries."""
        wait_until(self.is_ready, "PostgreSQL answers", seconds=START_SECONDS)

    def restart(self, *, crash: bool) -> None:
        """Stop it, in an orderly way or as after a crash, and start it again."""
        self._processes.stop(self.service, signal.SIGQUIT if crash else signal.SIGINT)
        self._processes.start(self.service)
        self.wait()

    def cut(self) -> int:
        """End all connections but the one that does it; returns how many."""
        with self.connect() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return len(ended.fetchall())

    def kill_backend(self) -> None:
        """Kill one backend, upon which the server drops all of them and recovers."""
        with self.connect() as connection:
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
            ).fetchone()
        if row:
            with suppress(ProcessLookupError):
                os.kill(row[0], signal.SIGKILL)
        self.wait()


RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitMQ:
    """A node of its own, with a port mapper of its own, that no other node can see."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@{LOOPBACK}:{self.port}//"
        self._processes = processes
        self._data = folder / "data"
        folder.mkdir()
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = {LOOPBACK}:{self.port}\n")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"chaos{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        }
        self.service: Service = processes.add("broker", [str(RABBITMQ)], environment)

    def is_ready(self) -> bool:
        """Whether a client can log in."""
        return answers(self.port) and _takes_clients(self.url)

    def wait(self) -> None:
        """Wait until a client can log in."""
        wait_until(self.is_ready, "RabbitMQ answers", seconds=START_SECONDS)

    def stop(self, *, crash: bool, wipe: bool = False) -> None:
        """End it; with ``wipe`` all queues and messages are gone."""
        # The service is a script, and the node its child.
        number = signal.SIGKILL if crash else signal.SIGTERM
        self._processes.stop(self.service, number, group=crash)
        if wipe:
            shutil.rmtree(self._data, ignore_errors=True)

    def start(self) -> None:
        """Start it again."""
        self._processes.start(self.service)
        self.wait()


class Redis:
    """A server that keeps everything in memory: a restart wipes it."""

    def __init__(self, processes: Processes, name: str) -> None:
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}/0"
        self._processes = processes
        command = f"redis-server --bind {LOOPBACK} --port {self.port} --appendonly no --save"
        self.service = processes.add(name, [*command.split(), ""], {"PATH": os.environ["PATH"]})

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(lambda: answers(self.port), "Redis answers", seconds=START_SECONDS)

    def stop(self, *, crash: bool, wipe: bool = False) -> None:  # noqa: ARG002  # it always forgets
        """End it, and with it all that it holds."""
        self._processes.stop(self.service, signal.SIGKILL if crash else signal.SIGTERM)

    def start(self) -> None:
        """Start it again, empty."""
        self._processes.start(self.service)
        self.wait()

    def wipe(self) -> None:
        """Remove all that it holds."""
        with redis.Redis(host=LOOPBACK, port=self.port) as client:
            client.flushall()


def purge(url: str, queue: str = "celery") -> int:
    """Remove the waiting messages of a queue; returns how many."""
    with Connection(url, connect_timeout=5) as connection:
        channel: Any = connection.default_channel
        return int(channel.queue_purge(queue) or 0)


def _takes_clients(url: str) -> bool:
    with suppress(Exception), Connection(url, connect_timeout=5) as connection:
        connection.connect()
        return True
    return False
