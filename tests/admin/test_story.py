"""What the pages tell about a delivery, its runs, its results and the rest."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from gemini_webhooks import clock
from gemini_webhooks.models import Attempt, ReceiverRun, ResultFile, SigningSecret, WebhookDelivery
from tests.admin import rows
from tests.admin.pages import list_url, page_url, text_of

pytestmark = pytest.mark.django_db

BLOCK = re.compile(r'<pre class="gw-block"[^>]*aria-label="([^"]*)">(.*?)</pre>', re.DOTALL)


class Addressless(Storage):
    """A storage whose files have no address."""


def page(browser, row):
    return text_of(browser.get(page_url(row)))


def listed(browser, model):
    return text_of(browser.get(list_url(model)))


def block(text, label):
    return html.unescape(dict(BLOCK.findall(text))[label])


def test_a_delivery_page_tells_one_story_from_top_to_bottom(browser):
    done = {"settled_at": clock.now(), "took": timedelta(seconds=2.5)}
    headers = {"user-agent": "Google-Webhooks"}
    came = rows.family(user_metadata={"tenant": "acme"}, headers=headers, **done)[1]
    text = page(browser, came)
    story = [
        "It was done 2.50 s after it was received.",
        "batch.succeeded",
        "batch-1",
        "evt_0001",
        "Google, by a webhook",
        "static (HMAC): whsec_…3frh, a secret of the endpoint",
        "the webhook id, the time of sending and the body",
        "none: it came once",
        "Receivers",
        "shop.receivers.store_rows",
        "#1",
        "Result files",
        "gs://bucket/out.jsonl",
        "Replays",
        "About the same job",
        "User metadata",
        "acme",
        "Headers",
        "Google-Webhooks",
        "output_file_uri",
    ]
    content = text[text.index('id="gw-lead"') :]
    places = [content.index(html.escape(words)) for words in story]
    assert places == sorted(places)


def test_a_body_of_json_is_indented(browser):
    text = page(browser, rows.delivery(body=b'{"a":[1,{}],"b":{"c":"d, {e}"}}'))
    assert block(text, "Body") == (
        '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": {\n    "c": "d, {e}"\n  }\n}'
    )


@pytest.mark.parametrize("name", rows.POISON)
def test_a_delivery_page_opens_whatever_the_body_holds(anyone, name):
    text = page(anyone, rows.delivery(body=rows.POISON[name]))
    assert "<script>alert" not in text
    assert len(text) < 2_000_000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("duplicate keys", '"a": 1,\n  "a": 2'),
        ("not a number", '"a": NaN,\n  "b": -Infinity,\n  "c": 1e999'),
        ("lone surrogate", r"\ud800 \udfff"),
        ("right-to-left override", r"\u202etxt.exe"),
        ("NUL", r'{"a": "\u0000"} \u0000'),
        ("invalid UTF-8", "22 ff fe ed"),
        ("markup", "<script>alert('x')</script>"),
        ("a scalar", "7"),
    ],
)
def test_a_body_is_shown_as_it_was_sent(browser, name, shown):
    assert shown in block(page(browser, rows.delivery(body=rows.POISON[name])), "Body")


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (None, "Removed by retention."),
        (b"", "The body was empty."),
        (b"{", "Not JSON."),
        (b"[" * 100_000, "Shown as it was sent: it is large."),
        (b"[" * 100 + b"]" * 100, "it is deeply nested."),
        (b"\xff\x00", "Its bytes, in hexadecimal:"),
        (b"\xff" * 5000, "Its first bytes, in hexadecimal:"),
    ],
)
def test_a_body_that_is_not_indented_says_why(browser, body, note):
    assert note in page(browser, rows.delivery(body=body))


@pytest.mark.parametrize(
    ("emptied_by", "words"),
    [
        ("retention", "Removed by retention, Jan. 2, 2030, 13:00:00."),
        ("erasure", "Erased on request, Jan. 2, 2030, 13:00:00."),
        ("redaction", "Not stored: REDACT could not look into it."),
    ],
)
def test_a_delivery_page_says_when_and_why_its_content_was_removed(browser, emptied_by, words):
    when = clock.for_database(datetime(2030, 1, 2, 12, 0, tzinfo=UTC))
    came = rows.delivery(body=None, emptied_at=when, emptied_by=emptied_by)
    text = page(browser, came)

    assert words in text
    assert "If there was any, it was removed with the body." in text
    assert "No receiver has run." in text
    WebhookDelivery.objects.update(state=WebhookDelivery.State.UNREADABLE)
    assert "Receivers are not run without a body." in page(browser, came)


def test_a_delivery_page_says_that_what_is_stored_is_not_what_was_signed(browser):
    text = page(browser, rows.delivery(redacted=True))

    assert "REDACT took something out of it." in text
    assert "the body as it was before REDACT" in text


def test_a_result_whose_file_was_removed_says_so(browser):
    came = rows.delivery()
    gone = rows.result(came, state=ResultFile.State.REMOVED, rows=3)

    assert "removed from the storage" in page(browser, gone)
    assert "removed from the storage" in page(browser, came)


def test_an_erasure_page_says_who_and_whether_it_came_to_its_end(browser):
    began, ended = rows.erasure(), rows.erasure(finished_at=clock.now())
    text = page(browser, began)

    assert "ada" in text
    assert "not yet, or it was interrupted" in text
    assert "not yet, or it was interrupted" not in page(browser, ended)


def test_metadata_keeps_what_a_browser_cannot_be_sent(browser):
    text = page(browser, rows.delivery(user_metadata={"tenant": "\ud800", "名": "値"}))
    assert block(text, "User metadata") == '{\n  "tenant": "\\ud800",\n  "名": "値"\n}'


def test_metadata_of_great_depth_is_shown_in_one_line(browser):
    deep = []
    for _ in range(100):
        deep = [deep]
    assert "[[[[[[[[" in block(page(browser, rows.delivery(user_metadata=deep)), "User metadata")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "whsec_…3frh, from SIGNING_SECRETS"),
        ({"key_hint": ""}, "the webhook id, the time of sending and the body"),
        ({"signing": "jwt", "binding": "body"}, "the token carries a digest of the body"),
        ({"signing": "jwt", "key_hint": "k7"}, "key id k7"),
        ({"signing": "jwt", "sealed": True}, "sealed: this site started the job"),
        ({"signing": "jwt"}, "not sealed: anyone with a Gemini API key"),
        ({"signing": "none", "source": "reconciler"}, "nothing was signed"),
        ({"state": "ignored"}, "No receiver was connected when it was processed."),
        ({"state": "received"}, "It has not been processed yet."),
        ({"state": "unreadable"}, "Receivers are not run for a body that is not JSON."),
        ({"state": "processed"}, "No receiver has run."),
        ({"size": 2048}, "2.0\xa0KB"),
        ({}, "The event announced no result file."),
        ({}, "No metadata came with the event."),
    ],
)
def test_a_delivery_page_says_it_in_words(browser, values, words):
    assert words in page(browser, rows.delivery(**values))


def test_a_delivery_whose_secret_was_deleted_says_so(browser):
    came = rows.family()[1]
    SigningSecret.objects.all().delete()
    assert "whsec_…3frh, a secret that was deleted" in page(browser, came)


def test_a_run_that_waits_for_its_result_file_says_so(browser):
    came = rows.delivery()
    waiting = rows.run(came, state=ReceiverRun.State.PENDING, result=rows.result(came))
    assert "once its result file is complete" in page(browser, came)
    assert "once its result file is complete" in page(browser, waiting)


def test_a_run_that_waits_in_its_lane_says_so_and_the_lane_counts_it(browser):
    lane = rows.lane('note tenant="acme/_5F"', limit=1)
    state, came = ReceiverRun.State, rows.delivery()
    parked = clock.after(-3600)
    waiting = rows.run(
        came, "second", state=state.PENDING, lane=lane.name, parked_at=parked,
        result=rows.result(came),
    )  # fmt: skip
    leased = {"state": state.RUNNING, "lane": lane.name}
    rows.run(came, "first", lease_until=clock.after(60), **leased)
    rows.run(came, "dead", lease_until=clock.after(-60), **leased)
    said = "once there is a place in its lane, “note tenant=&quot;acme/_5F&quot;”"

    assert said in page(browser, came)
    assert said in page(browser, waiting)
    text = page(browser, lane)
    numbers = re.findall(r'class="readonly">(\d+)<', text)
    assert numbers == ["1", "1", "1"]  # its limit, executed, waiting
    runs = html.unescape(re.search(r'href="([^"]*lane__exact[^"]*)"', text)[1])
    assert "3 receiver runs" in text_of(browser.get(runs))


def test_a_run_page_shows_its_attempts_with_the_traceback_folded(browser):
    handled = rows.run(rows.delivery(), last_error="ValueError: seven")
    rows.attempt(
        handled,
        outcome=Attempt.Outcome.FAILED,
        error_class="ValueError",
        traceback="Traceback <module>\n  line 2",
        actor="alice",
    )
    rows.attempt(handled, number=2)
    rows.attempt(handled, number=3, outcome=Attempt.Outcome.LOST, traceback="no class")
    text = page(browser, handled)
    assert "ValueError: seven" in block(text, "Last error")
    assert "<details><summary>ValueError</summary>" in text
    assert "<details><summary>Traceback</summary>" in text
    assert "Traceback &lt;module&gt;\n  line 2" in text
    assert "1.50 s" in text
    assert "alice" in text


def test_a_run_that_was_not_tried_yet_says_so(browser):
    assert "It has not been tried yet." in page(browser, rows.run(rows.delivery()))


def test_an_attempt_page_leads_to_its_run_and_delivery(browser):
    came = rows.delivery()
    handled = rows.run(came)
    text = page(browser, rows.attempt(handled, error_class="KeyError", traceback="line 1\nline 2"))
    assert f'href="{page_url(came)}"' in text
    assert f'href="{page_url(handled)}"' in text
    assert block(text, "Traceback") == "line 1\nline 2"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bytes_done": 1024, "size": 4096}, "1.0\xa0KB of 4.0\xa0KB"),
        ({"bytes_done": 1024, "size": None}, "1.0\xa0KB"),
        ({"bytes_done": 4096, "size": 4096}, "4.0\xa0KB"),
        ({"error": "The bucket is not allowed."}, "The bucket is not allowed."),
    ],
)
def test_a_result_page_tells_how_far_it_is(browser, values, words):
    came = rows.delivery()
    text = page(browser, rows.result(came, state=ResultFile.State.FETCHING, **values))
    assert words in text
    assert words in page(browser, came)


def test_rows_are_counted_in_lists_and_pages(browser):
    stored = rows.result(rows.delivery(), rows=731, failed_rows=52)
    for text in (page(browser, stored), listed(browser, ResultFile)):
        assert re.search(r">\s*731\s*<", text)
        assert re.search(r">\s*52\s*<", text)
    text = page(browser, stored.delivery)
    assert "731 rows" in text
    assert "52 failed" in text


def test_the_time_of_the_next_attempt_is_shown_alike_in_lists_and_pages(browser):
    soon = clock.for_database(datetime(2030, 1, 2, 12, 0, tzinfo=UTC))
    came = rows.delivery()
    waiting = rows.run(came, state=ReceiverRun.State.RETRYING, next_attempt_at=soon)
    for text in (page(browser, waiting), page(browser, came), listed(browser, ReceiverRun)):
        assert "Jan. 2, 2030, 13:00:00" in text


def test_a_run_page_tells_a_replay(browser):
    came = rows.delivery()
    one, other = rows.run(came), rows.run(came, receiver="again", is_replay=True)
    assert re.search(r"Replay:</label>\s*<div class=\"readonly\">no</div>", page(browser, one))
    assert re.search(r"Replay:</label>\s*<div class=\"readonly\">yes</div>", page(browser, other))


def test_a_complete_result_can_be_downloaded(browser):
    stored = rows.result(rows.delivery(), file=ContentFile(b"{}\n", name="out.jsonl"))
    assert f'<a href="{stored.file.url}" download>' in page(browser, stored)
    assert f'<a href="{stored.file.url}" download>' in page(browser, stored.delivery)


def test_a_result_without_a_finished_file_has_no_link(browser):
    came = rows.delivery()
    rows.result(came)
    rows.result(came, position=1, file="half.jsonl", state=ResultFile.State.FETCHING)
    assert " download>" not in page(browser, came)


def test_a_result_in_a_storage_without_addresses_says_so(browser, settings):
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "tests.admin.test_story.Addressless"},
    }
    stored = rows.result(rows.delivery(), file="out.jsonl")
    assert "its storage gives no address for it" in page(browser, stored)


def test_a_rejection_page_begins_with_the_diagnosis(browser):
    text = page(browser, rows.rejection(headers={"user-agent": "Google"}, suppressed=41))
    assert text.index("The timestamp is 412 s old.") < text.index(
        "timestamp_out_of_tolerance</div>"
    )
    assert block(text, "Headers") == '{\n  "user-agent": "Google"\n}'
    assert "41" in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ">valid<"),
        ({"expires_at": clock.after(86_400)}, "valid until it expires"),
        ({"expires_at": clock.after(-86_400)}, "expired"),
        ({"revoked_at": clock.after(-86_400)}, "revoked"),
    ],
)
def test_an_endpoint_page_tells_which_secrets_are_valid(browser, values, words):
    at = rows.endpoint()
    SigningSecret.objects.update(**values)
    text = page(browser, at)
    assert words in text[text.index("gw-related") :]


def test_an_endpoint_page_leads_to_its_deliveries(browser):
    at = rows.endpoint()
    rows.delivery(1, endpoint=at)
    rows.delivery(2)
    address = re.search(r'href="([^"]*\?at=[^"]*)"', page(browser, at))[1]
    text = text_of(browser.get(html.unescape(address)))
    assert "evt_0001" in text
    assert "evt_0002" not in text


def test_an_endpoint_without_secrets_audiences_and_events_says_so(browser):
    at = rows.endpoint()
    SigningSecret.objects.all().delete()
    text = page(browser, at)
    assert "no static webhook is accepted here" in text
    assert "dynamic webhooks are refused here" in text


def test_a_job_page_leads_to_its_delivery_or_says_that_none_came(browser):
    came = rows.delivery()
    assert f'href="{page_url(came)}"' in page(browser, rows.job(1, delivery=came))
    assert "No event about it has come yet." in page(browser, rows.job(2))


def test_a_reconciled_delivery_has_no_endpoint(browser):
    came = rows.delivery(source=WebhookDelivery.Source.RECONCILER, signing="none")
    text = page(browser, came)
    assert re.search(r"Endpoint:</label>\s*<div class=\"readonly\">-</div>", text)
