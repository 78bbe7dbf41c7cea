"""``manage.py gemini_emulator``."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command

from gemini_webhooks.emulator import cli

COMMAND = [sys.executable, "-W", "error", "-m", "django", "gemini_emulator"]


@contextmanager
def running(*arguments, **environment):
    # Buffered, as a pipe is: the lines must come at once nevertheless.
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **environment}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_to_set_serves_and_ends_cleanly(number):
    with running("--port", "0", "--api-key", "mine") as process:
        said = [process.stdout.readline() for _ in range(5)]
        url = re.search(r"http://127\.0\.0\.1:\d+", said[0])[0]
        with urllib.request.urlopen(f"{url}/.well-known/jwks.json") as answer:
            assert b'"RS256"' in answer.read()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)

    assert (process.returncode, errors) == (0, "")
    assert f"GOOGLE_GEMINI_BASE_URL={url}\n" in said[1]
    assert f"STORAGE_EMULATOR_HOST={url}\n" in said[2]
    assert "GEMINI_API_KEY=mine\n" in said[3]
    assert f'"JWKS_URL"] = "{url}/.well-known/jwks.json"' in said[4]


def start_interaction(url, target):
    config = {"uris": [target]}
    job = {"model": "m", "input": "a", "background": True, "webhook_config": config}
    request = urllib.request.Request(
        f"{url}/v1/interactions", json.dumps(job).encode(), {"x-goog-api-key": "emulator"}
    )
    with urllib.request.urlopen(request) as answer:
        return answer.status


def test_it_reports_jobs_and_deliveries():
    with socket.socket() as nobody, running("--port", "0", "--job-seconds", "0") as process:
        nobody.bind(("127.0.0.1", 0))
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        target = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        start_interaction(url, target)
        said = [process.stdout.readline() for _ in range(7)][4:]

    assert re.fullmatch(r"interaction interaction_\w+ started\n", said[0])
    assert re.fullmatch(r"interaction interaction_\w+ succeeded\n", said[1])
    assert re.fullmatch(rf"interaction\.completed msg_\w+ -> {target} try 1: .+\n", said[2])


def test_it_reports_in_json():
    with running("--port", "0", "--job-seconds", "0", "--json") as process:
        began = json.loads(process.stdout.readline())
        start_interaction(began["url"], "http://127.0.0.1:9/")
        said = json.loads(process.stdout.readline())

    url = re.fullmatch(r"http://127\.0\.0\.1:\d+", began["url"])[0]
    assert began == {
        "url": url,
        "jwks_url": f"{url}/.well-known/jwks.json",
        "environment": {
            "GOOGLE_GEMINI_BASE_URL": url,
            "STORAGE_EMULATOR_HOST": url,
            "GEMINI_API_KEY": "emulator",
        },
    }
    assert re.fullmatch(r"interaction interaction_\w+ started", said.pop("message"))
    assert said == {}


def test_it_goes_on_when_nobody_reads_its_lines_any_more():
    with running("--port", "0") as process:
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        process.stdout.close()
        assert start_interaction(url, "http://127.0.0.1:9/") == 200
        process.stdout = None


class FullDisk:
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self):
        raise ValueError("I/O operation on closed file")


def test_deliveries_go_on_when_the_disk_that_it_reports_to_is_full(serve, receiver):
    server = serve(report=cli.writing_to(FullDisk()))
    assert start_interaction(server.url, receiver.url) == 200
    assert server.emulator.outbox.wait_idle()
    assert [message.state for message in server.emulator.outbox.messages] == ["delivered"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--duplicates", "7"], "duplicates must be a share from 0 to 1"),
        (["--bucket", "a/b"], "bucket must be a name"),
        (["--disable-after", "-1"], "disable_after must not be negative"),
        (["--grace-seconds", "-1"], "grace_seconds must be from 0 to"),
        (["--retry-base", "nan"], "retry_base must be from 0 to"),
        (["--delivery-timeout", "inf"], "delivery_timeout must be from 0 to"),
        (["--delivery-timeout", "0"], "delivery_timeout must be positive"),
        (["--port", "70000"], "There is no port 70000"),
        (["--host", "192.0.2.1", "--port", "0"], "Cannot listen at 192.0.2.1:0"),
    ],
)
def test_it_says_what_is_wrong(arguments, complaint):
    with pytest.raises(CommandError, match=re.escape(complaint)):
        call_command("gemini_emulator", *arguments)


def test_it_says_that_the_port_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_needs_neither_a_database_nor_a_site_without_errors():
    settings = "tests.emulator.bare_settings"
    with running("--port", "0", DJANGO_SETTINGS_MODULE=settings) as process:
        assert "listens at" in process.stdout.readline()
