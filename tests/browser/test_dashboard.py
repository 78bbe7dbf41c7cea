"""The dashboard as somebody sees it: charts that are drawn, tables that say the same."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from gemini_webhooks import clock, trends
from gemini_webhooks.models import Pause, RejectedRequest, ResultFile, WebhookDelivery
from gemini_webhooks.trends import waiting
from tests.admin import rows

PATH = "/admin/gemini_webhooks/figure/"
STATES = ["processed"] * 90 + ["failed"] * 4 + ["ignored"] * 3 + ["unreadable"]
REASONS = ["signature_mismatch", "timestamp_out_of_tolerance", "body_too_large", "unknown_key"]

#: For each chart: in which colours it is painted.
PAINTED = """() => [...document.querySelectorAll("canvas")].map((canvas) => {
  const { width, height } = canvas;
  const copy = Object.assign(document.createElement("canvas"), { width, height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const colours = new Map();
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] < 200) continue;
    const colour = `${data[at]} ${data[at + 1]} ${data[at + 2]}`;
    colours.set(colour, (colours.get(colour) || 0) + 1);
  }
  return [...colours].filter(([, number]) => number > 20).map(([colour]) => colour);
})"""

#: For each chart: what it draws, and what its table says.
FIGURES = """() => [...document.querySelectorAll("table[data-chart]")].map((table) => {
  const chart = Chart.getChart(table.closest("section").querySelector("canvas"));
  const drawn = chart.data.datasets.map(({ label, data }) => [label, data]);
  const said = [...table.tHead.rows[0].cells].slice(1).map((head, at) => [
    head.textContent,
    [...table.tBodies[0].rows].map((row) => row.cells[at + 1].textContent),
  ]);
  return { labels: chart.data.labels.length, drawn, said };
})"""


@pytest.fixture(autouse=True)
def _fresh_backlog():
    waiting.reset()


@pytest.fixture
def busy(transactional_db):
    """A month of a site at which some things are wrong."""
    chance = random.Random(3)
    endpoint = rows.endpoint("reports", last_delivery_at=clock.now())
    rows.endpoint("nightly-evaluations", state="disabled_due_to_failed_deliveries")

    def then():
        return clock.now() - timedelta(hours=24 * 30 * chance.random() ** 3)

    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            webhook_id=f"msg_{number}",
            signing="hmac",
            event_type="batch.succeeded",
            state=chance.choice(STATES),
            endpoint=chance.choice([endpoint, None]),
            received_at=then(),
            took=timedelta(seconds=chance.lognormvariate(1, 1.6)),
        )
        for number in range(3000)
    )
    RejectedRequest.objects.bulk_create(
        RejectedRequest(
            reason=chance.choice(REASONS), status=401, diagnosis="no", received_at=then()
        )
        for _ in range(200)
    )
    late = rows.delivery(1, state="received", received_at=clock.after(-1500))
    dead = rows.delivery(2, state="failed", took=timedelta(seconds=70))
    rows.run(dead, "reports.receivers.store_rows", state="dead", finished_at=clock.after(-60))
    rows.result(dead, state=ResultFile.State.FETCHING, bytes_done=7 * 2**20, size=31 * 2**20)
    Pause.objects.create(kind="receiver", receiver="reports.receivers.mail", paused_by="ada")
    trends.roll_up()
    return late


@pytest.mark.parametrize("period", trends.PERIODS)
def test_every_period_is_drawn_as_its_tables_say(busy, operator, period):
    operator.open(f"{PATH}?period={period}")
    operator.sees("What is broken now?", "gave up on 1 delivery", "is paused by ada")
    operator.look(f"dashboard-{period}")

    found = operator.evaluates(FIGURES)
    assert len(found) == 3
    for chart in found:
        assert [label for label, _ in chart["drawn"]] == [label for label, _ in chart["said"]]
        assert all(len(data) == chart["labels"] for _, data in chart["drawn"])
    for chart in (found[0], found[2]):
        for (_, drawn), (_, said) in zip(chart["drawn"], chart["said"], strict=True):
            assert [f"{number:,}" for number in drawn] == said
    for (_, drawn), (_, said) in zip(found[1]["drawn"], found[1]["said"], strict=True):
        assert [number is None for number in drawn] == [text == "-" for text in said]

    for colours in operator.evaluates(PAINTED):
        assert len(colours) > 3


def test_the_figures_are_there_without_the_charts(busy, operator):
    operator.open(PATH)
    operator.sees_not("All of it")
    operator.tamper("document.querySelector('.gw-trend summary').click()")
    operator.sees("All of it")
    operator.look("dashboard-table")


def test_without_javascript_the_tables_are_open(busy, superuser, sit_down):
    person = sit_down(superuser, javascript=False)
    person.open(PATH)
    person.sees("All of it", "Failed")
    person.sees_not("Show the oldest delivery that is done")


def test_charts_follow_the_theme(busy, operator):
    operator.open(PATH)
    operator.tamper("document.documentElement.dataset.theme = 'light'")
    light = operator.evaluates(PAINTED)
    operator.tamper("document.documentElement.dataset.theme = 'dark'")
    assert operator.evaluates(PAINTED) != light


def test_from_the_index_to_the_period_and_to_what_is_broken(busy, operator):
    operator.open("/admin/")
    operator.follow("Dashboard")
    operator.follow("7 days")
    operator.sees("From ")
    operator.follow("Show the oldest delivery that is not done")
    operator.sees(busy.webhook_id)
    operator.open(PATH)
    operator.follow("Show dead letters")
    operator.sees("reports.receivers.store_rows")


def test_nothing_yet(operator):
    operator.open(PATH)
    operator.sees("No deliveries yet.")
    operator.look("dashboard-empty")


def test_nothing_wrong_and_nothing_in_the_period(viewer):
    rows.delivery(received_at=clock.after(-3600 * 24 * 3), took=timedelta(seconds=1))
    viewer.open(PATH)
    viewer.sees("Nothing, as far as can be seen here.", "There is nothing of it in this period.")
    viewer.look("dashboard-quiet")


def test_rows_that_are_out_to_break_a_page(operator):
    rows.hostile_family(2)
    rows.hostile_family(3)
    operator.open(PATH)
    operator.look("dashboard-hostile")


def test_a_period_that_there_is_not(operator):
    rows.delivery(took=timedelta(seconds=1))
    assert operator.open(f"{PATH}?period=2h") == 400
    operator.expects("400")
    operator.sees("There is no period “2h”")
    operator.look("dashboard-no-period")
