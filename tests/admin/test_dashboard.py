"""The dashboard answers what is broken now, to whoever may see deliveries, at little cost."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gemini_webhooks import clock, dispatch, trends
from gemini_webhooks.admin import concerns, dashboard
from gemini_webhooks.models import (
    Pause,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.trends import reading, waiting
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import page_url, text_of

pytestmark = pytest.mark.django_db

URL = "/admin/gemini_webhooks/figure/"
CHARTJS = Path(finders.find("gemini_webhooks/chartjs/README.md") or "").parent


@pytest.fixture(autouse=True)
def _fresh_backlog():
    waiting.reset()


def ago(**length):
    return clock.now() - timedelta(**length)


def page(browser, period="24h"):
    return text_of(browser.get(URL, {"period": period}))


def worst_case():
    """Everything that can be wrong is."""
    off = rows.endpoint(
        "orders", state=WebhookEndpoint.State.DISABLED_BY_GOOGLE, last_delivery_at=ago(hours=2)
    )
    failed = rows.delivery(
        1, endpoint=off, state="failed", received_at=ago(hours=2), took=timedelta(seconds=90)
    )
    rows.run(failed, state="dead", finished_at=ago(hours=1))
    rows.result(failed, state=ResultFile.State.FAILED, finished_at=ago(hours=1))
    rows.result(failed, 1, state=ResultFile.State.FETCHING, bytes_done=512, size=2048)
    rows.result(failed, 2, state=ResultFile.State.FETCHING, bytes_done=512)
    rows.delivery(2, state="received", received_at=ago(minutes=20))
    rows.delivery(3, received_at=ago(minutes=5), took=timedelta(milliseconds=230))
    rows.rejection(reason="signature_mismatch", endpoint_slug="orders", suppressed=4)
    Pause.objects.create(kind="receiver", receiver="shop.receivers.store_rows", paused_by="ada")
    return off


def test_its_addresses_agree():
    assert reverse("admin:gemini_webhooks_dashboard") == URL
    assert reverse("admin:gemini_webhooks_figure_changelist") == URL


def test_the_index_and_the_side_bar_of_every_page_lead_to_it(anyone):
    row = rows.delivery()
    for path in ("/admin/", "/admin/gemini_webhooks/", page_url(row), URL):
        assert re.search(rf'href="{URL}"[^>]*>\s*Dashboard', text_of(anyone.get(path)))


def test_it_says_what_is_broken_and_where_to_look(anyone):
    off = worst_case()
    text = page(anyone)
    assert "Google switched off the endpoint “orders”" in text
    assert page_url(off) in text
    assert "has been waiting for 20 min" in text
    assert "The receiver shop.receivers.store_rows gave up on 1 delivery." in text
    assert '<a href="/admin/gemini_webhooks/failuregroup/">Show dead letters</a>' in text
    assert "1 result file could not be fetched." in text
    assert "shop.receivers.store_rows is paused by ada." in text
    assert "5 requests were refused, most often for signature_mismatch." in text
    assert "512\xa0bytes of 2.0\xa0KB" in text
    assert text.index("gave up on") < text.index("is paused by")


def test_it_says_that_nothing_is(anyone):
    rows.delivery(took=timedelta(seconds=1))
    text = page(anyone)
    assert "Nothing, as far as can be seen here." in text
    assert "gw-callout-bad" not in text


def test_failed_deliveries_without_a_dead_run_are_told_of(browser):
    rows.delivery(state="failed")
    assert "1 delivery of this period has failed." in page(browser)


def test_more_receivers_than_there_is_room_for(browser):
    for number in range(concerns.MOST_RECEIVERS + 1):
        came = rows.delivery(number, state="failed")
        rows.run(came, f"receiver_{number}", state="dead", finished_at=ago(minutes=5))
    text = page(browser)
    assert text.count("gave up on 1 delivery.") == concerns.MOST_RECEIVERS
    assert "More receivers gave up on deliveries of their own." in text


def test_a_run_that_waits_though_no_delivery_does(browser):
    late = rows.run(rows.delivery(), state="pending", next_attempt_at=ago(minutes=30))
    text = page(browser)
    assert "has been waiting for 30 min" in text
    assert late.state == "pending"
    assert "Show the oldest delivery" not in text


def test_a_pause_that_is_being_lifted(browser):
    Pause.objects.create(
        kind="receiver", receiver="a.b", paused_by="ada", resumed_at=clock.now(), rate=5
    )
    assert "What was held while a.b was paused is being let go." in page(browser)


def test_a_broker_that_this_process_does_not_reach(browser, monkeypatch):
    monkeypatch.setattr(dispatch, "broker_is_up", lambda: False)
    assert "could not reach the broker" in page(browser)


def test_figures_that_are_behind(browser, monkeypatch):
    monkeypatch.setattr(reading, "LIVE_ROWS", 1)
    for number in range(3):
        rows.delivery(number, received_at=ago(hours=number))
    assert "The figures below are incomplete since" in page(browser)


def test_what_the_site_took_out_of_its_admin_has_no_link(browser, monkeypatch):
    off = worst_case()
    monkeypatch.setattr(dashboard, "reverse", lambda *_, **__: dashboard.DashboardAdmin.nowhere())
    monkeypatch.setattr(dashboard.DashboardAdmin, "nowhere", nowhere, raising=False)
    text = page(browser)
    assert "gave up on" in text
    assert "Show dead letters" not in text
    assert off.slug in text


def nowhere():
    raise dashboard.NoReverseMatch


def test_nothing_yet(anyone):
    text = page(anyone)
    assert "No deliveries yet." in text
    assert "manage.py gemini_webhooks doctor" in text
    assert "<canvas" not in text
    assert "<table data-chart" not in text


def test_refused_requests_show_before_anything_was_accepted(anyone):
    rows.rejection(reason="signature_mismatch")
    text = page(anyone)
    assert "No deliveries yet." in text
    assert "1 request was refused: signature_mismatch." in text
    assert "Rejected requests by reason" in text


@pytest.mark.parametrize("period", trends.PERIODS)
def test_tables_have_the_figures_of_every_period(anyone, period):
    worst_case()
    rows.delivery(9, state="made up", took=timedelta(days=9))
    for number in range(7):
        rows.rejection(reason=f"reason_{number}")
    text = page(anyone, period)
    number = reading.POINTS[period][0]
    tables = re.findall(r"<table data-chart.*?</table>", text, re.DOTALL)
    assert len(tables) == 3
    for table in tables:
        assert len(re.findall(r'<th scope="row"', table)) == number + 1
    states, latency, rejections = map(columns, tables)
    assert states["Made up"] == 1
    assert latency["99 %"] > 80_000
    assert len(rejections) == 6
    if period != "1h":
        assert states["Failed"] == 1
        assert states["Received"] == 1
        assert rejections["other reasons"] == 4 + 3


def columns(table):
    """The sum of each column, or its last value, as a script reads them."""
    names = re.findall(r'<span class="gw-key [^"]*">([^<]*)', table)
    values = re.findall(r'data-value="([^"]*)"', table)
    every = [values[at :: len(names)] for at in range(len(names))]
    return {
        name: sum(float(value) for value in column if value)
        for name, column in zip(names, every, strict=True)
    }


def test_long_numbers_and_other_languages(browser, settings, monkeypatch):
    settings.LANGUAGE_CODE = "de"
    monkeypatch.setattr(waiting, "CEILING", 2)
    monkeypatch.setattr("gemini_webhooks.admin.figures.CEILING", 2)
    for number in range(3):
        rows.delivery(number, state="received", took=timedelta(seconds=1.5))
    text = page(browser)
    assert re.search(r'data-value="1\.\d+">1,\d\xa0?', text)


@pytest.mark.parametrize("period", ["2h", "", "24H", "'", "\x00", "x" * 4000])
def test_a_period_that_there_is_not(browser, period):
    answer = browser.get(URL, {"period": period})
    assert answer.status_code == 400
    assert "There is no period “" in answer.content.decode()
    assert len(answer.content) < 60_000


def test_only_who_may_see_deliveries_sees_it(viewer, client):
    rows.delivery()
    assert client.get(URL).status_code == 302
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_webhookdelivery"))
    client.force_login(viewer)
    assert client.get(URL).status_code == 403
    assert URL not in text_of(client.get("/admin/"))


def test_it_shows_only_of_what_the_user_may_see(viewer):
    worst_case()
    names = ("receiverrun", "rejectedrequest", "resultfile", "webhookendpoint", "pause")
    for name in names:
        viewer.user_permissions.remove(viewer.user_permissions.get(codename=f"view_{name}"))
    text = page(logged_in(viewer))
    for hidden in ("store_rows", "signature_mismatch", "Result files", "orders", "paused"):
        assert hidden not in text
    assert "1 delivery of this period has failed." in text


def test_no_script_and_no_style_is_inside(browser):
    worst_case()
    text = page(browser)
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<[^>]*\s(style|onclick|onload)=", text)
    assert text.count("gemini_webhooks/dashboard.js") == 1
    assert text.count("gemini_webhooks/chartjs/chart.umd.min.js") == 1


def test_hostile_rows_break_nothing(browser):
    rows.hostile_family()
    rows.hostile_family(3)
    for period in trends.PERIODS:
        text = page(browser, period)
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_it_takes_as_many_queries_for_many_rows_as_for_few(browser):
    worst_case()
    page(browser)
    few = queries_of(browser)
    for number in range(10, 60):
        at = rows.endpoint(f"endpoint-{number}")
        came = rows.delivery(number, endpoint=at, state="failed")
        rows.run(came, f"receiver-{number}", state="dead", finished_at=clock.now())
        rows.result(came, state=ResultFile.State.FETCHING)
    assert len(queries_of(browser)) == len(few)
    assert len(few) < 50
    trends.roll_up()
    assert len(queries_of(browser)) == len(few)
    assert not [sql for sql in few if '"body"' in sql or '"user_metadata"' in sql]


def queries_of(browser):
    waiting.reset()
    with CaptureQueriesContext(connection) as queries:
        page(browser)
    return [query["sql"] for query in queries]


def test_more_endpoints_than_there_is_room_for(browser):
    rows.delivery()
    for number in range(dashboard.MOST_ENDPOINTS + 2):
        rows.endpoint(f"endpoint-{number:03}")
    assert "3 more are on the list of endpoints." in page(browser)


def test_it_works_without_time_zones(browser, settings):
    settings.USE_TZ = False
    worst_case()
    assert "gave up on" in page(browser)


def test_nothing_of_it_can_be_changed(browser):
    for path in ("add/", "1/change/", "1/delete/"):
        assert browser.get(URL + path).status_code == 404
    assert admin.site.is_registered(WebhookDelivery)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 ms"),
        (0.23, "230 ms"),
        (1.26, "1.3 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (6000, "1.7 h"),
        (400_000, "4.6 days"),
    ],
)
def test_durations_are_written_in_one_unit(seconds, text):
    assert concerns.duration(seconds) == text


# Chart.js


def test_the_library_says_its_version_and_has_its_licence():
    version = re.match(r"# Chart.js (\S+)", (CHARTJS / "README.md").read_text())[1]
    assert f"Chart.js v{version}\n" in (CHARTJS / "chart.umd.min.js").read_text()[:200]
    licence = (CHARTJS / "LICENSE.md").read_text()
    assert licence.startswith(f"# Chart.js {version}\n")
    assert licence.count("Permission is hereby granted, free of charge") == 2


def test_static_files_can_be_collected_with_hashed_names(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    assert ManifestStaticFilesStorage().stored_name("gemini_webhooks/dashboard.js")
