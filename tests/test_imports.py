"""What a process imports that has the app and does nothing with it: as little as it can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
#: Of the extras, or needed by those alone who receive or handle.
NOT_AT_START = {
    "google",
    "rest_framework",
    "drf_spectacular",
    "opentelemetry",
    "prometheus_client",
    "jwt",
    "cryptography",
}
BARE = """
import json, sys
import django
from celery import Celery
from django.conf import settings
apps = ["django.contrib.contenttypes", "django.contrib.auth", "gemini_webhooks"]
settings.configure(
    INSTALLED_APPS=apps[:{number}],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
)
app = Celery("site", broker="memory://")
django.setup()
"""
START = BARE.format(number=3)
MODULES = "\nprint(json.dumps(sorted(sys.modules)))"


def said_by(program: str, **variables: str) -> Any:
    """What a new interpreter prints, which is JSON."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "PROM"))
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_starting_imports_neither_extras_nor_what_only_some_need() -> None:
    added = set(said_by(START + MODULES)) - set(said_by(BARE.format(number=2) + MODULES))

    assert "gemini_webhooks.tasks" in added
    assert {name.partition(".")[0] for name in added} & NOT_AT_START == set()
    assert {name for name in added if name.startswith("gemini_webhooks.processing")} == set()


def test_worker_imports_what_its_tasks_need_before_it_forks() -> None:
    started = "from celery.signals import worker_init; worker_init.send(sender='worker')"
    modules = set(said_by(f"{START}\n{started}{MODULES}"))
    # Each task, once: what would its first run in a child import?
    tasks = """
from gemini_webhooks import tasks
for name in ("dispatch", "run_receiver", "fetch_result", "advance_replay", "sweep", "reconcile",
             "prune", "tell_failures", "roll_up", "sync_endpoints"):
    task = getattr(tasks, name)
    try:
        task(*([1] if name in ("run_receiver", "fetch_result", "advance_replay") else []))
    except Exception:  # there are no tables
        pass
"""
    needed = set(said_by(START + tasks + MODULES))

    ours = {name for name in needed if name.startswith("gemini_webhooks.")}
    assert "gemini_webhooks.processing.sweeping" in ours
    assert ours - modules == set()
