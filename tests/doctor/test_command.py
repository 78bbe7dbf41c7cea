"""What the command prints, when it fails, and that nothing stops it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from celery import Celery
from django.core.management import CommandError

from gemini_webhooks import registration
from gemini_webhooks.doctor import Status, examination
from gemini_webhooks.models import WebhookEndpoint
from tests.doctor import middleware
from tests.doctor.conftest import PROJECT, doctor, printed, run_process
from tests.senders import new_secret

pytestmark = pytest.mark.django_db


def test_text(configured: dict[str, Any]) -> None:
    text, code = printed("--no-ping")
    lines = text.splitlines()

    assert lines[0] == "ok       settings: The system checks find nothing wrong."
    at = next(n for n, line in enumerate(lines) if line.startswith("warning  receivers: "))
    assert lines[at + 1].startswith("           Connect one to a signal")
    assert [line.split(":")[0] for line in lines[-4:]] == ["ok", "warning", "failure", "skipped"]
    assert (lines[-2], code) == ("failure: 0", 0)


def test_json_and_exit_code(configured: dict[str, Any]) -> None:
    calm = doctor()
    assert calm.exit_code == 0
    assert all(set(found) == {"name", "status", "message", "hint"} for found in calm.findings)
    assert all(
        bool(found["hint"]) for found in calm.findings if found["status"] in ("warning", "failure")
    )
    assert doctor("--strict").exit_code == 1

    configured["MAX_ATTEMPTS"] = 0
    assert doctor().exit_code == 1


def test_check_that_breaks_does_not_stop_the_others(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = doctor()

    def break_off(site: object) -> Any:
        raise LookupError("with a secret in its text")

    monkeypatch.setitem(examination.CHECKS, "beat", break_off)
    after = doctor()

    assert after["beat"]["status"] == "failure"
    assert after["beat"]["message"] == "This check itself broke off: LookupError."
    others = [
        [found for found in report.findings if found["name"] != "beat"]
        for report in (before, after)
    ]
    assert others[0] == others[1]


def test_endpoint_that_is_not_there(configured: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="There is no endpoint “acme”"):
        doctor("--endpoint", "acme")


@pytest.mark.parametrize("words", [[], ["--json"], ["--endpoint", "acme"], ["--no-ping"]])
def test_bare_project(words: list[str], tmp_path: Path) -> None:
    """A project with the app and nothing else."""
    (tmp_path / "bare.py").write_text("SECRET_KEY = 'x'; INSTALLED_APPS = ['gemini_webhooks']")
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])
    done = run_process(*words, DJANGO_SETTINGS_MODULE="bare", PYTHONPATH=path)

    assert done.returncode == 1
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    assert "broke off" not in done.stdout
    if "--json" in words:
        status = {found["name"]: found["status"] for found in json.loads(done.stdout)}
        assert status["settings"] == "ok"
        assert status["database"] == status["urls"] == status["results"] == "failure"
        assert status["broker"] == "failure"
        assert status["inside"] == status["drift"] == status["ping"] == "skipped"


def test_site_whose_settings_have_errors() -> None:
    done = run_process(DJANGO_SETTINGS_MODULE="tests.emulator.bare_settings")

    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.startswith('failure  settings: GEMINI_WEBHOOKS["NO_SUCH_KEY"] is not')


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_nobody_reads_what_it_says(words: list[str]) -> None:
    """As with ``| head -1``, at once where each line is flushed and at the end with JSON."""
    nobody, pipe = os.pipe()
    os.close(nobody)
    environment = {"DJANGO_SETTINGS_MODULE": "tests.emulator.bare_settings", "PYTHONUNBUFFERED": ""}
    with os.fdopen(pipe, "w") as closed:
        done = run_process(*words, stdout=closed, **environment)

    assert (done.returncode, done.stderr) == (141, "")


DOCS = PROJECT / "docs" / "operations.md"


def documented() -> list[str]:
    """The lines of the example in the documentation."""
    block = DOCS.read_text().partition("$ python manage.py gemini_webhooks doctor ")[2]
    return block.partition("```")[0].splitlines()[1:]


def test_the_documented_output_is_real(
    configured: dict[str, Any],
    settings: Any,
    celery: Callable[..., Celery],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mysite.middleware", middleware)
    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "mysite.middleware.login"]
    configured["PUBLIC_BASE_URL"] = "https://127.0.0.1:1"
    celery("redis://127.0.0.1:1/0")
    endpoint = WebhookEndpoint.objects.create(slug="reports")
    registration.secrets.store(endpoint, new_secret())

    text, _ = printed("--endpoint", "reports", "--no-ping")

    *lines, ping, ok, warning, failure, skipped = documented()
    assert [line for line in lines if line != "…" and line not in text.splitlines()] == []
    assert ping.startswith(
        "ok       ping, endpoint “reports”: It arrived, and was accepted, after "
    )
    assert [one.split(":")[0] for one in (ok, warning, failure, skipped)] == list(get_args(Status))


def test_every_kind_of_finding_is_documented() -> None:
    table = DOCS.read_text().partition("| finding | looks at |")[2].partition("\n\n")[0]
    names = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`(.+?)`", row[: row.find("|", 2)])
    }

    assert {name.replace("api keys", "API key") for name in examination.CHECKS} <= names
