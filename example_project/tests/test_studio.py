"""The studio by its pages and its mail: what is asked for comes, to whoever asked for it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from django.core.files import File
from django.core.management import call_command
from django.http import FileResponse
from django.test import Client
from django.utils import timezone

from example_project.studio import films
from example_project.studio.models import Approval, BatchRow, Commission, Tenant
from gemini_webhooks import processing
from gemini_webhooks.emulator.scenarios import parse
from gemini_webhooks.models import Attempt, ReceiverRun, WebhookDelivery
from tests.senders import StaticSender, new_secret

pytestmark = pytest.mark.django_db(transaction=True)
State = Commission.State


def state(commission: Commission) -> str:
    commission.refresh_from_db()
    return commission.state


def replay_all() -> None:
    for webhook_id in WebhookDelivery.objects.values_list("webhook_id", flat=True):
        call_command("gemini_webhooks", "replay", webhook_id, stdout=io.StringIO())


def seen(commission: Commission, verdict: str) -> dict[str, str]:
    """What the form sends on a page that shows the calls of the newest interaction."""
    commission.refresh_from_db()
    return {"verdict": verdict, "interaction": commission.resource_id}


# What is asked for comes


def test_a_batch(place, work, page, listed):
    batch = place("batch", "one\n\n  two fail-row\nthree")
    work()

    assert state(batch) == State.SUCCEEDED
    rows = BatchRow.objects.order_by("key").values_list("key", "text", "tenant")
    assert list(rows) == [
        ("001", "Echo: one", "acme"),
        ("002", "", "acme"),
        ("003", "Echo: three", "acme"),
    ]
    for text in ("Echo: one", "Echo: three", "fail-row", "ada asked for a batch of 3 requests."):
        assert text in page(batch)
    assert "Batch of 3, 1 failed," in listed()


def test_an_interaction(place, work, page):
    asked = place("interaction", "A post about lighthouses")
    work()

    assert state(asked) == State.SUCCEEDED
    assert "Echo: A post about lighthouses" in page(asked)


def test_a_video_is_for_its_tenant_alone(place, work, page, ada, bo):
    video = place("video", "Waves")
    work()

    assert state(video) == State.SUCCEEDED
    film = f"/studio/acme/{video.pk}/film/"
    assert film in page(video)
    client = Client()
    client.force_login(ada)
    assert b"".join(client.get(film).streaming_content)[4:8] == b"ftyp"
    client.force_login(bo)
    assert client.get(film).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-1", 206, slice(0, 2)),  # as Safari begins
        ("bytes=4-", 206, slice(4, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=-99999999", 206, slice(None)),
        ("bytes=8-99999999", 206, slice(8, None)),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
        ("nonsense", 200, slice(None)),
        ("bytes=5-2", 200, slice(None)),
        ("bytes=0-" + "9" * 5000, 200, slice(None)),
        ("bytes=99999999-", 416, slice(0, 0)),
    ],
)
def test_a_part_of_a_video(place, work, ada, asked, status, part, monkeypatch):
    monkeypatch.setattr(FileResponse, "block_size", 3)
    video = place("video", "Waves")
    work()
    client = Client()
    client.force_login(ada)
    film = f"/studio/acme/{video.pk}/film/"
    first = client.get(film)
    whole = b"".join(first.streaming_content)
    assert first["Content-Length"] == str(len(whole))

    response = client.get(film, headers={"Range": asked, "If-Range": first["ETag"]})

    assert response.status_code == status
    body = b"".join(response) if status != 416 else response.content
    assert body == whole[part]
    assert response["Accept-Ranges"] == "bytes"
    if status == 206:
        start, stop, _ = part.indices(len(whole))
        assert response["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
        assert response["Content-Length"] == str(len(body))
        assert response["Content-Disposition"] == first["Content-Disposition"]
    if status == 416:
        assert response["Content-Range"] == f"bytes */{len(whole)}"
    other = client.get(film, headers={"Range": asked, "If-Range": '"another"'})
    assert b"".join(other) == whole


def test_a_video_that_the_storage_has_lost(place, work, ada):
    video = place("video", "Waves")
    work()
    video.refresh_from_db()
    video.result.file.storage.delete(video.result.file.name)
    client = Client()
    client.force_login(ada)

    assert client.get(f"/studio/acme/{video.pk}/film/").status_code == 404


@pytest.mark.parametrize("asked", ["", "bytes=2-", "bytes=99-"])
def test_a_video_that_nobody_waits_for_is_closed(rf, asked):
    file = File(io.BytesIO(b"a film"))
    films.send(rf.get("/", headers={"Range": asked}), file, name="a.mp4", version="1").close()

    assert file.closed


def test_an_event_that_is_faster_than_the_answer(place, work, monkeypatch):
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    start = google.start

    def slow(commission: Commission) -> str:
        resource_id = start(commission)
        work()
        return resource_id

    monkeypatch.setattr(google, "start", slow)
    batch = place("batch", "one")

    assert state(batch) == State.SUCCEEDED
    assert batch.resource_id


def test_an_event_that_comes_although_google_did_not_answer(place, work, monkeypatch):
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    start = google.start

    def timed_out(commission: Commission) -> str:
        start(commission)
        work()
        raise google.NotStarted("no answer")

    monkeypatch.setattr(google, "start", timed_out)
    batch = place("batch", "one")

    assert state(batch) == State.SUCCEEDED


def test_a_replay_that_fails_spoils_nothing(place, work, monkeypatch):
    asked = place("interaction", "one")
    work()
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    monkeypatch.setattr(google, "read_interaction", lambda _: 1 / 0)
    webhook_id = WebhookDelivery.objects.get().webhook_id
    call_command("gemini_webhooks", "replay", webhook_id, stdout=io.StringIO())
    work()

    assert state(asked) == State.SUCCEEDED


def test_a_replay_changes_nothing_that_a_person_sees(place, work, page):
    batch = place("batch", "one")
    work()
    before = Commission.objects.values().get()
    webhook_id = WebhookDelivery.objects.get().webhook_id
    call_command("gemini_webhooks", "replay", webhook_id, stdout=io.StringIO())
    work()

    assert Commission.objects.values().get() == before
    assert page(batch).count("Its result is here.") == 1


# Somebody has to say yes


def test_granted(place, work, page, ada, bo):
    asked = place("interaction", "need-action", may_publish="on")
    work()
    assert state(asked) == State.WAITING
    assert "The model wants to publish" in page(asked)

    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{asked.pk}/decide/", seen(asked, "grant"))
    work()

    assert state(asked) == State.SUCCEEDED
    assert "Echo: Published." in page(asked)
    approval = Approval.objects.get()
    assert (approval.verdict, approval.decided_by, approval.function) == ("granted", ada, "publish")
    published = client.get("/studio/acme/published/").content.decode()
    assert approval.arguments["text"] in published
    assert asked.get_absolute_url() in published
    client.force_login(bo)
    assert "Nothing yet." in client.get("/studio/globex/published/").content.decode()


def test_refused_by_the_first_of_two(place, work, page, ada):
    asked = place("interaction", "need-action", may_publish="on")
    work()
    client = Client()
    client.force_login(ada)
    decide = f"/studio/acme/{asked.pk}/decide/"

    client.post(decide, seen(asked, "refuse"))
    late = client.post(decide, seen(asked, "grant"), follow=True)
    work()

    assert "It has been decided already" in late.content.decode()
    assert Approval.objects.get().verdict == "refused"
    assert state(asked) == State.SUCCEEDED
    assert "A person has refused this." in page(asked)
    assert "publishing refused" in client.get("/studio/acme/").content.decode()
    assert "Nothing yet." in client.get("/studio/acme/published/").content.decode()


def test_an_answer_that_google_does_not_take_can_be_given_again(place, work, ada, monkeypatch):
    asked = place("interaction", "need-action", may_publish="on")
    work()
    client = Client()
    client.force_login(ada)
    decide = f"/studio/acme/{asked.pk}/decide/"
    with monkeypatch.context() as broken:
        broken.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
        answer = client.post(decide, seen(asked, "grant"), follow=True).content.decode()

    assert "did not take the answer" in answer
    assert state(asked) == State.WAITING
    assert "Send the answer again" in answer
    assert "Refuse" not in answer
    assert "granted by ada" in client.get("/studio/acme/published/").content.decode()
    client.post(decide, seen(asked, "refuse"))
    client.post(decide, seen(asked, "again"))
    work()
    assert state(asked) == State.SUCCEEDED
    assert Approval.objects.get().verdict == "granted"


def test_an_answer_that_google_took_without_saying_so(place, work, page, ada, monkeypatch):
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    asked = place("interaction", "need-action", may_publish="on")
    work()
    go_on = google.go_on

    def timed_out(*args):
        go_on(*args)
        raise google.NotStarted("no answer")

    monkeypatch.setattr(google, "go_on", timed_out)
    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{asked.pk}/decide/", seen(asked, "grant"))
    work()

    assert state(asked) == State.SUCCEEDED
    assert "Granted by ada" in page(asked)
    assert "Send the answer again" not in page(asked)
    assert "granted by ada" in client.get("/studio/acme/published/").content.decode()


def test_who_was_interrupted_while_answering_can_be_helped(place, work, page, ada, monkeypatch):
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    asked = place("interaction", "need-action", may_publish="on")
    work()
    client = Client(raise_request_exception=False)
    client.force_login(ada)
    decide = f"/studio/acme/{asked.pk}/decide/"
    with monkeypatch.context() as broken:
        broken.setattr(google, "go_on", lambda *_: 1 / 0)
        assert client.post(decide, seen(asked, "grant")).status_code == 500
    client.post(decide, seen(asked, "again"))
    assert state(asked) == State.SUBMITTING

    Commission.objects.update(changed_at=timezone.now() - timedelta(minutes=5))
    assert "Send the answer again" in page(asked)
    assert "Submit it again" not in page(asked)
    client.post(decide, seen(asked, "again"))
    work()
    assert state(asked) == State.SUCCEEDED


def test_nothing_is_answered_before_somebody_has_decided(place, work, ada):
    asked = place("interaction", "need-action", may_publish="on")
    work()
    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{asked.pk}/decide/", seen(asked, "again"))

    assert state(asked) == State.WAITING
    assert Approval.objects.get().verdict == "open"


def test_a_refusal_is_forgotten_when_a_later_one_is_granted(place, work, acme, ada):
    asked = place("interaction", "need-action", may_publish="on")
    work()
    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{asked.pk}/decide/", seen(asked, "refuse"))
    work()
    Approval.objects.create(
        commission=asked, interaction_id="later", call_id="1", function="publish",
        verdict="granted", decided_by=ada, decided_at=timezone.now(),
    )  # fmt: skip

    assert "publishing refused" not in client.get("/studio/acme/").content.decode()


def test_the_request_for_approval_coming_again_asks_nobody_twice(place, work, ada):
    asked = place("interaction", "need-action", may_publish="on")
    work()
    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{asked.pk}/decide/", seen(asked, "grant"))
    work()
    first = WebhookDelivery.objects.get(event_type="interaction.requires_action")
    call_command("gemini_webhooks", "replay", first.webhook_id, stdout=io.StringIO())
    work()

    assert Approval.objects.count() == 1
    assert state(asked) == State.SUCCEEDED


def test_what_was_not_seen_is_not_granted(place, work, ada):
    asked = place("interaction", "need-action", may_publish="on")
    work()
    stale = seen(asked, "grant") | {"interaction": "an-earlier-one"}
    client = Client()
    client.force_login(ada)
    late = client.post(f"/studio/acme/{asked.pk}/decide/", stale, follow=True)

    assert "It has been decided already" in late.content.decode()
    assert state(asked) == State.WAITING
    assert Approval.objects.get().verdict == "open"


class Chat(BaseHTTPRequestHandler):
    """A chat channel's incoming webhook."""

    lines: list[str] = []
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.lines.append(json.loads(body)["text"])
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def chat(settings: Any) -> Iterator[type[Chat]]:
    handler = type("Channel", (Chat,), {"lines": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    settings.STUDIO_CHAT_SECRET_URL = f"http://127.0.0.1:{server.server_port}/services/s3cret"
    yield handler
    server.shutdown()
    server.server_close()


def test_the_chat_is_told_once(place, work, site, chat):
    asked = place("interaction", "need-action", may_publish="on")
    work()

    replay_all()
    work()

    [line] = chat.lines
    assert line == f"“need-action” waits for your approval: {site}{asked.get_absolute_url()}"
    assert state(asked) == State.WAITING


def test_a_prompt_gives_the_chat_no_orders(place, work, chat):
    orders = "<!channel> <http://evil.example|here> @all [approve](http://evil.example)"
    place("interaction", f"need-action {orders}", may_publish="on")
    work()

    [line] = chat.lines
    assert "‹!channel›" in line
    assert not set("<>@[]") & set(line)


def test_a_chat_that_was_down_is_not_told_of_what_is_decided_by_now(place, work, chat, ada):
    chat.status = 500
    asked = place("interaction", "need-action", may_publish="on")
    work()
    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{asked.pk}/decide/", seen(asked, "grant"))
    work()
    chat.status = 200
    chat.lines.clear()
    replay_all()
    work()

    assert chat.lines == []


def test_a_chat_that_refuses_stops_nothing_and_its_address_stays_a_secret(place, work, chat):
    chat.status = 500
    asked = place("interaction", "need-action", may_publish="on")
    work()

    assert state(asked) == State.WAITING
    run = ReceiverRun.objects.get(receiver__endswith="tell_the_chat")
    assert run.state == "dead"
    assert run.last_error.endswith("NotTold: The chat channel answered 500.")
    assert not Attempt.objects.filter(traceback__contains="s3cret").exists()


# What goes wrong


def test_a_batch_that_fails_is_tried_again_and_on_call_knows(place, work, page, mailoutbox):
    batch = place("batch", "fail-job")
    work()

    assert state(batch) == State.FAILED
    assert batch.tries == 3
    assert sorted(mail.subject for mail in mailoutbox) == [
        f"[studio] Acme: a batch failed, try {number} of 3" for number in (1, 2, 3)
    ]
    last = next(mail for mail in mailoutbox if "try 3" in mail.subject)
    assert "It is given up." in last.body
    assert batch.get_absolute_url() in last.body
    assert "Submit it again" in page(batch)


def test_on_call_is_told_of_a_failure_once_and_who_wanted_it(place, work, ada, mailoutbox):
    batch = place("batch", "fail-job")
    work()
    replay_all()
    work()
    assert len(mailoutbox) == 3
    assert (state(batch), batch.tries) == (State.FAILED, 3)

    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{batch.pk}/again/")
    work()
    assert [mail.subject for mail in mailoutbox[3:]] == [
        "[studio] Acme: a batch failed, try 4, by hand"
    ]


def test_on_call_is_told_of_each_job_that_failed(place, work, mailoutbox, monkeypatch):
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    start, calls = google.start, []

    def times_out_once(commission: Commission) -> str:
        calls.append(resource_id := start(commission))
        if len(calls) == 2:
            raise google.NotStarted("no answer")
        return resource_id

    monkeypatch.setattr(google, "start", times_out_once)
    monkeypatch.setattr("example_project.studio.receivers.LEAST_PAUSE_SECONDS", 0)
    place("batch", "fail-job")
    work()

    assert len(calls) == 4
    assert all(any(job in mail.body for mail in mailoutbox) for job in calls)


@pytest.mark.parametrize(
    "google",
    [{"scenario": parse({"jobs": [{"times": 1, "outcome": "fail", "error": {"code": 8}}]})}],
    indirect=True,
)
def test_a_batch_that_fails_once_is_mended_by_the_policy(place, work, mailoutbox):
    batch = place("batch", "one")
    work()

    assert state(batch) == State.SUCCEEDED
    assert (batch.tries, batch.error) == (2, "")
    assert [mail.subject[-10:] for mail in mailoutbox] == ["try 1 of 3"]


@pytest.mark.parametrize(
    "google",
    [{"scenario": parse({"jobs": [{"outcome": "fail", "error": {"code": 3, "message": "No."}}]})}],
    indirect=True,
)
def test_what_would_fail_again_is_not_tried_again(place, work, page, mailoutbox):
    batch = place("batch", "one")
    work()

    assert state(batch) == State.FAILED
    assert batch.tries == 1
    assert len(mailoutbox) == 1
    assert "No." in page(batch)


def test_the_policy_waits_without_occupying_a_worker(place, work, settings):
    settings.STUDIO_RETRY_SECONDS = 3600
    batch = place("batch", "fail-job")
    work()

    assert state(batch) == State.RETRYING
    run = ReceiverRun.objects.get(receiver__endswith="try_again")
    assert run.state == "retrying"
    assert 3500 < (run.next_attempt_at - run.delivery.received_at).total_seconds() < 3700


def test_a_retry_that_google_does_not_take_is_put_off(place, work, monkeypatch):
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    batch = place("batch", "fail-job")

    def refused(_: Commission) -> str:
        raise google.NotStarted("too many requests")

    monkeypatch.setattr(google, "start", refused)
    work()

    assert state(batch) == State.RETRYING
    assert batch.tries == 1
    assert ReceiverRun.objects.get(receiver__endswith="try_again").state == "retrying"


@pytest.mark.parametrize(
    "google", [{"scenario": parse({"jobs": [{"times": 1, "outcome": "fail"}]})}], indirect=True
)
def test_a_retry_whose_worker_breaks_off_is_submitted_by_the_next(place, work, monkeypatch):
    from example_project.studio import google  # noqa: PLC0415  # beside the fixture of that name

    batch = place("batch", "one")
    start, calls = google.start, []

    def breaks_off_once(commission: Commission) -> str:
        calls.append(commission.tries)
        if len(calls) == 1:
            raise RuntimeError("the worker is gone")
        return start(commission)

    monkeypatch.setattr(google, "start", breaks_off_once)
    work()

    assert (state(batch), batch.tries, calls) == (State.SUCCEEDED, 2, [2, 2])


def test_an_interaction_that_fails_is_left_to_people(place, work, ada, mailoutbox):
    asked = place("interaction", "fail-job")
    work()
    assert state(asked) == State.FAILED
    assert mailoutbox == []

    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{asked.pk}/again/")
    work()
    assert (state(asked), asked.tries) == (State.FAILED, 2)


def test_what_google_does_not_take_says_so_and_can_be_asked_for_again(
    place, work, page, ada, monkeypatch
):
    with monkeypatch.context() as broken:
        broken.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
        asked = {kind: place(kind, "one") for kind in ("batch", "interaction", "video")}
    client = Client()
    client.force_login(ada)

    for commission in asked.values():
        assert state(commission) == State.FAILED
        assert "The Gemini API did not take it" in page(commission)
        client.post(f"/studio/acme/{commission.pk}/again/")
    work()

    assert {state(commission) for commission in asked.values()} == {State.SUCCEEDED}


def test_a_result_that_cannot_be_had_is_no_success(place, work, page, settings):
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "ALLOWED_BUCKETS": []}
    batch = place("batch", "one")
    work()

    assert state(batch) == State.FAILED
    assert "could not keep what came of it" in page(batch)


# Tenants


def test_nobody_sees_what_is_another_tenant_s(place, work, ada, bo, acme, globex):
    batch = place("batch", "one")
    work()
    client = Client()
    client.force_login(bo)

    own = batch.get_absolute_url()
    acmes = (own, f"{own}story/", "/studio/acme/", "/studio/acme/list/", "/studio/acme/published/")
    for path in acmes:
        assert client.get(path).status_code == 404
    for path in (f"{own}decide/", f"{own}again/", "/studio/acme/new/batch/"):
        assert client.post(path, {"prompt": "mine"}).status_code == 404
    assert client.get(f"/studio/globex/{batch.pk}/").status_code == 404
    assert Commission.objects.count() == 1


def test_metadata_without_a_seal_is_not_believed(place, work, site, settings, client):
    settings.STUDIO_RETRY_SECONDS = 3600
    batch = place("batch", "take-9s")
    secret = new_secret()
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "SIGNING_SECRETS": [secret]}
    sender = StaticSender(secret=secret)
    for event in ("batch.failed", "batch.succeeded", "interaction.completed"):
        answer = sender.post(sender.envelope(event, user_metadata=batch.metadata))
        assert answer.status_code == 200
    processing.drain()  # and not `work`, which waits for the batch

    assert state(batch) == State.RUNNING


