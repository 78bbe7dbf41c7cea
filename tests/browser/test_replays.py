"""An operator replays what failed: one, those ticked, and all that match; watches and stops it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from gemini_webhooks import processing, receivers, replay
from gemini_webhooks.deliveries import Selection
from gemini_webhooks.models import Replay, WebhookDelivery
from tests.admin import rows
from tests.admin.pages import list_url, page_url

LONG = "shop.receivers.store_rows_of_a_batch_in_the_warehouse_of_the_customer"


@pytest.fixture
def store(site):
    """A receiver; returns the ids of the events that it was told of."""
    seen = []
    receivers.on("batch.succeeded", name=LONG)(lambda event, **_: seen.append(event.id))
    return seen


@pytest.fixture
def failed(store):
    """A delivery with a receiver that gave up, one that did not, and a file that did not come."""
    came = rows.delivery(1, state="failed", user_metadata={"tenant": "acme"})
    handled = rows.run(
        came, LONG, state="dead", attempts=8, error_class="KeyError", last_error="KeyError: 'id'"
    )
    rows.attempt(handled, outcome="failed", error_class="KeyError", traceback="KeyError: 'id'")
    rows.run(came, "shop.receivers.send_mail")
    rows.result(came, state="failed", error="The object is gone.")
    return came


def test_replay_what_failed_from_the_page(failed, store, operator):
    operator.open(page_url(failed))
    operator.look("delivery-that-failed")
    assert {
        "Replay everything",
        "Replay what failed",
        "Fetch the result again",
        "Replay some receivers",
    } <= operator.can_press()
    operator.follow("Replay what failed")
    operator.sees("Only receivers that gave up run again.")
    operator.look("replay-failed")
    operator.fill("Reason", "The column is there now.")
    operator.press("Replay what failed")

    operator.sees("1 receiver runs again.", "The column is there now.")
    operator.look("delivery-replayed")
    assert operator.path == page_url(failed)
    processing.drain()
    assert store == ["evt_0001"]

    operator.open(page_url(failed))
    operator.sees_not("Replay what failed")
    operator.open(page_url(Replay.objects.get()))
    operator.sees("1 of 1", "root", "The column is there now.")
    operator.look("replay-of-one")


def test_cancelled_nothing_runs(failed, operator):
    operator.open(page_url(failed))
    operator.follow("Replay everything")
    operator.sees("All receivers of this event run again")
    operator.look("replay-everything")
    operator.follow("Cancel")
    assert operator.path == page_url(failed)
    operator.follow("Fetch the result again", nth=0)
    operator.sees("is fetched again from Google")
    operator.look("replay-result")
    assert not Replay.objects.exists()


def test_replay_one_receiver(failed, operator):
    operator.open(page_url(failed))
    operator.follow("Replay this receiver", nth=1)
    assert operator.is_ticked("shop.receivers.send_mail")
    assert not operator.is_ticked(LONG)
    operator.look("replay-receivers")
    operator.tick("shop.receivers.send_mail", on=False)
    operator.press("Replay some receivers")
    operator.sees("This field is required.")
    operator.look("replay-receivers-none")
    operator.tick(LONG)
    operator.press("Replay some receivers")
    operator.sees("1 receiver runs again.")
    assert Replay.objects.get().receivers == [LONG]


def test_replay_by_conditions_with_a_preview_then_stop(failed, store, operator):
    for number in range(2, 9):
        rows.delivery(number, state="failed", body=None if number == 2 else failed.body)
    rows.delivery(20)
    operator.open(f"{list_url(WebhookDelivery)}?state__exact=failed")
    operator.look("deliveries-filtered")
    operator.follow("Replay all that match")
    operator.sees("First you see how many they are")
    operator.look("replay-conditions")
    operator.press("Continue")

    operator.sees("8 deliveries will be replayed.")
    operator.look("replay-preview")
    operator.press("Change something")
    operator.fill("Deliveries per minute", "0")
    operator.fill("Received since", "2999-01-01T00:00")
    operator.press("Continue")
    operator.look("replay-conditions-refused")
    operator.fill("Deliveries per minute", "12")
    operator.press("Continue")
    operator.sees("No delivery meets these conditions.")
    operator.look("replay-preview-none")
    operator.press("Change something")
    operator.fill("Received since", "")
    operator.fill("Reason", "Mended in release 4.2")
    operator.press("Continue")
    operator.press("Replay")

    operator.sees("The replay of 8 deliveries has begun.", "0 of 8")
    operator.look("replay-begun")
    processing.drain()
    operator.follow("Refresh")
    operator.sees("1 of 8")
    Replay.objects.update(next_step_at=Replay.objects.get().created_at)
    processing.drain()
    operator.follow("Refresh")
    operator.sees("2 of 8, 1 skipped")
    operator.look("replay-running")
    operator.follow("Show which, and why")
    operator.sees("the body of evt_0002 was removed")
    operator.look("replay-skipped")
    operator.follow("Back to the replay")
    operator.press("Stop")
    operator.sees("Stopped. What it has begun goes on.")
    operator.look("replay-stopped")
    assert store == ["evt_0001", "evt_0003"]
    assert Replay.objects.get().state == "stopped"
    operator.open(list_url(Replay))
    operator.sees("2 of 8, 1 skipped")
    operator.look("replays")


def test_replay_what_is_ticked(failed, operator):
    rows.delivery(2, body=None)
    WebhookDelivery.objects.filter(webhook_id="evt_0002").update(emptied_at=failed.received_at)
    operator.open(list_url(WebhookDelivery))
    operator.tick("Select all")
    # The admin's label holds the whole menu, so it has no name of its own to find it by.
    operator.tamper("document.querySelector('select[name=action]').value = 'replay_selected'")
    operator.press("Go")
    operator.sees("2 deliveries are selected.", "1 of them cannot be replayed")
    operator.look("replay-selected")
    operator.fill("Deliveries per minute", "0")
    operator.press("Replay")
    operator.look("replay-selected-refused")
    operator.fill("Deliveries per minute", "60")
    operator.press("Replay")
    operator.sees("The replay of 2 deliveries has begun.")


def test_who_may_only_look_sees_how_far_it_is(failed, looking, viewer):
    begun = replay.start(Selection(states=("failed",)), rate=1, actor="root", reason="mended")
    looking.user_permissions.remove(Permission.objects.get(codename="view_payload"))
    viewer.open(page_url(begun))
    viewer.sees("0 of 1", "mended")
    viewer.look("replay-only-looking")
    assert viewer.can_press() == {"Refresh", "History"}
    viewer.open(page_url(failed))
    assert not {one for one in viewer.can_press() if "eplay" in one}
    viewer.sees_not("Replay this receiver")
