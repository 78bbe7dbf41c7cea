"""From the list to the answer: what happened to this job?"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile

from gemini_webhooks import clock
from gemini_webhooks.models import Replay, ReplayedDelivery, WebhookDelivery
from tests.admin import rows
from tests.admin.pages import list_url, page_url

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/receivers.py", line 41, in store_rows
    shelf = shelves[row["sku"]]
KeyError: 'a-very-long-stock-keeping-unit-without-any-space-in-it-000000000000000000000000000042'
"""


@pytest.fixture(autouse=True)
def files_in_a_new_folder(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def failed(superuser):
    """A delivery to which much has happened."""
    now = clock.now()
    at = rows.endpoint()
    came = rows.delivery(
        1,
        webhook_id="msg_2mVn7Qx0r5bYp3TfA9dKc1",
        resource_id="batches/4f9c1c3be5a84e0f",
        endpoint=at,
        secret=at.signing_secrets.get(),
        received_at=now - timedelta(minutes=42),
        occurred_at=now - timedelta(minutes=42, seconds=3),
        user_metadata={"tenant": "acme", "job_group": "nightly-eval", "customer": {"id": 7}},
        duplicate_count=2,
        size=1234,
        state=WebhookDelivery.State.PROCESSING,
    )
    output = b"".join(
        json.dumps({"key": f"row-{number}", **answer}).encode() + b"\n"
        for number, answer in enumerate(
            [{"response": {"text": "yes " * 40}}, {"error": {"code": 3, "message": "no"}}] * 30
        )
    )
    file = ContentFile(output, name="out.jsonl")
    fetched = {"rows": 60, "failed_rows": 30, "size": len(output), "bytes_done": len(output)}
    rows.result(came, file=file, **fetched)
    rows.result(came, 1, state="fetching", bytes_done=3 * 1024**2, size=9 * 1024**2)
    rows.result(came, 2, state="failed", error="The bucket “elsewhere” is not in ALLOWED_BUCKETS.")
    dead = rows.run(came, state="dead", error_class="KeyError", last_error="KeyError: 'a-very'")
    for number in range(1, 9):
        rows.attempt(
            dead,
            number=number,
            trigger="delivery" if number == 1 else "retry",
            outcome="failed",
            error_class="KeyError",
            traceback=TRACEBACK,
        )
    mail = rows.run(came, receiver="shop.receivers.send_mail")
    rows.attempt(mail, outcome="postponed")
    rows.attempt(mail, 2, trigger="replay", actor="ada")
    rows.run(came, "shop.receivers.bill", state="pending", parked_at=now, lane='bill tenant="acme"')
    rows.run(came, "shop.receivers.count", state="retrying", next_attempt_at=clock.after(600))
    replay = Replay.objects.create(what="failed", actor="ada", reason="The shelf is there again.")
    ReplayedDelivery.objects.create(replay=replay, delivery=came, runs=1)
    rows.delivery(2, resource_id="4f9c1c3be5a84e0f", event_type="batch.failed", state="processed")
    rows.job(resource_id="4f9c1c3be5a84e0f", state="succeeded", delivery=came)
    return came


def test_an_operator_finds_out_what_happened_to_a_job(operator, failed):
    operator.open(list_url(WebhookDelivery))
    operator.look("story-list")
    operator.tamper("document.querySelector('#searchbar').focus()")
    operator.type("tenant=acme")
    operator.press("Search")
    operator.sees("1 delivery")
    operator.look("story-list-found")
    operator.follow(failed.webhook_id)

    operator.sees("shop.receivers.store_rows gave up: KeyError.")
    operator.sees("ada had what failed run again")
    operator.sees("The shelf is there again.")
    operator.look("story-full")
    operator.tamper("for (const one of document.querySelectorAll('details')) one.open = true")
    operator.look("story-unfolded")

    operator.follow("Show them in the list")
    operator.sees("2 deliveries")
    operator.look("story-list-of-resource")
    operator.open(page_url(failed))
    operator.follow("4f9c1c3be5a84e0f")
    operator.follow("Show the deliveries about this job")
    operator.sees("2 deliveries")


def test_a_list_that_is_cut_leads_on(operator, failed, monkeypatch):
    monkeypatch.setattr("gemini_webhooks.admin.paging.MOST", 100)
    for number in range(100, 250):
        rows.delivery(number, received_at=clock.after(-number))
    operator.open(list_url(WebhookDelivery))
    operator.sees("more than 100 deliveries; these pages hold the first 100")
    operator.look("story-list-cut")
    operator.follow("Go on from here")
    operator.sees("Back to the first ones")
    operator.look("story-list-further")


def test_a_delivery_about_which_there_is_nothing(operator, transactional_db):
    came = rows.delivery(body=None, emptied_at=clock.now(), emptied_by="erasure", state="ignored")
    operator.open(page_url(came))
    operator.sees("It was not replayed.")
    operator.look("story-empty")


def test_who_may_not_see_payloads_is_told_so(looking, sit_down, failed):
    looking.user_permissions.remove(Permission.objects.get(codename="view_payload"))
    viewer = sit_down(looking)
    viewer.open(page_url(failed))
    viewer.sees("You need the permission")
    viewer.look("story-without-payload")
    for row in (failed.results.get(position=0), failed.jobs.get()):
        viewer.open(page_url(row))
        viewer.sees("You need the permission")
        viewer.look(f"story-without-payload-{row._meta.model_name}")


def test_the_page_of_a_result_shows_its_first_rows(operator, failed):
    operator.open(page_url(failed.results.get(position=0)))
    operator.sees("row-0")
    operator.look("story-result")