def test_a_tenant_with_a_queue_of_its_own(place, work, settings):
    settings.STUDIO_QUEUES = ["acme"]
    place("interaction", "one")
    work()

    assert set(ReceiverRun.objects.values_list("queue", flat=True)) == {"acme"}


def test_who_belongs_to_nobody_is_told_so(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("eve"))

    answer = client.get("/", follow=True).content.decode()

    assert "Nobody has made you a member of a tenant." in answer


# Pages


def test_who_was_interrupted_while_submitting_can_be_helped(acme, ada, work, google):
    stuck = Commission.objects.create(tenant=acme, kind="batch", prompt="one")
    client = Client()
    client.force_login(ada)
    client.post(f"/studio/acme/{stuck.pk}/again/")
    assert state(stuck) == State.SUBMITTING

    Commission.objects.update(changed_at=timezone.now() - timedelta(minutes=5))
    assert "Submit it again" in client.get(stuck.get_absolute_url()).content.decode()
    client.post(f"/studio/acme/{stuck.pk}/again/")
    work()
    assert state(stuck) == State.SUCCEEDED


@pytest.mark.parametrize(
    ("kind", "prompt", "said"),
    [
        ("batch", "  ", "Say what you would like to have."),
        ("batch", "a\n" * 501, "501 requests; 500 are the most."),
        ("video", "a" * 20_001, "No more than 20,000 characters"),
    ],
)
def test_what_makes_no_sense_is_not_submitted(client, ada, kind, prompt, said):
    client.force_login(ada)

    answer = client.post(f"/studio/acme/new/{kind}/", {"prompt": prompt})

    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Commission.objects.exists()


