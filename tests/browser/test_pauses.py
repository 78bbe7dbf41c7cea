"""Processing is paused and resumed by somebody at a browser."""

from __future__ import annotations

import pytest

from gemini_webhooks import clock, dispatch, pausing
from gemini_webhooks.models import Pause, ReceiverRun
from tests.admin import rows
from tests.admin.pages import add_url, list_url, page_url

RECEIVER = "shop.receivers.store_rows"
LONG = "shop.receivers.of_a_module_with_a_long_name." + "and_a_function_with_a_longer_one" * 6


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    monkeypatch.setattr(dispatch, "_publish", lambda find: True)


def held(pause, count):
    for number in range(100, 100 + count):
        came = rows.delivery(number, state="processing")
        run = {"state": ReceiverRun.State.PENDING, "held_by": pause.pk, "held_at": clock.now()}
        rows.run(came, **run)


def test_receiver_is_paused_and_resumed_at_a_rate(operator):
    rows.run(rows.delivery())
    rows.run(rows.delivery(2), receiver=LONG)
    operator.open(list_url(Pause))
    operator.look("pauses-none")
    operator.follow("Add pause")
    operator.look("pause-form")
    operator.press("Pause")
    operator.sees("This field is required.")
    operator.look("pause-form-error")

    operator.choose("What", f"receiver:{RECEIVER}")
    operator.fill("Reason", "The ledger is down until Monday; ask Grace.")
    operator.press("Pause")
    operator.sees("is paused. What becomes due is held.")
    held(Pause.objects.get(), 12)
    operator.open(operator.path)
    operator.sees("The ledger is down until Monday; ask Grace.", "Show what is held")
    operator.look("pause")

    operator.follow("Resume")
    operator.sees("12 runs are held.")
    operator.look("pause-resume")
    operator.fill("Runs per minute", "5")
    operator.press("Resume")
    operator.sees("Resumed, 5 runs per minute.", "letting go: 5 of 12")
    operator.look("pause-letting-go")

    operator.follow("Change the rate")
    assert operator.value_of("Runs per minute") == "5"
    operator.fill("Runs per minute", "")
    operator.press("Go on at this rate")
    operator.sees("Resumed, as fast as the workers can.")
    operator.look("pause-ended")
    operator.follow("History")
    operator.sees("Paused.", "Resumed, 5 runs per minute.")


def test_endpoint_is_paused_by_keyboard_from_its_page(operator):
    endpoint = rows.endpoint("acme", name="Acme")
    operator.open(page_url(endpoint))
    operator.look("endpoint-not-paused")
    operator.follow("Pause processing")
    assert operator.value_of("What") == "endpoint:acme"
    operator.tab_to("Reason")
    operator.type("Spring clean")
    operator.submit_by_key("Enter")
    operator.sees("“Acme” is paused.")

    held(Pause.objects.get(), 3)
    operator.open(page_url(endpoint))
    operator.sees("Processing is paused since", "3 runs are held.", "Reason: Spring clean")
    operator.look("endpoint-paused")
    operator.follow("Resume")
    operator.tab_to("Runs per minute")
    operator.type("1")
    operator.submit_by_key("Enter")
    operator.sees("Resumed, 1 run per minute.")
    operator.open(page_url(endpoint))
    operator.sees("Processing is resumed; 2 runs are still held.")
    operator.look("endpoint-letting-go")


def test_list_of_pauses_that_are_in_every_state(operator):
    now = clock.now()
    rows.endpoint("acme", name="Acme")
    pausing.pause(endpoint="acme", actor="ada", reason="Spring clean")
    pausing.pause(root=True, actor="ada@accounting.example.com")
    held(rows.pause(RECEIVER, resumed_at=now, rate=5, released=120), 7)
    rows.pause(LONG[:255], resumed_at=now, ended_at=now, released=12_345)
    operator.open(list_url(Pause))
    operator.sees("letting go: 120 of 127", "ended")
    operator.look("pauses")
    operator.open(page_url(Pause.objects.get(receiver=LONG[:255])))
    operator.look("pause-long")


def test_who_may_only_look_has_no_buttons(viewer):
    endpoint = rows.endpoint("acme", name="Acme")
    pause = pausing.pause(endpoint="acme", actor="ada", reason="Spring clean")
    viewer.open(list_url(Pause))
    assert viewer.can_press() == {"Search"}
    viewer.open(page_url(pause))
    assert viewer.can_press() == {"History"}
    viewer.open(page_url(endpoint))
    viewer.sees("Processing is paused since")
    viewer.look("endpoint-paused-only-looking")
    assert viewer.can_press() == {"History"}
    assert viewer.open(add_url(Pause)) == 403
    viewer.expects("403")
