"""Figures over time: rolled up once, true to what is stored, and right without a roll-up too."""

from __future__ import annotations

import io
import json
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models import F, Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gemini_webhooks import (
    GiveUp,
    beat_schedule,
    clock,
    deliveries,
    processing,
    receivers,
    replay,
    retention,
    tasks,
    trends,
)
from gemini_webhooks.models import (
    Figure,
    RejectedRequest,
    RollUp,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.trends import buckets, histogram, reading, rolling
from tests.admin import rows
from tests.conftest import every_database
from tests.senders import StaticSender, envelope

State = WebhookDelivery.State
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def ago(length: timedelta) -> Any:
    return clock.now() - length


def many(number: int, *, first: int = 1, **values: Any) -> None:
    """So many deliveries that are alike."""
    defaults = {
        "signing": "hmac",
        "event_type": "batch.succeeded",
        "state": State.PROCESSED,
        "took": timedelta(seconds=1),
    }
    deliveries.rows(WebhookDelivery).bulk_create(
        WebhookDelivery(webhook_id=f"evt_{at}", **{**defaults, **values})
        for at in range(first, first + number)
    )


def figures(name: str) -> Counter[str]:
    found = deliveries.rows(Figure).filter(name=name).order_by().values_list("label")
    return Counter(dict(found.annotate(number=Sum("value"))))


def settle(pk: int, state: str) -> None:
    deliveries.rows(WebhookDelivery).filter(pk=pk).update(state=state, settled_at=clock.now())


def pass_hours(hours: float) -> None:
    """Let time go by: everything is older than it was."""
    length = timedelta(hours=hours)
    for model, columns in (
        (WebhookDelivery, ("received_at", "settled_at")),
        (RejectedRequest, ("received_at",)),
        (RollUp, ("until",)),
    ):
        for column in columns:
            deliveries.rows(model).update(**{column: F(column) - length})
    # One by one, from the oldest on: two at the same time would be one figure.
    for figure in deliveries.rows(Figure).order_by("start"):
        deliveries.rows(Figure).filter(pk=figure.pk).update(start=figure.start - length)


@pytest.fixture(params=[True, False], ids=["rolled-up", "live"])
def rolled_up(request: pytest.FixtureRequest) -> Any:
    """Roll up before looking, or never: it makes no difference."""
    return trends.roll_up if request.param else (lambda: None)


# What is read


@every_database
def test_deliveries_are_counted_by_time_and_state(database: str, rolled_up: Any) -> None:
    many(3, received_at=ago(2 * HOUR))
    many(2, first=4, received_at=ago(2 * HOUR), state=State.FAILED)
    many(1, first=6, received_at=ago(2 * DAY), state=State.RECEIVED, took=None)
    many(4, first=7, state=State.PROCESSING, took=None)
    rolled_up()

    day = trends.read("24h")
    assert day.states == {"processed": 3, "failed": 2, "processing": 4}
    assert day.total == 9
    assert day.points[-1].states == {"processing": 4}
    (then,) = [point for point in day.points if point.states.get("processed")]
    assert then.states == {"processed": 3, "failed": 2}
    assert then.start <= ago(2 * HOUR) < then.start + 30 * MINUTE
    assert day.stale_since is None
    assert trends.read("1h").states == {"processing": 4}
    assert trends.read("7d").states == {**day.states, "received": 1}
    assert trends.read("30d").total == 10


@every_database
def test_percentiles_are_those_of_a_plain_computation(database: str, rolled_up: Any) -> None:
    chance = random.Random(5)
    took = [chance.lognormvariate(0.5, 1.5) for _ in range(300)]
    for number, seconds in enumerate(took):
        many(1, first=number, received_at=ago(HOUR), took=timedelta(seconds=seconds))
    # Replayed since, it counts all the same; that no receiver runs for it does not.
    many(1, first=301, received_at=ago(HOUR), state=State.PROCESSING, took=timedelta(hours=9))
    many(9, first=310, received_at=ago(HOUR), state=State.UNREADABLE, took=timedelta(0))
    many(9, first=320, received_at=ago(HOUR), state=State.IGNORED)
    rolled_up()

    found = trends.read("24h").latency
    assert found is not None
    assert found.count == 301
    exact = sorted([*took, 9 * 3600])
    assert found.p50 == pytest.approx(exact[150], rel=0.1)
    assert found.p95 == pytest.approx(exact[285], rel=0.1)
    assert found.p99 == pytest.approx(exact[297], rel=0.1)


@every_database
def test_any_duration_has_its_bin(database: str) -> None:
    least, most = 0.0011, histogram.GROWTH ** (histogram.LAST + 0.5) / 1000
    many(1, received_at=ago(HOUR))
    for took in (-60, 0, 0.0004, 0.0015, 1, 61, 86_400, 500 * 86_400):
        deliveries.rows(WebhookDelivery).update(took=timedelta(seconds=took))
        found = trends.read("24h").latency
        assert found is not None
        assert found.p50 == pytest.approx(min(max(took, least), most), rel=0.1)


def test_without_any_there_are_no_percentiles() -> None:
    assert histogram.latency({}) is None


@every_database
def test_rejections_are_counted_by_reason(database: str, rolled_up: Any) -> None:
    for _ in range(3):
        rows.rejection(reason="signature_mismatch", received_at=ago(HOUR))
    rows.rejection(reason="too_large", received_at=ago(HOUR), suppressed=40)
    rows.rejection(reason="too_large")
    rows.rejection(reason="too_large", received_at=ago(3 * DAY))
    rolled_up()

    day = trends.read("24h")
    assert day.rejections == {"signature_mismatch": 3, "too_large": 2}
    assert day.unrecorded == 40
    assert day.points[-1].rejections == {"too_large": 1}
    assert sum(point.unrecorded for point in day.points) == 40


@every_database
def test_nothing_at_all(database: str, rolled_up: Any) -> None:
    rolled_up()
    for period in trends.PERIODS:
        found = trends.read(period)
        assert (found.states, found.latency, found.rejections) == ({}, None, {})
        assert len(found.points) == reading.POINTS[period][0]


@pytest.mark.django_db
def test_other_periods_are_refused() -> None:
    with pytest.raises(ValueError, match="2h"):
        trends.read("2h")  # type: ignore[arg-type]  # it is wrong on purpose


@every_database
def test_a_time_of_another_clock_is_in_the_last_point(database: str, rolled_up: Any) -> None:
    many(1, received_at=clock.after(200))
    rolled_up()
    assert trends.read("1h").points[-1].states == {"processed": 1}


@pytest.mark.django_db
def test_the_figures_of_a_given_moment(settings: Any) -> None:
    moment = datetime(2026, 3, 29, 10, 17, tzinfo=UTC)
    many(1, received_at=clock.for_database(moment - HOUR))
    assert trends.read("24h", now=moment).states == {"processed": 1}
    assert trends.read("1h", now=moment).states == {}


# Points


@pytest.mark.parametrize(
    ("period", "moment", "first", "last"),
    [
        ("1h", "2026-11-25T10:03", "2026-11-25T09:05", "2026-11-25T10:00"),
        ("24h", "2026-11-25T10:29", "2026-11-24T10:30", "2026-11-25T10:00"),
        ("7d", "2026-11-25T10:00", "2026-11-18T12:00", "2026-11-25T06:00"),
        ("30d", "2026-11-25T23:59", "2026-10-27T00:00", "2026-11-25T00:00"),
        # The clock goes back, and forward, within the period.
        ("24h", "2026-10-25T12:10", "2026-10-24T13:30", "2026-10-25T12:00"),
        ("7d", "2026-10-25T12:10", "2026-10-18T18:00", "2026-10-25T12:00"),
        ("30d", "2026-10-26T00:00", "2026-09-27T00:00", "2026-10-26T00:00"),
        ("30d", "2026-04-01T12:00", "2026-03-03T00:00", "2026-04-01T00:00"),
    ],
)
def test_points_begin_when_the_clock_on_the_wall_is_round(
    period: Any, moment: str, first: str, last: str
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    with timezone.override(berlin):
        starts = reading.starts_of(
            period, datetime.fromisoformat(moment).replace(tzinfo=berlin).astimezone(UTC)
        )
    on_the_wall = [start.astimezone(berlin).isoformat()[:16] for start in starts]
    assert (on_the_wall[0], on_the_wall[-1]) == (first, last)
    assert starts == sorted(set(starts))
    assert all(buckets.floor(start) == start for start in starts)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns", "Asia/Beirut", "UTC"])
@pytest.mark.parametrize("period", trends.PERIODS)
def test_points_are_made_of_whole_buckets_in_every_time_zone(period: Any, zone: str) -> None:
    with timezone.override(ZoneInfo(zone)):
        for day in range(0, 365, 3):
            starts = reading.starts_of(period, datetime(2026, 1, 1, 23, 1, tzinfo=UTC) + day * DAY)
            assert starts == sorted(set(starts))
            assert all(buckets.floor(start) == start for start in starts)


@every_database
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_without_time_zones(database: str, settings: Any, rolled_up: Any, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, zone  # Django's connections follow
    many(3, received_at=ago(3 * HOUR))
    many(2, first=4, received_at=ago(3 * HOUR), state=State.PROCESSING, took=None)
    rolled_up()

    found = trends.read("24h")
    (then,) = [point for point in found.points if point.states]
    assert timezone.is_naive(then.start)
    assert then.start <= ago(3 * HOUR) < then.start + 30 * MINUTE
    assert then.states == {"processed": 3, "processing": 2}
    deliveries.rows(WebhookDelivery).filter(state=State.PROCESSING).update(
        state=State.PROCESSED, settled_at=clock.now()
    )
    rolled_up()
    assert trends.read("24h").states == {"processed": 5}
    assert trends.read("30d").total == 5


@every_database
def test_buckets_are_the_same_in_the_database_and_here(database: str) -> None:
    for number in range(40):
        at = datetime(2026, 10, 25, tzinfo=UTC) + number * timedelta(seconds=299.999_999)
        many(1, first=number, received_at=clock.for_database(at))
    stored = deliveries.rows(WebhookDelivery).annotate(number=buckets.Number("received_at"))
    for at, number in stored.values_list("received_at", "number"):
        assert buckets.start_of(number) == buckets.floor(at)


# Rolling up


@every_database
def test_rolled_up_deliveries_are_not_counted_again(database: str) -> None:
    many(40, received_at=ago(5 * HOUR))
    trends.roll_up()

    with CaptureQueriesContext(connections[database]) as queries:
        assert trends.read("24h").states == {"processed": 40}
        assert trends.read("30d").total == 40
    for query in queries:
        if "webhookdelivery" in query["sql"].lower():
            assert "received_at" in query["sql"]
            assert not clock.aware(
                deliveries.rows(RollUp).get(pk="deliveries").until
            ) < clock.aware(ago(6 * MINUTE))
    assert deliveries.rows(WebhookDelivery).update(received_at=F("received_at") - 40 * DAY) == 40
    assert trends.read("24h").states == {"processed": 40}  # from the figures


@every_database
def test_a_second_roll_up_writes_nothing(database: str) -> None:
    many(5, received_at=ago(5 * HOUR))
    many(5, first=6, received_at=ago(10 * MINUTE), settled_at=clock.now())
    rows.rejection(received_at=ago(HOUR))
    assert trends.roll_up().figures > 0
    assert trends.roll_up().figures == 0


@every_database
def test_states_that_change_later_are_followed(database: str) -> None:
    many(5, received_at=ago(5 * HOUR), state=State.PROCESSING, took=None)
    first, second, third, *_ = deliveries.rows(WebhookDelivery).values_list("pk", flat=True)
    trends.roll_up()

    settle(first, State.PROCESSED)
    settle(second, State.FAILED)
    assert trends.roll_up().figures > 0
    assert trends.read("24h").states == {"processed": 1, "failed": 1, "processing": 3}

    # Failed, replayed and processed, all since the last time.
    settle(second, State.PROCESSED)
    trends.roll_up()
    assert trends.read("24h").states == {"processed": 2, "processing": 3}

    # What the version before brings to an end has no time, during an upgrade.
    deliveries.rows(WebhookDelivery).filter(pk=third).update(state=State.PROCESSED)
    trends.roll_up()
    assert trends.read("24h").states == {"processed": 3, "processing": 2}


@every_database
def test_replays_are_followed(database: str, static: StaticSender) -> None:
    fails = [True]

    @receivers.on("batch.succeeded")
    def moody(**_: Any) -> None:
        if fails[0]:
            raise GiveUp("not today")

    static.post(envelope())
    processing.drain()
    pass_hours(3)
    trends.roll_up()
    assert trends.read("24h").states == {"failed": 1}

    fails[0] = False
    replay.replay(deliveries.rows(WebhookDelivery).get(), actor="ada")
    trends.roll_up()
    assert trends.read("24h").states == {"processing": 1}
    processing.drain()
    trends.roll_up()
    found = trends.read("24h")
    assert found.states == {"processed": 1}
    assert found.latency is not None
    assert found.latency.count == 1
    assert figures("failed") == {}


@every_database
def test_a_delivery_that_is_stored_late_is_counted(database: str) -> None:
    trends.roll_up()
    many(1, received_at=ago(12 * MINUTE))
    trends.roll_up()
    assert trends.read("24h").states == {"processed": 1}


@every_database
def test_what_retention_removed_keeps_its_figures(database: str, settings: Any) -> None:
    kept = dict.fromkeys(("payloads", "results", "deliveries", "rejections"))
    settings.GEMINI_WEBHOOKS = {"RETENTION_DAYS": kept}
    many(6, received_at=ago(20 * DAY))
    many(2, first=7, received_at=ago(20 * DAY), state=State.PROCESSING, took=None)
    many(3, first=10, received_at=ago(20 * DAY) - 10 * MINUTE, state=State.FAILED)
    rows.rejection(received_at=ago(5 * DAY))
    trends.roll_up()
    before = trends.read("30d")

    kept |= {"deliveries": 10, "rejections": 1}
    retention.prune()
    assert deliveries.rows(WebhookDelivery).count() == 2
    trends.roll_up()
    trends.begin_again()
    trends.roll_up()
    after = trends.read("30d")
    assert after.states == before.states == {"processed": 6, "processing": 2, "failed": 3}
    assert after.rejections == before.rejections
    assert after.latency == before.latency

    # What was left open then is not shown as open for ever.
    for pk in deliveries.rows(WebhookDelivery).values_list("pk", flat=True):
        settle(pk, State.PROCESSED)
    trends.roll_up()
    assert trends.read("30d").states == {"processed": 6, "failed": 3}
    assert trends.roll_up().figures == 0


@every_database
def test_erased_deliveries_stay_counted(database: str) -> None:
    many(2, received_at=ago(HOUR), state=State.PROCESSING, took=None)
    trends.roll_up()
    deliveries.erase(deliveries.rows(WebhookDelivery).values_list("pk", flat=True)[0])
    trends.roll_up()
    assert trends.read("24h").total == 2
    assert trends.read("24h").states["processing"] == 1


@every_database
def test_it_catches_up_in_bounded_steps(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEP_ROWS", "SQLITE_STEP_ROWS"):
        monkeypatch.setattr(rolling, name, 10)
    for hour in range(12):
        many(7, first=hour * 7, received_at=ago((40 + 5 * hour) * HOUR))
    told: list[int] = []

    stopped = trends.roll_up(seconds=0)
    assert (stopped.complete, stopped.figures) == (False, 0)
    rolled = trends.roll_up(tell=lambda kind, done: told.append(done))

    assert rolled.complete
    assert rolled.steps >= 9
    assert told == sorted(told)
    assert trends.read("7d").states == {"processed": 84}
    assert figures("done") == {"processed": 84}


@every_database
def test_what_was_done_during_a_long_pause_is_followed_in_steps(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STEP_ROWS", "SQLITE_STEP_ROWS"):
        monkeypatch.setattr(rolling, name, 10)
    for hour in range(12):
        many(5, first=hour * 5, received_at=ago((20 + 5 * hour) * HOUR), state=State.FAILED)
    trends.roll_up()
    for number, pk in enumerate(deliveries.rows(WebhookDelivery).values_list("pk", flat=True)):
        deliveries.rows(WebhookDelivery).filter(pk=pk).update(
            state=State.PROCESSED, settled_at=clock.after(-number)
        )
    trends.roll_up()
    assert trends.read("7d").states == {"processed": 60}


@every_database
def test_many_that_are_opened_again_take_several_calls(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "MOST_REOPENED", 2)
    for hour in range(6):
        many(1, first=hour, received_at=ago((20 + 5 * hour) * HOUR))
    trends.roll_up()
    deliveries.rows(WebhookDelivery).update(state=State.PROCESSING)
    for left in (4, 2, 0):
        trends.roll_up()
        assert trends.read("7d").states.get("processed", 0) == left


@every_database
def test_two_at_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEP_ROWS", "SQLITE_STEP_ROWS"):
        monkeypatch.setattr(rolling, name, 20)
    for hour in range(20):
        many(10, first=hour * 10, received_at=ago((hour + 1) * HOUR), state=State.FAILED)
    start = threading.Barrier(3)

    def work() -> None:
        try:
            start.wait()
            trends.roll_up()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work) for _ in range(3)]:
            done.result()
    assert figures("done") == {"failed": 200}
    assert figures("arrived") == figures("failed") == {"root": 200}
    assert trends.read("7d").states == {"failed": 200}


@every_database
def test_figures_do_not_stay_for_ever(database: str) -> None:
    many(300, received_at=ago(500 * DAY))
    for day in range(300):
        Figure.objects.create(
            name="done", label="processed", start=buckets.floor(ago((401 + day) * DAY)), value=1
        )
    rolled = trends.roll_up()
    assert rolled.figures == 300
    assert not deliveries.rows(Figure).exists()


@every_database
def test_everything_is_counted_again_on_demand(database: str) -> None:
    trends.roll_up()
    many(3, received_at=ago(9 * HOUR))  # as after restoring a backup
    trends.roll_up()
    assert trends.read("24h").states == {}

    call_command("gemini_webhooks", "roll-up", "--again", "--json", stdout=(out := io.StringIO()))
    assert json.loads(out.getvalue())["complete"] is True
    assert trends.read("24h").states == {"processed": 3}
    call_command("gemini_webhooks", "roll-up", stdout=(out := io.StringIO()))
    assert "complete: True" in out.getvalue()


@pytest.mark.django_db
def test_beat_rolls_up_every_minute() -> None:
    assert beat_schedule()["gemini-webhooks-roll-up"] == {
        "task": "gemini_webhooks.tasks.roll_up",
        "schedule": 60.0,
    }
    many(1, received_at=ago(HOUR))
    assert tasks.roll_up()["complete"] is True
    assert figures("done") == {"processed": 1}


# Where the roll-up is behind


@every_database
def test_more_than_can_be_counted_on_the_way_is_said_to_be_incomplete(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LIVE_ROWS", 5)
    many(3, received_at=ago(9 * HOUR))
    trends.roll_up()
    pass_hours(2)
    for hour in range(9):
        many(1, first=10 + hour, received_at=ago(hour * 10 * MINUTE))

    found = trends.read("24h")
    until = deliveries.rows(RollUp).get(pk="deliveries").until
    assert found.stale_since == until
    assert found.states == {"processed": 3 + 6}
    assert trends.endpoints("24h")[0].deliveries == 9

    trends.roll_up()
    assert trends.read("24h").stale_since is None
    assert trends.read("24h").states == {"processed": 12}


# How things stand


@every_database
def test_failing_receivers_of_the_period(database: str) -> None:
    for number, (receiver, age) in enumerate(
        [("a.b", HOUR), ("a.b", 2 * HOUR), ("c.d", HOUR), ("c.d", 3 * DAY), ("e.f", 40 * DAY)]
    ):
        rows.run(rows.delivery(number), receiver, state="dead", finished_at=ago(age))
    rows.run(rows.delivery(50), "fine")
    rows.run(rows.delivery(51), "g", state="dead", error_class="erased", finished_at=ago(HOUR))
    found = [(one.receiver, one.dead) for one in trends.failing("24h")]
    assert found == [("a.b", 2), ("c.d", 1)]
    assert trends.failing("7d")[1].dead == 2
    assert trends.failing("24h")[0].last_at > ago(90 * MINUTE)


@every_database
def test_the_oldest_delivery_that_waits(database: str) -> None:
    assert trends.oldest_waiting() is None
    many(1, received_at=ago(5 * HOUR))
    many(1, first=2, received_at=ago(HOUR), state=State.RECEIVED)
    many(1, first=3, received_at=ago(2 * HOUR), state=State.PROCESSING)
    found = trends.oldest_waiting()
    assert found is not None
    assert (found.webhook_id, found.state) == ("evt_3", "processing")


@every_database
def test_the_health_of_endpoints(database: str, rolled_up: Any) -> None:
    fine, off = (
        rows.endpoint("fine"),
        rows.endpoint("off", state="disabled_due_to_failed_deliveries"),
    )
    sick = rows.endpoint("sick")
    many(3, received_at=ago(3 * HOUR), endpoint=fine)
    many(2, first=4, received_at=ago(3 * HOUR), endpoint=sick, state=State.FAILED)
    many(1, first=6, endpoint=sick)
    many(1, first=7, received_at=ago(3 * HOUR))
    rows.rejection(endpoint_slug="fine", received_at=ago(HOUR))
    rows.rejection(endpoint_slug="fine", received_at=ago(3 * DAY))
    rolled_up()

    found = {one.slug: one for one in trends.endpoints("24h")}
    assert list(found) == ["off", "sick", "", "fine"]
    assert found["off"].is_switched_off
    assert (found["sick"].deliveries, found["sick"].failed) == (3, 2)
    assert (found["fine"].deliveries, found["fine"].rejected) == (3, 1)
    assert (found[""].deliveries, found[""].endpoint_id) == (1, None)
    assert off.pk == found["off"].endpoint_id
    assert WebhookEndpoint.State(found["fine"].state) == "enabled"


@every_database
def test_results_in_flight(database: str) -> None:
    came = rows.delivery()
    for position, (state, values) in enumerate(
        [
            ("pending", {}),
            ("retrying", {}),
            ("fetching", {"bytes_done": 5, "size": 10}),
            ("failed", {"finished_at": ago(HOUR)}),
            ("failed", {"finished_at": ago(9 * DAY)}),
            ("complete", {"finished_at": ago(HOUR)}),
        ]
    ):
        rows.result(came, position, state=state, **values)
    found = trends.results("24h")
    assert (found.waiting, found.fetching, found.failed) == (2, 1, 1)
    assert (found.fetches[0].bytes_done, found.fetches[0].size) == (5, 10)


@every_database
def test_all_of_it_at_once(database: str) -> None:
    rows.run(rows.delivery(), state="dead", finished_at=ago(HOUR))
    found = trends.overview("24h")
    assert len(found.failing) == 1
    assert found.oldest is None
    assert found.results.failed == 0
    assert found.paused == ()
    assert [one.slug for one in found.endpoints] == [""]
