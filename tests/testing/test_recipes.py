"""The page of recipes is run as it is written, in a site made for it; and the plugin elsewhere."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from gemini_webhooks import receivers, signals
from gemini_webhooks.testing import Gemini, Outcome, make_event
from tests.testing.conftest import Receiver, fails

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PLUGIN = "gemini_webhooks.pytest_plugin"

SETTINGS = """
INSTALLED_APPS += ["gemini_webhooks", "reports.apps.ReportsConfig"]
"""
URLS = """
from django.urls import include, path

urlpatterns = [path("webhooks/gemini/", include("gemini_webhooks.urls"))]
"""
APPS = """
from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "reports"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from reports import receivers
"""


def run(folder: Path, *words: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    # The plugins that are named, whether or not their entry points are installed.
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an in-memory database, and the files of the page in it."""
    folder = tmp_path_factory.mktemp("recipes")
    run(folder, "-m", "django", "startproject", "mysite", ".")
    run(folder, "-m", "django", "startapp", "reports")
    (folder / "reports" / "tests.py").unlink()
    (folder / "tests").mkdir()
    (folder / "tests" / "__init__.py").touch()
    with (folder / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (folder / "mysite" / "urls.py").write_text(URLS)
    (folder / "reports" / "apps.py").write_text(APPS)
    for block in BLOCKS:
        name = block.partition("\n")[0].removeprefix("# ")
        with (folder / name).open("w") as file:
            file.write(block)
    run(folder, "manage.py", "makemigrations", "reports")
    return folder


def test_the_recipes_run_in_parallel(site: Path) -> None:
    options = ("-q", "-n", "2", "-W", "error", "--ds", "mysite.settings")
    plugins = ("-p", "xdist.plugin", "-p", "pytest_django.plugin", "-p", PLUGIN)

    told = run(site, "-m", "pytest", *plugins, *options, "tests")

    written = sum(block.count("def test_") for block in BLOCKS)
    assert f"{written + 2} passed" in told  # one of them is there for three ways in


def test_django_s_own_runner(site: Path) -> None:
    # A second class, so that there is something to be run in parallel.
    recipe = (site / "tests" / "test_with_unittest.py").read_text()
    dynamic = recipe.replace('"batch.succeeded",', '"batch.succeeded", signing="jwt",')
    (site / "reports" / "tests.py").write_text(dynamic)

    told = run(site, "manage.py", "test", "--parallel", "2")

    assert "Found 4 test(s)" in told
    assert "Cloning test database" in told
    assert "OK" in told


def names_in_tables() -> set[str]:
    first_cells = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`(\w+)(?:\(\))?`", cell)}


def test_the_tables_are_complete() -> None:
    arguments = {*inspect.signature(Gemini.deliver).parameters} - {"self", "event_type"}
    attributes = {name for name in dir(Outcome) if not name.startswith("_")}
    attributes |= {field.name for field in dataclasses.fields(Outcome)} - {"_worker"}

    assert names_in_tables() == arguments | attributes - {"delivery_id", "event_type", "runs_of"}
    extra = {*inspect.signature(make_event).parameters} - arguments
    assert extra == {"event_type", "is_replay"}


@pytest.mark.django_db
def test_an_outcome_in_words(gemini_webhooks: Gemini) -> None:
    [shown] = re.findall(r"^```text\n(.*?)\n^```$", PAGE, re.MULTILINE | re.DOTALL)
    failing = Receiver(does=fails(KeyError("tenant")))
    receivers.on("batch.succeeded", name="reports.receivers.note")(failing)
    waiting = Receiver()
    signals.result_ready.connect(waiting, dispatch_uid="reports.receivers.count_answers")

    outcome = gemini_webhooks.deliver(
        "batch.succeeded", id="msg_5d0c", resource_id="batch_81", raises=False
    )

    assert re.sub(r"in \d+ s", "in 7 s", str(outcome)) == shown


def test_the_plugin_is_no_burden_to_other_projects(tmp_path: Path) -> None:
    tmp_path.joinpath("test_other.py").write_text(
        "import sys\n\n\ndef test_it():\n"
        "    heavy = {'django', 'celery', 'jwt', 'cryptography', 'google'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )

    assert "1 passed" in run(tmp_path, "-m", "pytest", "-q", "-p", PLUGIN)


def test_the_plugin_is_declared() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]

    module = import_module(declared["pytest11"]["gemini_webhooks"])

    assert module.__name__ == PLUGIN
    assert hasattr(module, "gemini_webhooks")
