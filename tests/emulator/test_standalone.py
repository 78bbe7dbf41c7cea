"""``gemini-emulator``: no site, no settings, no models."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

from gemini_webhooks import __version__

# In isolation: neither the environment nor the folder says where a site is.
PYTHON = [sys.executable, "-I", "-W", "error", "-c"]
MAIN = "import sys; from gemini_webhooks.emulator.standalone import main; sys.exit(main())"
WITHOUT_CRC32C = f"import sys; sys.modules['google_crc32c'] = None; {MAIN}"
HEAVY = ("celery", "google.genai", "google.cloud", "gemini_webhooks.models")


@contextmanager
def running(folder, *arguments, code=MAIN):
    process = subprocess.Popen(
        [*PYTHON, code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name.startswith("COVERAGE")},
        cwd=folder,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_reports_in_json(tmp_path):
    with running(tmp_path, "--port", "0", "--output", "inline", "--json") as process:
        assert json.loads(process.stdout.readline()).keys() == {"url", "jwks_url", "environment"}


def call(url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, {"x-goog-api-key": "emulator"})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def test_it_serves_the_api_and_the_page_and_ends_cleanly(tmp_path):
    with running(tmp_path, "--port", "0", "--job-seconds", "0") as process:
        said = [process.stdout.readline() for _ in range(5)]
        url = re.search(r"http://127\.0\.0\.1:\d+", said[0])[0]
        job = {"model": "m", "input": "hello there", "background": True}
        made = json.loads(call(url, "/v1/interactions", job))
        page = call(url, "/")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)

    assert (process.returncode, errors) == (0, "")
    assert f"GOOGLE_GEMINI_BASE_URL={url}\n" in said[1]
    assert made["id"] in page


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["--late", "7"], "late must be a share"), (["--port", "70000"], "There is no port 70000")],
)
def test_it_says_what_is_wrong(tmp_path, arguments, complaint):
    with running(tmp_path, *arguments) as process:
        output, errors = process.communicate(timeout=10)

    assert (process.returncode, output) == (1, "")
    assert errors.startswith("gemini-emulator: ")
    assert complaint in errors
    assert "Traceback" not in errors


def test_it_says_its_version(tmp_path):
    with running(tmp_path, "--version") as process:
        output, _ = process.communicate(timeout=10)

    assert (process.returncode, output) == (0, f"gemini-emulator {__version__}\n")


def test_without_the_extra_answers_stay_in_the_batch(tmp_path):
    batch = {"inputConfig": {"requests": {"requests": [{"request": {"contents": []}}]}}}
    arguments = ("--port", "0", "--job-seconds", "0")
    with running(tmp_path, *arguments, code=WITHOUT_CRC32C) as process:
        assert "needs django-gemini-webhooks[emulator]" in process.stdout.readline()
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        path = "/v1/models/m:batchGenerateContent"
        name = json.loads(call(url, path, {"batch": batch}))["name"]
        while "succeeded" not in process.stdout.readline():
            """The lines come by themselves."""
        answer = json.loads(call(url, f"/v1/{name}"))

    assert answer["metadata"]["output"]["inlinedResponses"]


def test_without_the_extra_its_output_is_refused_if_asked_for(tmp_path):
    with running(tmp_path, "--output", "gcs", "--port", "0", code=WITHOUT_CRC32C) as process:
        _, errors = process.communicate(timeout=10)

    assert process.returncode == 1
    assert "google-crc32c" in errors


def test_it_loads_neither_our_models_nor_celery_nor_google(tmp_path):
    code = (
        "import sys; from django.conf import settings; settings.configure();"
        "import gemini_webhooks.emulator.standalone, gemini_webhooks.emulator.urls;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    with running(tmp_path, code=code) as process:
        output, errors = process.communicate(timeout=10)

    assert (output, errors) == ("[]\n", "")
