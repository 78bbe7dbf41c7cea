"""The page “Results into a data pipeline”, as an app of a project that is made for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_docs import python_of, with_extras
from tests.testing.test_recipes import PLUGIN, URLS, run

pytestmark = with_extras

SETTINGS = """
INSTALLED_APPS += ["gemini_webhooks", "catalogue.apps.CatalogueConfig"]
CELERY_TASK_ALWAYS_EAGER = True
GEMINI_WEBHOOKS = {
    "PUBLIC_BASE_URL": "http://127.0.0.1:8000",
    "AUDIENCES": ["http://127.0.0.1:8000/webhooks/gemini/"],
    "ALLOWED_BUCKETS": ["bucket"],
}
"""
APPS = """
from importlib import import_module

from django.apps import AppConfig


class CatalogueConfig(AppConfig):
    name = "catalogue"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        for module in ("receivers", "again", "parts", "warehouse", "chain"):
            import_module(f"catalogue.{module}")
"""
LOADING = """
loaded = []


def load_jsonl(uri, *, job_id):
    loaded.append((uri, job_id))
"""
CELERY = """
from celery import Celery

app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
"""
TESTS = """
import gc

import pytest

from catalogue import loading, parts
from catalogue.models import Failure, Product
from catalogue.starting import describe
from gemini_webhooks import gateway
from gemini_webhooks.emulator import EmulatorServer
from gemini_webhooks.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def google(monkeypatch):
    with EmulatorServer(job_seconds=600) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GEMINI_API_KEY", "emulator")
        yield server.emulator
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def products():
    return [Product.objects.create(sku=sku) for sku in ("a", "b", "c")]


def answer(sku, text):
    return {"key": sku, "response": {"candidates": [{"content": {"parts": [{"text": text}]}}]}}


FAILED = {"key": "c", "error": {"code": 3, "message": "no"}}


def test_batches_carry_the_key(google, products):
    describe(products)

    [batch] = google.batches
    assert [request["metadata"]["key"] for request in batch.requests] == ["a", "b", "c"]
    assert Job.objects.get().user_metadata == {"job": "describe"}


def test_rows_and_failures_are_stored_and_what_failed_goes_again(google, products, gemini_webhooks):
    rows = [answer("a", "An A."), answer("b", "A B."), FAILED]
    first = gemini_webhooks.deliver("batch.succeeded", metadata={"job": "describe"}, rows=rows)

    texts = Product.objects.order_by("sku").values_list("description", "described_by")
    batch = first.delivery.resource_id
    assert list(texts) == [("An A.", batch), ("A B.", batch), ("", "")]
    failure = Failure.objects.get()
    assert (failure.sku, failure.batch) == ("c", batch)
    [again] = google.batches
    assert [request["metadata"]["key"] for request in again.requests] == ["c"]

    metadata = Job.objects.get().user_metadata
    assert metadata == {"job": "describe", "again": True}
    gemini_webhooks.deliver("batch.succeeded", metadata=metadata, rows=[FAILED])
    assert len(list(google.batches)) == 1


def test_parts(monkeypatch, products, gemini_webhooks):
    monkeypatch.setattr(parts, "SIZE", 2)
    rows = [answer(sku, "1") for sku in "abc"]
    gemini_webhooks.deliver("batch.succeeded", metadata={"job": "reprice"}, rows=rows)

    by_part = Product.objects.order_by("sku").values_list("described_by", flat=True)
    assert list(by_part) == ["0", "0", "2"]
    assert not Failure.objects.exists()


def test_the_warehouse_is_told_where_the_file_is(gemini_webhooks):
    outcome = gemini_webhooks.deliver(
        "batch.succeeded", metadata={"job": "export"}, output="gs://bucket/o.jsonl", rows=[FAILED]
    )

    [result] = outcome.results
    assert loading.loaded == [("gs://bucket/o.jsonl", f"gemini-{result.pk}-{result.generation}")]


def test_a_chain_goes_on_once(google, gemini_webhooks):
    metadata = {"job": "translate", "step": 1, "week": 7}
    gemini_webhooks.deliver("batch.succeeded", metadata=metadata)
    gemini_webhooks.deliver("batch.succeeded", metadata=metadata | {"step": 2})

    assert len(list(google.batches)) == 1
    assert Job.objects.get().user_metadata == metadata | {"step": 2}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    run(tmp_path, "-m", "django", "startproject", "mysite", ".")
    app = tmp_path / "catalogue"
    (app / "migrations").mkdir(parents=True)
    for package in (app, app / "migrations"):
        (package / "__init__.py").touch()
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (tmp_path / "mysite" / "urls.py").write_text(URLS)
    (tmp_path / "mysite" / "__init__.py").write_text(CELERY)
    (app / "apps.py").write_text(APPS)
    (app / "loading.py").write_text(LOADING)
    for code in python_of("pipelines"):
        (tmp_path / code.partition("\n")[0].removeprefix("# ")).write_text(code)
    (tmp_path / "test_pipelines.py").write_text(TESTS)
    run(tmp_path, "manage.py", "makemigrations", "catalogue")
    return tmp_path


def test_the_recipes(site: Path) -> None:
    plugins = ("-p", "pytest_django.plugin", "-p", PLUGIN, "--ds", "mysite.settings")

    told = run(site, "-m", "pytest", "-q", *plugins, "test_pipelines.py")

    assert "5 passed" in told
