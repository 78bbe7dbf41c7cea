"""The API on a site: without its extra, under its throttles, when the database is away."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gemini_webhooks import models
from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX

pytest.importorskip("rest_framework", reason="needs the extra [api]")

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("missing", ["rest_framework", "drf_spectacular"])
def test_without_the_extra_it_says_what_to_install(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import gemini_webhooks\n"
        "try:\n"
        "    import gemini_webhooks.api.urls\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pip install 'django-gemini-webhooks[api]'" in done.stdout


@pytest.mark.parametrize("address", ["deliveries/", "stats/", "schema/", "deliveries/5/"])
def test_no_cache_may_give_one_users_answer_to_another(make_asker, address):
    answer = make_asker(*EVERYTHING).get(f"{PREFIX}{address}")
    assert answer["Cache-Control"] == "private, no-store"
    assert {"Authorization", "Cookie"} <= {name.strip() for name in answer["Vary"].split(",")}


class TestThrottles:
    @pytest.fixture
    def rates(self, settings):
        def rates(**scopes):
            named = {f"gemini_webhooks_{scope}": rate for scope, rate in scopes.items()}
            settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": named}

        return rates

    def test_reading(self, asker, rates, make_asker):
        rates(read="2/min")
        asker.read("deliveries/")
        asker.read("runs/")
        answer = asker.get(f"{PREFIX}deliveries/")

        assert (answer.status_code, answer.json()["error"]) == (429, "throttled")
        assert 0 < int(answer["Retry-After"]) <= 60
        make_asker(*EVERYTHING, name="grace").read("deliveries/")

    def test_replaying_and_downloading_have_their_own(self, asker, rates):
        rates(read="1000/min", replay="1/min", download="1/min")
        asker.send("replays/", {"dry_run": True})
        asker.send("replays/", {"dry_run": True}, 429)
        asker.send("replays/1/stop/", expected=429)
        asker.send("deliveries/1/replay/", expected=429)
        asker.read("results/1/download/", 404)
        asker.read("results/1/download/", 429)
        asker.read("results/1/", 404)

    def test_none(self, asker, rates):
        rates(read=None)
        for _ in range(5):
            asker.read("deliveries/")

    def test_usually(self, asker):
        for _ in range(60):
            asker.send("replays/", {"dry_run": True})
        asker.send("replays/", {"dry_run": True}, 429)

    def test_those_of_the_site_hold_besides(self, asker, settings):
        settings.REST_FRAMEWORK = {
            "DEFAULT_THROTTLE_CLASSES": ["tests.api.test_site.Never"],
        }
        asker.read("deliveries/", 429)


class Never:
    def allow_request(self, request, view):
        return False

    def wait(self):
        return None


@pytest.mark.parametrize("address", ["deliveries/", "deliveries/1/", "stats/", "backlog/"])
def test_database_that_is_away(asker, monkeypatch, address, caplog):
    rows.delivery()

    def fail(*_, **__):
        raise OperationalError("the password of the database is hunter2")

    monkeypatch.setattr("django.db.models.sql.compiler.SQLCompiler.execute_sql", fail)
    answer = asker.get(PREFIX + address)

    assert (answer.status_code, answer.json()["error"]) == (503, "database_unavailable")
    assert answer["Retry-After"] == "10"
    assert "hunter2" not in answer.content.decode() + caplog.text


def test_other_errors_are_not_hidden(asker, monkeypatch):
    monkeypatch.setattr("gemini_webhooks.trends.backlog", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asker.read("backlog/")


def test_views_stand_outside_of_atomic_requests(asker, settings):
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    try:
        with CaptureQueriesContext(connections["default"]) as queries:
            asker.read("deliveries/")
    finally:
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = False
    assert not [query for query in queries if "SAVEPOINT" in query["sql"]]


class TestBrowsers:
    """REST framework's own pages, which a site may switch off."""

    @pytest.fixture
    def browser(self, asker):
        browser = Client(headers={"accept": "text/html,*/*;q=0.1"})
        browser.force_login(asker.user)
        return browser

    def test_every_page_opens(self, browser):
        came = rows.family(1)[1]
        result = models.ResultFile.objects.get()
        for address in (
            "deliveries/",
            f"deliveries/{came.pk}/",
            "runs/",
            f"results/{result.pk}/rows/",
            "replays/",
            "stats/",
            "backlog/",
        ):
            answer = browser.get(PREFIX + address)
            assert (answer.status_code, answer["Content-Type"]) == (200, "text/html; charset=utf-8")

    def test_errors_too(self, browser):
        assert browser.get(f"{PREFIX}deliveries/?x=1").status_code == 400
        assert browser.get(f"{PREFIX}deliveries/0/").status_code == 404

    def test_format(self, browser):
        answer = browser.get(f"{PREFIX}deliveries/?format=json")
        assert answer.json() == {"next": None, "previous": None, "results": []}
        assert browser.get(f"{PREFIX}deliveries/?format=xml").status_code == 404


def test_format_that_nobody_writes(asker):
    answer = asker.get(f"{PREFIX}deliveries/", headers={"accept": "image/png"})
    assert (answer.status_code, answer.json()["error"]) == (406, "not_acceptable")


class TestSchema:
    def test_in_both_formats(self, asker):
        for accept in ("application/vnd.oai.openapi", "application/vnd.oai.openapi+json"):
            answer = asker.get(f"{PREFIX}schema/", headers={"accept": accept})
            assert answer.status_code == 200
            assert answer["Content-Type"].startswith(accept)

    def test_where_it_is(self, asker):
        found = asker.read("schema/")
        assert found["servers"] == [{"url": "/api/gemini"}]
        assert found["info"]["title"] == "django-gemini-webhooks"

    def test_ids_and_examples(self, asker):
        paths = asker.read("schema/")["paths"]
        ids = [found["operationId"] for path in paths.values() for found in path.values()]
        assert len(ids) == len(set(ids)) == 22
        assert all(one.startswith("gemini_webhooks_") for one in ids)
        body = paths["/replays/"]["post"]["requestBody"]["content"]["application/json"]
        assert body["examples"]

    @pytest.mark.parametrize("of_site", [{}, {"COMPONENT_SPLIT_REQUEST": True}])
    def test_no_warning_in_the_schema_of_the_site(self, settings, tmp_path, of_site):
        settings.REST_FRAMEWORK = {
            "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
            "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
        }
        settings.SPECTACULAR_SETTINGS = of_site
        call_command(
            *("spectacular", "--validate", "--fail-on-warn"),
            *("--urlconf", "tests.api.urls", "--file", str(tmp_path / "schema.yml")),
        )
        assert "/api/gemini/deliveries/{id}/replay/:" in (tmp_path / "schema.yml").read_text()


class TestCheck:
    def found(self):
        return [message.id for message in run_checks(tags=["gemini_webhooks"])]

    def test_included_and_installed(self):
        assert self.found() == []

    def test_not_installed(self, settings):
        settings.INSTALLED_APPS = [
            app for app in settings.INSTALLED_APPS if app != "rest_framework"
        ]
        assert self.found() == ["gemini_webhooks.W003"]
        settings.ROOT_URLCONF = "tests.urls"
        assert self.found() == []
        settings.ROOT_URLCONF = "tests.doctor.urls_broken"
        assert self.found() == []
