"""What is broken now, why, and how it is mended: in a browser, wide and narrow."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gemini_webhooks import clock, failures, processing, signals
from gemini_webhooks.models import FailureGroup, ReceiverRun
from tests.admin import rows
from tests.admin.pages import list_url
from tests.senders import StaticSender
from tests.test_dead_letters import STORE, TELL, dead

LONG = (rows.MARKUP * 20)[:255]


@pytest.fixture
def broken(site, settings):
    """A site with a receiver that fails until it is mended."""
    sender = StaticSender()
    settings.GEMINI_WEBHOOKS = {
        "SIGNING_SECRETS": [sender.secret],
        "MAX_ATTEMPTS": 1,
        "FETCH_RESULTS": False,
    }
    is_mended = []

    def store(**_):
        if not is_mended:
            raise KeyError("rows")

    signals.batch_succeeded.connect(store)
    for number in range(3):
        sender.post(webhook_id=f"evt_{number}")
    processing.drain()
    yield lambda: is_mended.append(True)
    signals.batch_succeeded.disconnect(store)


def test_nothing_has_failed(viewer):
    viewer.open(list_url(FailureGroup))

    viewer.sees("Nothing has failed for good.")
    viewer.look("dead-letters-none")


def test_a_cause_is_found_mended_and_all_is_run_again(broken, operator):
    operator.open("/admin/")
    operator.follow("Dead letters")
    operator.look("dead-letters-one")
    [group] = failures.groups()
    operator.follow(group.receiver)
    operator.sees("KeyError: 'rows'", "evt_0", "evt_2")
    operator.look("dead-letters-group")

    broken()
    operator.follow("Retry all 3")
    operator.fill("Reason", "The column is there now.")
    operator.fill("Deliveries per minute", "0")
    operator.press("Retry all 3")
    operator.sees("Please correct the error below.")
    operator.look("dead-letters-retry")
    operator.fill("Deliveries per minute", "600")
    operator.press("Retry all 3")
    operator.sees("3 deliveries are being retried.")
    processing.drain()

    operator.open(list_url(FailureGroup))
    operator.sees("Nothing has failed for good.")
    assert set(ReceiverRun.objects.values_list("state", flat=True)) == {"succeeded"}


def test_a_group_is_muted_for_a_while(operator, settings):
    dead(STORE, count=120, at=clock.now() - timedelta(hours=5))
    dead(TELL, "shop.errors.CustomerRelationsSystemIsClosedOnSundays", count=2)
    dead(TELL, "", at=clock.now() - timedelta(days=40))
    operator.open(list_url(FailureGroup))
    operator.look("dead-letters-list")
    operator.follow(STORE)
    operator.follow("Mute")
    operator.fill("Until", "2020-01-01T10:00")
    operator.press("Mute")
    operator.sees("Choose a time in the future.")
    operator.look("dead-letters-mute")

    until = clock.aware(clock.now()) + timedelta(days=2)
    operator.fill("Until", f"{until:%Y-%m-%dT%H:%M}")
    operator.fill("Reason", "The shop is being rebuilt.")
    operator.press("Mute")
    operator.sees("Muted: no e-mail tells of it.", "Muted by root until", "being rebuilt")
    operator.look("dead-letters-muted-group")
    operator.open(list_url(FailureGroup))
    operator.sees("1 muted group")
    operator.tamper("document.querySelector('details').open = true")
    operator.look("dead-letters-muted-list")

    operator.follow(STORE)
    operator.press("Unmute")
    operator.sees("Not muted any more.")
    operator.follow("History")
    operator.sees("Unmuted.")


def test_hostile_names_break_no_page(operator):
    dead(LONG, LONG, last_error=rows.MARKUP * 30)
    operator.open(list_url(FailureGroup))
    operator.look("dead-letters-hostile-list")
    operator.follow(LONG)
    operator.look("dead-letters-hostile-group")
    operator.follow("Mute")
    operator.look("dead-letters-hostile-mute")
    operator.press("Mute")
    operator.follow("Retry it")
    operator.look("dead-letters-hostile-retry")


def test_who_may_only_look_has_no_buttons(viewer):
    dead(count=2)
    viewer.open(list_url(FailureGroup))
    viewer.follow(STORE)

    viewer.sees("hunter2")
    viewer.look("dead-letters-only-looking")
    assert viewer.can_press() == set()
    viewer.follow("Show all 2")
    viewer.sees("2 receiver runs")
