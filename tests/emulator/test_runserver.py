"""``manage.py runserver --with-emulator``: one command, a new site, no settings."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from django.core.checks import run_checks
from django.utils import autoreload

from gemini_webhooks import processing
from gemini_webhooks.conf import (
    EMULATOR,
    EMULATOR_BUCKET,
    EMULATOR_SITE,
    EMULATOR_WORKER,
    lead_to_emulator,
)
from gemini_webhooks.conf import settings as ours
from gemini_webhooks.management.with_emulator import _WithEmulator

SETTINGS = """
from pathlib import Path
DEBUG = True
SECRET_KEY = "k" * 50
ROOT_URLCONF = "urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles",
]
INSTALLED_APPS += ["gemini_webhooks"]
STATIC_URL = "static/"
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3",
    "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
}}
"""
URLS = """
from django.http import JsonResponse
from django.urls import include, path
from gemini_webhooks import receivers
from gemini_webhooks.jobs import webhook_config
from gemini_webhooks.models import ReceiverRun
from gemini_webhooks.signals import interaction_completed

VERSION = 1

def note(event, **kwargs):
    pass

interaction_completed.connect(note)

def facts(request):
    runs = ReceiverRun.objects.values_list("state", flat=True)
    config = webhook_config({"tenant": "acme"})
    return JsonResponse({"version": VERSION, "config": config, "runs": list(runs)})

urlpatterns = [path("facts/", facts), path("hooks/", include("gemini_webhooks.urls"))]
"""
MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a site that says nothing about Gemini but that the app is installed."""
    folder = tmp_path_factory.mktemp("newsite")
    for name, text in (("settings", SETTINGS), ("urls", URLS), ("manage", MANAGE)):
        (folder / f"{name}.py").write_text(text)
    done = run(folder, "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return folder


def run(folder, *arguments, **more):
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **more)


@contextlib.contextmanager
def serving(folder, *arguments):
    log = (folder / "log.txt").open("w+")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "runserver", *arguments],
        cwd=folder,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "CELERY_BROKER_URL": "amqp://127.0.0.1:9//"},  # none, as on a laptop
        start_new_session=True,  # as a shell does: Ctrl-C is for all of them
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"x-goog-api-key": "emulator"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def wait_for(find):
    """What ``find`` returns once that is something."""
    deadline = time.monotonic() + 30
    while True:
        # A site that is reloaded breaks off in the middle of an answer.
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if found := find():
                return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_free(port):
    with socket.socket() as taken:
        return taken.connect_ex(("127.0.0.1", port)) != 0


def test_a_dynamic_webhook_works_and_reloads_keep_the_emulator(site):
    port, other = free_port(), free_port()
    base, google = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"
    arguments = ("--with-emulator", "--with-worker", f"--emulator-port={other}")
    with serving(site, str(port), *arguments, "--emulator-job-seconds=0") as process:
        config = wait_for(lambda: ask(f"{base}/facts/"))["config"]
        job = {"model": "m", "input": "a", "background": True, "webhook_config": config}
        made = ask(f"{google}/v1/interactions", job)
        [delivered] = wait_for(lambda: ask(f"{google}/emulator/deliveries")["deliveries"])
        wait_for(lambda: ask(f"{base}/facts/")["runs"] == ["succeeded"])

        (site / "urls.py").write_text(URLS.replace("VERSION = 1", "VERSION = 2"))
        wait_for(lambda: ask(f"{base}/facts/")["version"] == 2)
        kept = ask(f"{google}/emulator/state")["interactions"]

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "broker" not in (site / "log.txt").read_text()
        assert is_free(port)
        assert is_free(other)

    assert config["uris"] == [f"{base}/hooks/"]
    assert (delivered["status"], delivered["signing"]) == (200, "jwt")
    assert kept == [{"id": made["id"], "state": "succeeded"}]
    said = (site / "log.txt").read_text()
    assert f"export {EMULATOR}={google}" in said
    assert f"export {EMULATOR_SITE}={base}" in said
    assert f"export {EMULATOR_WORKER}=1" in said


def test_ctrl_c_ends_all(site):
    port, other = free_port(), free_port()
    with serving(
        site, str(port), "--with-emulator", f"--emulator-port={other}", "--noreload"
    ) as process:
        wait_for(lambda: ask(f"http://127.0.0.1:{port}/facts/"))
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 0
        assert is_free(port)
        assert is_free(other)
    assert "Traceback" not in (site / "log.txt").read_text()


def test_it_says_that_the_emulator_s_port_is_taken(site):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(site, "runserver", "--with-emulator", "--emulator-port", str(port))

    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
    assert "--emulator-port" in done.stderr


def test_it_is_for_development(site):
    (site / "in_production.py").write_text("from settings import *\nDEBUG = False\n")
    arguments = ("--with-emulator", "--settings=in_production", "--noreload")
    done = run(site, "runserver", *arguments)

    assert done.returncode == 1
    assert "needs DEBUG = True" in done.stderr


