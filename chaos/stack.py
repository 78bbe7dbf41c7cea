"""All that runs: servers, web processes, workers, beat, and Google's side."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from chaos.events import MOST, Signer
from chaos.google import BUCKET
from chaos.options import Options
from chaos.processes import Processes, Service, wait_until
from chaos.servers import LOOPBACK, Postgres, RabbitMQ, Redis, answers, free_port, serves

PROJECT = Path(__file__).resolve().parent.parent
AUDIENCE = "https://chaos.example/webhooks/gemini/"
#: Room for part files, and for each result file of which a run has many.
DISK_MEGABYTES, RESULT_MEGABYTES = 32, 0.15
#: What PostgreSQL calls the connection that changes tables.
MIGRATION = "chaos-migrate"
#: No foreign keys, no unique columns: whatever is written twice is there twice.
TABLES = """
CREATE TABLE chaos_effect (id bigserial PRIMARY KEY, webhook_id text NOT NULL,
    receiver text NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE chaos_call (id bigserial PRIMARY KEY, webhook_id text NOT NULL);
CREATE TABLE chaos_keyed (key text PRIMARY KEY);
"""


@dataclass(frozen=True, kw_only=True)
class Servers:
    """What the site runs on, and what it has to know.

    Attributes:
        environment: of each process of the site.
    """

    options: Options
    scratch: Path
    processes: Processes
    postgres: Postgres
    broker: RabbitMQ | Redis
    cache: Redis
    web_port: int
    signer: Signer
    config: dict[str, Any]
    environment: dict[str, str]

    @property
    def disk(self) -> Path:
        """What results and part files are written to; can be filled."""
        return self.scratch / "disk"

    @property
    def has_own_disk(self) -> bool:
        """Whether filling it hurts nobody else."""
        return os.path.ismount(self.disk)

    @property
    def lease_seconds(self) -> float:
        """How long a claim holds in this run."""
        return 60 * self.options.scale

    def with_code(self, code: Path) -> Self:
        """The same, for processes that take the app from the folder ``code``."""
        path = f"{code}{os.pathsep}{self.environment['PYTHONPATH']}"
        return replace(self, environment={**self.environment, "PYTHONPATH": path})

    def migrate(self) -> None:
        """Create or change the app's tables."""
        environment = {**self.environment, "PGAPPNAME": MIGRATION}
        self.processes.run_python(environment, "-m", "django", "migrate", "--verbosity", "0")

    def start_google(self) -> Service:
        """Serve the key set and the bucket."""
        command = _python("chaos.google", str(self.scratch / "config.json"))
        service = self.processes.add("google", command, self.environment)
        port = self.config["bucket_port"]
        wait_until(lambda: answers(port), "the emulator answers", seconds=60)
        return service

    def start_web(self, name: str = "web") -> Service:
        """Serve the site."""
        bind = f"{LOOPBACK}:{self.web_port}"
        server = f"chaos.site.wsgi --workers 3 --threads 4 --bind {bind} --no-control-socket"
        web = self.processes.add(name, _python("gunicorn", *server.split()), self.environment)
        wait_until(lambda: serves(self.web_port), "gunicorn answers", seconds=120)
        return web

    def start_worker(self, name: str) -> Service:
        """Take messages."""
        command = "celery -A chaos.site worker --loglevel WARNING --concurrency 4"
        quiet = f"--without-gossip --without-mingle --hostname {name}@chaos"
        # Part files of downloads lie in the folder for temporary files.
        on_disk = {**self.environment, "TMPDIR": str(self.disk / "tmp")}
        return self.processes.add(name, _python(*command.split(), *quiet.split()), on_disk)

    def start_beat(self, name: str = "beat") -> Service:
        """Send the messages of the schedule."""
        command = f"celery -A chaos.site beat --schedule {self.scratch}/beat --pidfile="
        return self.processes.add(name, _python(*command.split()), self.environment)


@dataclass(frozen=True, kw_only=True)
class Stack(Servers):
    """All that runs, for those who break it and those who look at it."""

    google: Service
    web: Service
    workers: tuple[Service, ...]
    beat: Service


@contextmanager
def running(options: Options, scratch: Path) -> Iterator[Stack]:
    """Start everything; end it, with whatever it left, in any case.

    Raises:
        ChaosError: something does not start.
    """
    with servers_running(options, scratch) as servers:
        servers.migrate()
        google = servers.start_google()
        workers = tuple(servers.start_worker(f"worker-{name}") for name in "ab")
        beat, web = servers.start_beat(), servers.start_web()
        yield Stack(**vars(servers), google=google, web=web, workers=workers, beat=beat)


@contextmanager
def servers_running(options: Options, scratch: Path) -> Iterator[Servers]:
    """Start what the site runs on; end it, with whatever it left, in any case.

    Raises:
        ChaosError: something does not start.
    """
    scratch.chmod(0o711)  # PostgreSQL is another user, and passes through
    share, most = MOST["batch.succeeded"]
    megabytes = DISK_MEGABYTES + RESULT_MEGABYTES * min(share * options.events, most)
    with _disk(scratch / "disk", int(megabytes)), Processes(scratch / "logs") as processes:
        broker: RabbitMQ | Redis
        if options.broker == "redis":
            broker = Redis(processes, "broker")
        else:
            broker = RabbitMQ(processes, scratch / "broker")
        cache = Redis(processes, "cache")
        postgres = Postgres(processes, scratch / "postgres")
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        signer = Signer(secret, AUDIENCE)
        keys_port, bucket_port, web_port = free_port(), free_port(), free_port()
        config = {
            "scale": options.scale,
            "seed": options.seed,
            "sabotage": options.sabotage,
            "secret_key": secrets.token_hex(32),
            "signing_secret": secret,
            "audience": AUDIENCE,
            "database_port": postgres.port,
            "broker": broker.url,
            "cache": cache.url,
            "media": str(scratch / "disk" / "media"),
            "busy": str(scratch / "busy"),
            "bucket": BUCKET,
            "key_set": signer.key_set,
            "key_set_url": f"http://{LOOPBACK}:{keys_port}/jwks.json",
            "keys_port": keys_port,
            "bucket_port": bucket_port,
            "calm": str(scratch / "calm"),
        }
        (scratch / "busy").mkdir()
        path = scratch / "config.json"
        path.touch(0o600)
        path.write_text(json.dumps(config))
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
            "PYTHONPATH": str(PROJECT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "chaos.site.settings",
            "CHAOS_CONFIG": str(path),
            "STORAGE_EMULATOR_HOST": f"http://{LOOPBACK}:{bucket_port}",
        }
        with postgres.connect() as connection:
            connection.execute(TABLES)
        broker.wait()
        cache.wait()
        yield Servers(
            options=options,
            scratch=scratch,
            processes=processes,
            postgres=postgres,
            broker=broker,
            cache=cache,
            web_port=web_port,
            signer=signer,
            config=config,
            environment=environment,
        )


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def _disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A small disk in memory where that is allowed, else a folder that is never filled."""
    folder.mkdir()
    mounted = os.getuid() == 0 and shutil.which("mount") is not None
    if mounted:
        size = f"size={megabytes}m,mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", size, "chaos", str(folder)]
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0  # noqa: S603  # ours
    try:
        (folder / "tmp").mkdir()
        (folder / "media").mkdir()
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)  # noqa: S603, S607  # ours
