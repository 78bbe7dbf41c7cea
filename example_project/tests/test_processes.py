"""The Procfile's processes, as a runner would start them; and that the containers run the same."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
import yaml

from example_project.config import settings
from tests import servers

EXAMPLE = Path(__file__).resolve().parents[1]
PROCESSES = dict(
    line.split(": ", 1) for line in (EXAMPLE / "Procfile").read_text().splitlines() if line
)
COMPOSE: Any = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())
NAME = f"studio_processes_{os.getpid()}"
SECONDS = 90


@pytest.fixture
def database() -> Iterator[str]:
    server = servers.URLS["postgres"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {NAME}")
        yield urlsplit(server)._replace(path=f"/{NAME}").geturl()
        connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


@pytest.fixture
def broker() -> Iterator[str]:
    url = urlsplit(servers.URLS["redis"])._replace(path="/15").geturl()
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
        yield url
        connection.flushdb()


@contextmanager
def started(command: str, log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=EXAMPLE.parent,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
            assert process.poll() is None, log.read_text()
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def until(found: Any, folder: Path) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (seen := found()):
        logs = "\n".join(log.read_text()[-1500:] for log in folder.glob("*.log"))
        assert time.monotonic() < deadline, logs
        time.sleep(0.2)
    return seen


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    import socket  # noqa: PLC0415  # for nothing else

    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.server("postgres")
@pytest.mark.server("redis")
def test_a_tenant_s_batch_goes_through_all_of_them(database, broker, tmp_path):
    port, emulator = free_port(), free_port()
    site, gemini = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{emulator}"
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "GEMINI"))}
    environment = outside | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "STUDIO_DIR": str(tmp_path),
        "SECRET_KEY": "of-this-test-" + "k" * 50,
        "DEBUG": "0",
        "DATABASE_URL": database,
        "CELERY_BROKER_URL": broker,
        "PUBLIC_BASE_URL": site,
        "GOOGLE_GEMINI_BASE_URL": gemini,
        "STORAGE_EMULATOR_HOST": gemini,
        "GEMINI_API_KEY": "emulator",
        "STUDIO_QUEUES": "acme,globex",
    }
    made = subprocess.run(
        [sys.executable, "example_project/manage.py", "studio", "--json"],
        cwd=EXAMPLE.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    password = json.loads(made.stdout)["passwords"]["ada"]
    with ExitStack() as stack:
        commands = {"gemini": f"gemini-emulator --port {emulator} --job-seconds 0.2", **PROCESSES}
        for name, command in commands.items():
            here = command.replace("0.0.0.0:8000", f"127.0.0.1:{port}")
            stack.enter_context(started(here, tmp_path / f"{name}.log", environment))
        until(lambda: answers(f"{site}/login/") and answers(f"{gemini}/emulator/state"), tmp_path)
        with httpx.Client(base_url=site, follow_redirects=True) as ada:

            def post(path: str, **fields: str) -> httpx.Response:
                fields["csrfmiddlewaretoken"] = ada.cookies["csrftoken"]
                return ada.post(path, data=fields).raise_for_status()

            assert ada.get("/static/studio/studio.css").is_success
            ada.get("/login/")
            post("/login/", username="ada", password=password, next="/")
            ada.get("/studio/acme/").raise_for_status()
            post("/studio/acme/new/batch/", prompt="A caption")
            page = until(
                lambda: (text := ada.get("/studio/acme/").text) and ">done<" in text and text,
                tmp_path,
            )
            assert "A caption" in page
    with psycopg.connect(database) as connection:
        queues = connection.execute("SELECT DISTINCT queue FROM gemini_webhooks_receiverrun")
        assert [queue for [queue] in queues] == ["acme"]


def test_the_containers_run_the_processes_of_the_procfile():
    services = COMPOSE["services"]
    for name, command in PROCESSES.items():
        plain = command.replace("${STUDIO_DIR:-.demo}", "/tmp")
        assert services[name]["command"] == f'sh -c "{plain}"'
    others = {name: one for name, one in services.items() if name not in PROCESSES}
    assert "example_project/manage.py studio" in others["release"]["command"]
    assert {name for name, one in others.items() if "image" in one} == {"database", "broker"}
    assert all(":" in one["image"] for one in others.values() if "image" in one)
    for one in services.values():
        assert set(one.get("depends_on", ())) <= set(services)


def test_the_containers_set_only_what_the_settings_read():
    documented = set(re.findall(r"``([A-Z_]+)``", settings.__doc__ or ""))

    assert set(COMPOSE["services"]["web"]["environment"]) <= documented


def test_the_documented_settings_are_those_that_are_read():
    documented = set(re.findall(r"``([A-Z_]+)``", settings.__doc__ or ""))
    code = (EXAMPLE / "config" / "settings.py").read_text().partition('"""\n\n')[2]
    read = set(re.findall(r'(?:environ\.get\(|environ\[|_listed\()\s*"([A-Z_]+)"', code))

    assert read == documented - {"GEMINI_API_KEY"}