def test_a_site_that_could_not_be_loaded_at_first_is_started_again(site):
    done = run(site, "runserver", "--with-emulator", env={**os.environ, "RUN_MAIN": "true"})

    assert done.returncode == 1
    assert "start runserver --with-emulator again" in done.stderr


def test_it_adds_to_the_runserver_that_would_be_used(site):
    shown = run(site, "help", "runserver").stdout

    for argument in ("--nostatic", "--with-emulator", "--with-worker", "--emulator-job-seconds"):
        assert argument in shown


def test_nothing_works_while_the_code_cannot_be_loaded(monkeypatch):
    monkeypatch.setattr(autoreload, "_exception", (SyntaxError, SyntaxError("def"), None))
    worked = []
    monkeypatch.setattr(processing, "drain_forever", worked.append)
    command = type("Command", (_WithEmulator,), {})()

    with pytest.raises(SyntaxError):
        command.inner_run(with_worker=True)

    assert worked == []


# What the environment means to the site's settings


@pytest.fixture
def emulated(settings, monkeypatch):
    settings.DEBUG = True
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:8090")
    monkeypatch.setenv(EMULATOR_SITE, "http://127.0.0.1:8000")
    monkeypatch.setenv(EMULATOR_BUCKET, "gemini-emulator")


def test_the_emulator_stands_for_google(settings, emulated):
    settings.GEMINI_WEBHOOKS = {
        "JWKS_URL": "https://google.example/keys",
        "PUBLIC_BASE_URL": "https://app.example.com",
        "AUDIENCES": ["https://app.example.com/hooks/"],
        "ALLOWED_BUCKETS": ("mine",),
    }
    assert ours.JWKS_URL == "http://127.0.0.1:8090/.well-known/jwks.json"
    assert ours.PUBLIC_BASE_URL == "http://127.0.0.1:8000"
    assert ours.AUDIENCES == [
        "https://app.example.com/hooks/",
        "http://127.0.0.1:8000/webhooks/gemini/",
    ]
    assert ours.ALLOWED_BUCKETS == ["mine", "gemini-emulator"]
    assert ours.TOLERANCE_SECONDS == 300


def test_one_variable_is_enough(settings, monkeypatch):
    settings.DEBUG, settings.GEMINI_WEBHOOKS = True, {}
    clients = ("GOOGLE_GEMINI_BASE_URL", "STORAGE_EMULATOR_HOST", "GEMINI_API_KEY")
    for name in clients:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:8090")
    lead_to_emulator()

    assert ours.PUBLIC_BASE_URL == "http://127.0.0.1:8000"
    assert ours.ALLOWED_BUCKETS == ["gemini-emulator"]
    assert [os.environ[name] for name in clients] == ["http://127.0.0.1:8090"] * 2 + ["emulator"]


def test_clients_are_not_led_there_in_production(settings, monkeypatch):
    settings.DEBUG = False
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:8090")
    monkeypatch.delenv("GOOGLE_GEMINI_BASE_URL", raising=False)
    lead_to_emulator()
    assert "GOOGLE_GEMINI_BASE_URL" not in os.environ


def test_a_slash_at_the_end_makes_no_difference(settings, emulated, monkeypatch):
    settings.GEMINI_WEBHOOKS = {}
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:8090/")
    monkeypatch.setenv(EMULATOR_SITE, "http://127.0.0.1:8001/")
    assert ours.JWKS_URL == "http://127.0.0.1:8090/.well-known/jwks.json"
    assert ours.AUDIENCES == ["http://127.0.0.1:8001/webhooks/gemini/"]


def test_an_empty_variable_is_none(settings, emulated, monkeypatch):
    settings.GEMINI_WEBHOOKS = {}
    monkeypatch.setenv(EMULATOR, "")
    assert ours.JWKS_URL == "https://generativelanguage.googleapis.com/.well-known/jwks.json"
    settings.DEBUG = False
    assert run_checks(tags=["gemini_webhooks"]) == []


def test_without_our_urls_there_is_no_audience(settings, emulated):
    settings.ROOT_URLCONF = "tests.urls_empty"
    assert ours.AUDIENCES == []


def test_in_production_it_does_not_and_a_check_says_so(settings, emulated, monkeypatch):
    settings.DEBUG = False
    assert run_checks(tags=["gemini_webhooks"]) == []  # in a test, where the runner turned it off
    monkeypatch.delattr("django.core.mail.outbox")
    assert ours.JWKS_URL == "https://generativelanguage.googleapis.com/.well-known/jwks.json"
    assert (ours.PUBLIC_BASE_URL, ours.AUDIENCES, ours.ALLOWED_BUCKETS) == (None, [], [])
    [found] = run_checks(tags=["gemini_webhooks"])
    assert found.id == "gemini_webhooks.W004"


def test_lists_that_are_none_are_still_found(settings, emulated):
    settings.GEMINI_WEBHOOKS = {"AUDIENCES": "https://app.example.com"}
    assert ours.AUDIENCES == "https://app.example.com"
