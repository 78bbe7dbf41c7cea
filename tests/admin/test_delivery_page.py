"""“What happened to this job?”: one page answers it, and says what the user may not see."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gemini_webhooks import clock
from gemini_webhooks.admin import previews, story
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    Replay,
    ReplayedDelivery,
    ResultFile,
    WebhookDelivery,
)
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import list_url, page_url, text_of

pytestmark = pytest.mark.django_db

NEEDED = "You need the permission “Can see payloads, metadata and rows of results” to see it."
LINK = re.compile(r'<a href="([^"]+)"[^>]*>([^<]*)</a>')


@pytest.fixture
def without_payload(viewer):
    """The browser of somebody who may look at everything but payloads."""
    viewer.user_permissions.remove(Permission.objects.get(codename="view_payload"))
    return logged_in(viewer)


def page(browser, row):
    return html.unescape(text_of(browser.get(page_url(row))))


def section(text, heading):
    """What follows a heading of the second level, until the next one."""
    rest = re.split(rf"<h2[^>]*>{re.escape(heading)}</h2>", text, maxsplit=1)[1]
    return rest.partition("<h2")[0]


def lead(text):
    words = re.search(r'<p class="gw-lead"[^>]*>(.*?)</p>', text, re.DOTALL)[1]
    return " ".join(re.sub(r"<[^>]+>", " ", words).split())


def stored(of, content, **values):
    file = ContentFile(content, name="out.jsonl")
    return rows.result(of, file=file, size=len(content), rows=content.count(b"\n"), **values)


class Broken(FileSystemStorage):
    def _open(self, name, mode="rb"):
        raise ConnectionResetError("the bucket is on fire")


class Away(Storage):
    """A storage in a cloud, which has no paths of this machine."""

    def _open(self, name, mode="rb"):
        return ContentFile(b'{"key": "from afar"}\n')


# How it stands


@pytest.mark.parametrize(
    ("state", "runs", "words"),
    [
        ("processed", ["succeeded"], "processed Its receiver succeeded."),
        ("processed", ["succeeded"] * 3, "processed All 3 receivers succeeded."),
        ("processed", [], "processed No receiver has run."),
        ("failed", ["dead"], "failed r0 gave up: ValueError."),
        ("failed", ["dead", "succeeded"], "r0 gave up: ValueError. 1 of 2 receivers succeeded."),
        ("processing", ["succeeded", "pending"], "1 of 2 receivers succeeded. 1 receiver waits."),
        ("processing", ["running"] * 2, "0 of 2 receivers succeeded. 2 receivers run."),
        ("processing", ["retrying"], "processing 1 receiver waits."),
        ("received", [], "received It was stored 1 min 30 s ago and waits to be processed."),
        ("ignored", [], "ignored No receiver was connected when it was processed."),
        ("unreadable", [], "unreadable Receivers are not run for a body that is not JSON."),
    ],
)
def test_the_page_begins_with_how_it_stands(browser, state, runs, words):
    came = rows.delivery(state=state, received_at=clock.after(-90.5))
    for number, run in enumerate(runs):
        error = "ValueError" if run == "dead" else ""
        rows.run(came, receiver=f"r{number}", state=run, error_class=error)

    assert words in lead(page(browser, came))


@pytest.mark.parametrize(
    ("took", "words"),
    [
        (timedelta(seconds=0.25), "done 0.25 s after"),
        (timedelta(seconds=192), "done 3 min 12 s after"),
        (timedelta(hours=5, minutes=4, seconds=3), "done 5 h 4 min after"),
        (timedelta(days=2, hours=3, minutes=4), "done 2 d 3 h after"),
    ],
)
def test_the_page_says_how_long_it_took(browser, took, words):
    came = rows.delivery(settled_at=clock.now(), took=took)
    rows.run(came)

    assert words in lead(page(browser, came))


def test_what_is_told_at_first_is_true_for_who_may_not_see_runs(viewer):
    viewer.user_permissions.remove(Permission.objects.get(codename="view_receiverrun"))
    came = rows.delivery(settled_at=clock.now(), took=timedelta(seconds=1), state="failed")
    rows.run(came, state="dead", receiver="shop.out_of_sight")
    text = page(logged_in(viewer), came)

    assert lead(text) == "failed It was done 1.00 s after it was received."
    assert "out_of_sight" not in text


def test_how_it_came(browser):
    now = clock.now()
    came = rows.delivery(
        occurred_at=now - timedelta(seconds=4), received_at=now, duplicate_count=2, size=2048
    )
    text = section(page(browser, came), "How it came")

    assert "4.00 s after it happened" in text
    assert "Google, by a webhook" in text
    assert "2: it came so many times more" in text
    assert "2.0\xa0KB" in text


def test_how_it_came_if_nobody_sent_it(browser):
    text = page(browser, rows.delivery(source="reconciler", signing="none", key_hint=""))

    assert "this site: the reconciler found out" in text
    assert "Google did not say when." in text


# Receivers and attempts


def test_each_receiver_has_its_attempts_right_there(browser):
    came = rows.delivery()
    one, other = rows.run(came, receiver="first"), rows.run(came, receiver="second")
    failed = {
        "outcome": Attempt.Outcome.FAILED,
        "error_class": "KeyError",
        "traceback": "Traceback <module>",
    }
    rows.attempt(one, **failed)
    rows.attempt(one, number=2, trigger=Attempt.Trigger.REPLAY, actor="ada")
    rows.attempt(other)
    text = section(page(browser, came), "Receivers")
    first, second = text.split("<article")[1:]

    assert first.index("first") < first.index("#1") < first.index("KeyError") < first.index("#2")
    assert "<details><summary>KeyError</summary>" in first
    assert "Traceback <module>" in first
    assert "replay by ada" in first
    assert "took 1.50 s" in first
    assert "KeyError" not in second
    assert second.count("<li>") == 1


def test_receivers_say_what_they_wait_for(browser):
    came = rows.delivery(state="processing")
    rows.run(came, "of a result", state="pending", result=rows.result(came, state="fetching"))
    rows.run(came, "parked", state="pending", parked_at=clock.now(), lane="narrow")
    rows.run(came, "held", state="retrying", held_at=clock.now())
    rows.run(came, "later", state="retrying", next_attempt_at=clock.after(60))
    done = rows.run(came, "done", finished_at=clock.now())
    text = section(page(browser, came), "Receivers")

    assert "Next attempt: once its result file is complete" in text
    assert "Next attempt: once there is a place in its lane, “narrow”" in text
    assert "Next attempt: once it is let go: a pause holds it" in text
    assert text.count("Next attempt: ") == 4
    assert text.count("It has not been tried yet.") == 5
    assert f'href="{page_url(done)}"' in text


def test_of_many_attempts_the_newest_are_told(browser, monkeypatch):
    monkeypatch.setattr(story, "MOST_ATTEMPTS", 3)
    came = rows.delivery()
    handled, other = rows.run(came), rows.run(came, receiver="other")
    rows.attempt(other)
    for number in range(1, 6):
        rows.attempt(handled, number=number)
    text = section(page(browser, came), "Receivers")

    assert re.findall(r"#(\d)", text) == ["3", "4", "5"]
    assert "Only the newest attempts are shown" in text
    assert "It has not been tried yet." not in text


def test_attempts_are_for_who_may_see_attempts(viewer):
    viewer.user_permissions.remove(Permission.objects.get(codename="view_attempt"))
    came = rows.delivery()
    rows.attempt(rows.run(came), traceback="line 7")
    text = page(logged_in(viewer), came)

    assert "shop.receivers.store_rows" in text
    assert "line 7" not in text
    assert "It has not been tried yet." not in text


def test_the_page_takes_as_many_queries_whatever_there_is(browser):
    def queries():
        with CaptureQueriesContext(connection) as seen:
            page(browser, came)
        return [query["sql"] for query in seen]

    came = rows.delivery()
    rows.attempt(rows.run(came))
    stored(came, b'{"a": 1}\n')
    replayed(came)
    rows.job(1, delivery=came)
    rows.delivery(2, resource_id="batch-1")
    few = queries()
    for number in range(3, 30):
        handled = rows.run(came, receiver=f"receiver-{number}")
        rows.attempt(handled)
        rows.attempt(handled, number=2)
        stored(came, b'{"a": 1}\n', position=number)
        replayed(came)
        rows.delivery(number, resource_id="batch-1")

    assert len(queries()) == len(few) <= 20


# Results


def test_a_result_is_told_with_its_progress(browser):
    came = rows.delivery()
    rows.result(came, state="fetching", bytes_done=1024, size=4096)
    rows.result(came, position=1, state="fetching", bytes_done=1024)
    rows.result(came, position=2, state="failed", error="The bucket is not allowed.")
    text = section(page(browser, came), "Result files")

    assert text.count("<progress") == 1
    assert '<progress max="100" value="25"' in text
    assert "1.0\xa0KB of 4.0\xa0KB" in text
    assert "The bucket is not allowed." in text
    assert "row" not in text
    assert "download" not in text


def test_the_first_rows_are_shown_folded_and_in_order(browser):
    content = b"".join(
        json.dumps({"key": f"k{number}", "response": {"n": number}}).encode() + b"\n\n"
        for number in range(9)
    )
    result = stored(rows.delivery(), content)
    for row in (result, result.delivery):
        text = page(browser, row)
        assert re.findall(r"<summary>Row (\d) <code>(k\d)</code>", text) == [
            (str(number + 1), f"k{number}") for number in range(5)
        ]
        assert '{\n  "key": "k0",\n  "response": {\n    "n": 0\n  }\n}' in text
        assert "<details open" not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "It has no rows."),
        (b"\n\n", "It has no rows."),
        (b"not json\n", "It is not JSON."),
        (b"\xff\xfe\n", "It is not JSON."),
        (b"[" * 50_000 + b"\n", "It is not JSON."),
        (b'{"key": 7, "error": {"code": 3}}\n', ">failed</span>"),
        (b'"a row"\n', '"a row"'),
        (b'{"key": "<script>alert(1)</script>"}', "&lt;script&gt;"),
        (b'{"a": "\\ud800"}', r"\ud800"),
        (b'{"a": "' + b"x" * 70_000 + b'"}\n', "Its first row is too large to be shown here."),
        (b'{"a": 1}\n{"b": "' + b"x" * 70_000 + b'"}\n', '"a": 1'),
        (b'{"a": 1}', '"a": 1'),
    ],
    ids=range(12),
)
def test_rows_may_be_anything(anyone, content, words):
    result = stored(rows.delivery(), content)
    for row in (result, result.delivery):
        text = text_of(anyone.get(page_url(row)))
        assert words in text if "&" in words else words in html.unescape(text)
        assert "<script>alert" not in text
        assert len(text) < 300_000


def test_no_more_than_a_part_of_a_large_file_is_read(browser, monkeypatch):
    asked = []

    class Watched(ContentFile):
        def read(self, *size):
            asked.append(size)
            return super().read(*size)

    monkeypatch.setattr(FileSystemStorage, "_open", lambda *args: Watched(b'{"a": 1}\n' * 100_000))
    result = stored(rows.delivery(), b"")
    assert "Row 5" in page(browser, result)
    assert asked == [(65_536,)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "fetching"}, "Its rows can be seen once it is complete."),
        ({"state": "removed"}, "The file was removed."),
        ({"content_type": "video/mp4"}, "It is no text."),
        ({"file": ""}, "Its rows can be seen once it is complete."),
        ({"file": "never-stored.jsonl"}, "Its storage does not give it out now."),
        ({"file": "../../etc/passwd"}, "Its storage does not give it out now."),
    ],
)
def test_a_result_that_cannot_be_looked_into_says_why(browser, values, words):
    result = stored(rows.delivery(), b'{"a": 1}\n')
    ResultFile.objects.update(**values)

    assert words in page(browser, result)
    assert (words in page(browser, result.delivery)) == ("state" not in values)


@pytest.mark.parametrize(
    ("storage", "size", "words"),
    [
        ("Broken", 9, "Its storage does not give it out now."),
        ("Away", 9, "from afar"),
        ("Away", previews.LARGEST_AWAY + 1, "too large to be looked into where it is stored"),
        ("Away", None, "too large to be looked into where it is stored"),
    ],
)
def test_storages_of_all_kinds(browser, settings, storage, size, words):
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": f"tests.admin.test_delivery_page.{storage}"},
    }
    result = rows.result(rows.delivery(), file="out.jsonl", size=size, rows=1)

    assert words in page(browser, result)
    assert "on fire" not in page(browser, result.delivery)


def test_rows_are_redacted_before_they_are_shown(browser, settings):
    settings.GEMINI_WEBHOOKS = {"REDACT": {"rows": ["response.name"]}}
    result = stored(
        rows.delivery(), b'{"key": "k", "response": {"name": "Ada", "n": 7}}\n{"response": {}}\n'
    )
    for row in (result, result.delivery):
        text = page(browser, row)
        assert "Ada" not in text
        assert '"name": "[redacted]"' in text


@pytest.mark.parametrize(
    ("rule", "content", "words"),
    [
        ("no.such:function", b'{"a": "Ada"}\n', "Not shown: REDACT failed"),
        ("builtins:dict", b'["Ada"]\n', "Not shown: REDACT cannot look into it."),
        ("a", b"Ada\n", "It is not JSON."),
    ],
)
def test_rows_that_cannot_be_redacted_are_not_shown(browser, settings, rule, content, words):
    settings.GEMINI_WEBHOOKS = {"REDACT": {"rows": [rule]}}
    text = page(browser, stored(rows.delivery(), content))

    assert words in text
    assert "Ada" not in text


# Replays


def replayed(of, **values):
    replay = Replay.objects.create(
        **{"what": "failed", "actor": "ada", "reason": "the shop is up again", **values}
    )
    return ReplayedDelivery.objects.create(replay=replay, delivery=of, runs=1)


def test_replays_are_told_with_who_and_why(browser):
    came = rows.delivery()
    replayed(came)
    replayed(came, what="receivers", receivers=["shop.first", "shop.second"], reason="")
    skipped = replayed(came, actor="bob")
    ReplayedDelivery.objects.filter(pk=skipped.pk).update(problem="its body was removed", runs=0)
    newest, named, oldest = section(page(browser, came), "Replays").split("<li>")[1:]

    assert "bob had what failed run again" in newest
    assert "its body was removed" in newest
    assert "ada had shop.first, shop.second run again" in named
    assert "no reason given" in named
    assert "<q>the shop is up again</q>" in oldest
    assert "1 receiver" in oldest


def test_replays_are_for_who_may_see_replays(viewer):
    viewer.user_permissions.remove(Permission.objects.get(codename="view_replay"))
    came = rows.delivery()
    replayed(came)
    text = page(logged_in(viewer), came)

    assert "the shop is up again" not in text
    assert ">Replays</h2>" not in text


# The same job


def test_the_way_to_other_deliveries_and_the_ledger_and_back(browser):
    first = rows.delivery(1, resource_id="batches/abc")
    second = rows.delivery(2, resource_id="abc", event_type="batch.failed", state="failed")
    rows.delivery(3, resource_id="abcd")
    job = rows.job(resource_id="abc", name="batches/abc")
    text = section(page(browser, first), "About the same job")

    assert f'href="{page_url(second)}"' in text
    assert f'href="{page_url(job)}"' in text
    assert "batch.failed" in text
    for row, name in ((first, "Show them in the list"), (job, "Show the deliveries about this")):
        shown = text_of(browser.get(page_url(row)))
        address = next(url for url, words in LINK.findall(shown) if words.startswith(name))
        found = text_of(browser.get(html.unescape(address)))
        assert re.findall(r"webhookdelivery/(\d+)/change", found) == [str(second.pk), str(first.pk)]
        assert "2 deliveries" in found


def test_only_the_newest_of_many_deliveries_are_named(browser):
    came = [rows.delivery(number, resource_id="batch-1") for number in range(1, 9)]
    text = section(page(browser, came[0]), "About the same job")

    assert [int(pk) for pk in re.findall(r"webhookdelivery/(\d+)/change", text)] == [
        row.pk for row in came[:2:-1]
    ]
    assert "Show all deliveries about it" in text


def test_a_job_is_found_by_the_event_that_ended_it(browser):
    came = rows.delivery(resource_id="models/veo/operations/op1")
    named, ended = rows.job(resource_id="op1"), rows.job(resource_id="x", delivery=came)
    text = section(page(browser, came), "About the same job")

    assert f'href="{page_url(named)}"' in text
    assert f'href="{page_url(ended)}"' in text


def test_nothing_is_told_of_the_ledger_to_who_may_not_see_it(viewer):
    viewer.user_permissions.remove(Permission.objects.get(codename="view_job"))
    rows.job(1)
    text = section(page(logged_in(viewer), rows.delivery(1)), "About the same job")

    assert "ledger" not in text
    assert "In the ledger" not in text


def test_a_page_without_anything_says_so_everywhere(browser):
    text = page(browser, rows.delivery(resource_id="", event_type="", state="ignored"))

    for words in (
        "No receiver was connected when it was processed.",
        "The event announced no result file.",
        "It was not replayed.",
        "The event names no resource.",
        "No metadata came with the event.",
    ):
        assert words in text
    text = page(browser, rows.delivery(2))
    assert "The job is not in the ledger of this site." in text
    assert "This is the only delivery about it." in text


# Payloads


def of_all_kinds():
    came = rows.delivery(body=b'{"name": "Ada"}', user_metadata={"tenant": "Ada"})
    rows.run(came)
    result = stored(came, b'{"key": "Ada"}\n')
    return came, result, rows.job(1, user_metadata={"tenant": "Ada"}, delivery=came)


def test_payloads_are_shown_with_the_permission(viewer):
    for row in of_all_kinds():
        text = page(logged_in(viewer), row)
        assert "Ada" in text
        assert NEEDED not in text


def test_payloads_are_not_shown_without_the_permission(without_payload):
    came, result, job = of_all_kinds()
    for row, places in ((came, 3), (result, 3), (job, 1)):
        with CaptureQueriesContext(connection) as queries:
            text = page(without_payload, row)
        assert text.count(NEEDED) == places
        assert "Ada" not in text
        assert " download" not in text
        assert result.file.url not in text
        asked = " ".join(query["sql"] for query in queries)
        assert '"body"' not in asked
        assert "user_metadata" not in asked


def test_everything_else_is_shown_without_the_permission(without_payload):
    came, result, job = of_all_kinds()

    assert "gs://bucket/out.jsonl" in page(without_payload, came)
    assert "1 row" in page(without_payload, came)
    assert "batch-1" in page(without_payload, job)
    assert "gs://bucket/out.jsonl" in page(without_payload, result)


@pytest.mark.parametrize("words", ["Ada", "tenant=Ada", "=Ada"])
def test_metadata_cannot_be_guessed_by_searching(without_payload, viewer, words):
    came, *_ = of_all_kinds()
    address, query = list_url(WebhookDelivery), {"q": words}

    shown = text_of(without_payload.get(address, query))
    assert "0 deliveries" in shown
    assert "tenant=acme" not in shown
    viewer.user_permissions.add(Permission.objects.get(codename="view_payload"))
    shown = text_of(logged_in(viewer).get(address, query))
    assert f'href="{page_url(came)}' in shown
    assert "tenant=acme" in shown


@pytest.mark.parametrize("name", ["user_metadata__tenant", "user_metadata", "body__contains"])
def test_payloads_cannot_be_guessed_by_filters_of_the_address(without_payload, name):
    of_all_kinds()
    answer = without_payload.get(list_url(WebhookDelivery), {name: '"Ada"'})

    assert answer.status_code in (302, 400)
    for model in (ReceiverRun, Attempt, ResultFile):
        lookup = f"delivery__{name}" if model is not Attempt else f"run__delivery__{name}"
        assert without_payload.get(list_url(model), {lookup: '"Ada"'}).status_code in (302, 400)