def test_what_there_is_not(client, ada, acme):
    client.force_login(ada)

    assert client.post("/studio/acme/new/song/", {"prompt": "one"}).status_code == 404
    assert client.get("/studio/acme/7/").status_code == 404
    assert client.get("/studio/acme/new/batch/").status_code == 405


def test_an_open_page_is_told_only_what_is_new(client, place, work, ada):
    place("batch", "one")
    client.force_login(ada)
    shown = client.get("/studio/acme/").context["version"]
    assert client.get("/studio/acme/list/", {"seen": shown}).status_code == 204

    work()

    answer = client.get("/studio/acme/list/", {"seen": shown})
    assert answer.status_code == 200
    assert "one: done" in answer.content.decode()


def test_an_open_page_whose_session_has_ended_logs_in_as_a_whole(client, acme):
    answer = client.get("/studio/acme/list/", headers={"HX-Request": "true"})

    assert (answer.status_code, answer.headers["HX-Refresh"]) == (200, "true")
    assert answer.content == b""


# Setting up


def test_the_command_can_be_run_again(client):
    def run(*arguments: str) -> dict[str, str | None]:
        out = io.StringIO()
        call_command("studio", "--json", *arguments, stdout=out)
        return json.loads(out.getvalue())["passwords"]

    first = run()
    assert set(first) == {"root", "ada", "bo"}
    assert client.login(username="ada", password=first["ada"])
    assert run() == {"root": None, "ada": None, "bo": None}
    anew = run("--new-passwords")
    assert client.login(username="bo", password=anew["bo"])
    assert not client.login(username="bo", password=first["bo"])
    assert [str(tenant) for tenant in Tenant.objects.filter(members__username="root")] == [
        "Acme",
        "Globex",
    ]


def test_the_command_says_what_to_do():
    out = io.StringIO()
    call_command("studio", stdout=out)

    assert "Log in to the studio as" in out.getvalue()
    assert "sees acme" in out.getvalue()
