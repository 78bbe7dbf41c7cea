"""The emulator's own page, over HTTP; tests/browser/test_emulator.py looks at it."""

import json
import re
import time
from urllib.parse import urlencode

import pytest
from django.test import Client, override_settings

from gemini_webhooks.emulator.messages import Message, Posted
from gemini_webhooks.emulator.outbox import KEPT_MESSAGES
from gemini_webhooks.emulator.registered import Webhook
from tests.emulator.conftest import KEY, MODEL, Wire

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def look(wire):
    def get(path="/emulator/"):
        status, headers, body = wire.get(path)
        assert status == 200, body
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in headers["content-security-policy"]
        return body.decode()

    return get


@pytest.fixture
def press(wire):
    """Post a form as the page does; returns the status and what a refusal says."""

    def post(action, form=(), **headers):
        own = {"Origin": wire.server.url, "Sec-Fetch-Site": "same-origin"}
        body = urlencode(dict(form)).encode()
        status, _, answer = wire.post(f"/emulator/page/do/{action}", body, **own | headers)
        return status, answer["error"]["message"] if status != 303 else ""

    return post


def interaction(wire, text="hello", **config):
    given = {"model": MODEL, "input": text, "background": True}
    body = {**given, "webhook_config": config or None}
    return wire.post("/v1/interactions", body, key=KEY)[2]["id"]


def key_in(page):
    return re.search(r"message\?part=1&amp;key=(\w+)", page)[1]


def settled(wire):
    assert wire.server.emulator.outbox.wait_idle()


def wait_for(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# What it shows


def test_the_root_leads_to_the_page(wire):
    for path in ("/", "/emulator"):
        status, headers, _ = wire.get(path)
        assert (status, headers["location"]) == (302, "emulator/")


def test_it_says_what_to_set_and_what_can_be_done(look, server):
    page = look()
    site = f"export GEMINI_WEBHOOKS_EMULATOR={server.url}</pre>"
    assert page.index(site) < page.index("export GOOGLE_GEMINI_BASE_URL=")
    for text in (
        "while <code>DEBUG</code> is on",
        f"export GOOGLE_GEMINI_BASE_URL={server.url}",
        "gemini_webhooks create default",
        "client.batches.create(",
        "fail-job",
        'name="wrong_signature" value="0.0"',
        "<option selected>503</option>",
    ):
        assert text in page


def test_it_says_that_a_key_is_to_be_set(serve):
    page = Wire(serve(api_key=KEY)).get("/emulator/")[2].decode()
    assert page.count("export GEMINI_API_KEY=YOUR_KEY") == 2
    assert KEY not in page


@pytest.mark.parametrize(
    ("prompt", "will", "did"),
    [
        ("", "will succeed after 900 s", "succeeded after"),
        ("fail-job", "will fail after 900 s", "failed after"),
        ("cancel-job", "will be cancelled after 900 s", "cancelled after"),
        ("need-action", "will require action after 900 s", "required action after"),
    ],
)
def test_it_says_how_a_job_will_end_and_how_it_ended(look, press, server, prompt, will, did):
    press("start", {"kind": "interaction", "prompt": f"take-900s {prompt}"})
    assert will in look()
    [job] = server.emulator.interactions
    press("finish", {"id": job.id})
    page = look()
    assert f"{did} " in page
    assert "900 s ·" not in page


def test_a_job_that_is_cancelled_did_not_end_as_planned(look, press, server):
    press("start", {"kind": "batch", "prompt": "take-900s expire-job"})
    assert "will expire after 900 s" in look()
    [job] = server.emulator.batches
    press("cancel", {"id": job.id})
    assert "cancelled after" in look()


def test_it_says_why_nobody_will_be_told(look, press, wire, receiver):
    hint = 'id="unregistered"'
    press("start", {"kind": "batch", "prompt": "take-900s"})
    assert "to nobody: no webhook is registered<" in look()
    assert f"{hint}>" in look()

    hook = {"uri": receiver.url, "subscribed_events": ["batch.failed"]}
    name = wire.post("/v1/webhooks", hook, key=KEY)[2]["id"]
    assert "to nobody: no enabled webhook is subscribed to batch.succeeded<" in look()
    assert f"{hint} hidden>" in look()

    press("disable", {"id": name})
    assert "to nobody: no webhook is enabled<" in look()

    press("start", {"kind": "batch", "prompt": "take-900s fail-job"})
    press("enable", {"id": name})
    assert look().count("to registered webhooks<") == 1

    for job in list(wire.server.emulator.batches):
        press("finish", {"id": job.id})
    assert look().count("nobody was told<") == 1
    assert look().count("to registered webhooks<") == 1


def test_of_a_video_that_fails_there_is_no_event(look, press):
    uri = "http://127.0.0.1:9/"
    press("start", {"kind": "video", "prompt": "take-900s fail-job", "uri": uri})
    assert "there is no event for that" in look()


def test_of_jobs_whose_events_are_forgotten_it_says_nothing_wrong(look, wire, server):
    interaction(wire)
    settled(wire)
    assert "nobody was told" in look()
    message = Message(webhook_id="msg_1", recipient="x", event_type="x", body=b"{}")
    server.emulator.outbox.restore([Posted(message=message, state="delivered")] * KEPT_MESSAGES)
    assert "nobody was told" not in look()


def test_it_shows_jobs_events_and_each_try(look, wire, receiver):
    receiver.statuses = [503]
    job = interaction(wire, "Tell me of Ada", uris=[receiver.url], user_metadata={"tenant": "acme"})
    settled(wire)
    page = look()
    tries = look(f"/emulator/page/message?key={key_in(page)}")

    assert f'id="job-{job}"' in page
    assert "Tell me of Ada" in page
    assert ">succeeded<" in page
    assert ">delivered<" in page
    assert "2 tries" in page
    assert receiver.url in page
    assert "&quot;tenant&quot;: &quot;acme&quot;" in tries
    assert "HTTP 503" in tries
    assert "HTTP 200" in tries
    assert "webhook-timestamp" in tries


def test_no_secret_and_no_whole_token_is_shown(look, wire, receiver):
    hook = {"uri": receiver.url, "subscribed_events": ["interaction.completed"]}
    secret = wire.post("/v1/webhooks", hook, key=KEY)[2]["new_signing_secret"]
    interaction(wire)
    interaction(wire, uris=[receiver.url])
    settled(wire)
    page = look()
    shown = page + "".join(
        look(f"/emulator/page/message?key={key}")
        for key in re.findall(r"message\?part=1&amp;key=(\w+)", page)
    )

    assert len(receiver.got) == 2
    assert receiver.url in shown
    assert secret.removeprefix("whsec_") not in shown
    token = max((got.headers["webhook-signature"] for got in receiver.got), key=len)
    assert token.count(".") == 2
    assert token not in shown
    assert token[:40] in shown


def test_whatever_comes_is_text_in_it(look, wire, receiver):
    receiver.url += f"&{SCRIPT}"
    wire.post(
        "/v1/webhooks",
        {"uri": receiver.url, "name": SCRIPT, "subscribed_events": ["batch.failed"]},
        key=KEY,
    )
    interaction(wire, SCRIPT, uris=[receiver.url], user_metadata={SCRIPT: SCRIPT})
    settled(wire)
    page = look()
    for shown in (page, look(f"/emulator/page/message?key={key_in(page)}")):
        assert SCRIPT not in shown
        assert "&lt;script&gt;" in shown


def test_bodies_that_are_no_json_are_shown_as_they_are(look, wire, receiver):
    webhook = Webhook(name="", uri=receiver.url, subscribed_events=[])
    for number, body in enumerate([b"\x00\xff{", b'{"a": "\\ud800"}', b"[" * 5000, b"x" * 99_999]):
        message = Message(webhook_id=f"msg_{number}", recipient=webhook, event_type="x", body=body)
        wire.server.emulator.outbox.post(message)
    settled(wire)
    for key in set(re.findall(r"message\?part=1&amp;key=(\w+)", look())):
        shown = look(f"/emulator/page/message?key={key}&part=1")
        assert "HTTP 200" in shown
        assert "\0" not in shown


def test_it_shows_the_newest_and_says_so(look, wire, server):
    for number in range(202):
        interaction(wire, f"prompt-{number}.", uris=["http://127.0.0.1:9/"])
    page = look()

    assert "2 older jobs are not shown" in page
    assert "prompt-201." in page
    assert "prompt-1." not in page
    assert page.count('class="job"') == 200


def test_two_thousand_events_are_no_burden(look, wire, server):
    messages = (
        Message(
            webhook_id=f"msg_{number}", recipient="http://127.0.0.1:9/", event_type="x", body=b"{}"
        )
        for number in range(2000)
    )
    server.emulator.outbox.restore(
        Posted(message=message, state="delivered") for message in messages
    )
    began = time.perf_counter()
    page = look()

    assert "1800 older events are not shown" in page
    assert time.perf_counter() - began < 2


def test_the_script_is_told_only_of_changes(wire, receiver):
    seen = re.search(r'data-seen="([^"]+)"', wire.get("/emulator/")[2].decode())[1]
    assert wire.get(f"/emulator/page/live?since={seen}")[0] == 204

    job = interaction(wire)
    status, _, part = wire.get(f"/emulator/page/live?since={seen}")
    assert (status, job in part.decode()) == (200, True)


def test_faults_are_for_the_api_not_for_the_page(look, wire, server):
    server.emulator.faults.fail_next(status=503)
    look()
    assert wire.get("/v1/batches", key=KEY)[0] == 503


@pytest.mark.parametrize("name", ["page.css", "page.js", "icon.svg"])
def test_its_files_are_served_with_their_types(wire, name):
    status, headers, _ = wire.get(f"/emulator/page/static/{name}")
    assert status == 200
    assert headers["content-type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["static/..%2Fviews.py", "static/none", "message?key=none"])
def test_what_is_not_there_is_not_found(wire, path):
    assert wire.get(f"/emulator/page/{path}")[0] == 404


# What its buttons do


@pytest.mark.parametrize(
    ("kind", "event_type"),
    [
        ("batch", "batch.succeeded"),
        ("interaction", "interaction.completed"),
        ("video", "video.generated"),
    ],
)
def test_a_job_is_started(press, wire, receiver, kind, event_type):
    assert press("start", {"kind": kind, "prompt": "hi", "uri": receiver.url}) == (303, "")
    settled(wire)
    [got] = receiver.got
    assert json.loads(got.body)["type"] == event_type


def test_a_job_is_started_for_the_registered_webhooks(press, wire, receiver):
    hook = {"uri": receiver.url, "subscribed_events": ["batch.failed"]}
    wire.post("/v1/webhooks", hook, key=KEY)
    assert press("start", {"kind": "batch", "prompt": "fail-job", "uri": ""}) == (303, "")
    settled(wire)
    assert [json.loads(got.body)["type"] for got in receiver.got] == ["batch.failed"]


def test_an_interaction_that_is_started_can_call_a_function(press, wire, receiver):
    form = {"kind": "interaction", "prompt": "need-action what now", "uri": receiver.url}
    assert press("start", form) == (303, "")
    settled(wire)
    event = json.loads(receiver.got[0].body)
    assert event["type"] == "interaction.requires_action"
    [call] = wire.get(f"/v1/interactions/{event['data']['id']}", key=KEY)[2]["steps"]
    assert (call["name"], call["arguments"]) == ("get_weather", {"city": "Paris"})


def test_an_event_is_sent_again(press, look, wire, receiver):
    interaction(wire, uris=[receiver.url])
    settled(wire)
    assert press("resend", {"key": key_in(look())}) == (303, "")
    settled(wire)
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_running_jobs_are_cancelled_or_ended_as_planned(press, wire, receiver):
    for action in ("cancel", "finish"):
        job = interaction(wire, "take-900s", uris=[receiver.url])
        assert press(action, {"id": job}) == (303, "")
        assert press(action, {"id": job}) == (303, "")
    settled(wire)
    types = [json.loads(got.body)["type"] for got in receiver.got]
    assert sorted(types) == ["interaction.cancelled", "interaction.completed"]


def test_switches_are_set_and_what_was_lost_is_sent(press, look, wire, receiver):
    assert press("switches", {"lost": "1", "jwks_outage_kind": "garbage"}) == (303, "")
    interaction(wire, uris=[receiver.url])
    settled(wire)
    page = look()
    assert 'name="lost" value="1.0"' in page
    assert "<option selected>garbage</option>" in page
    assert "Lost on purpose: 1" in page

    assert press("send-lost") == (303, "")
    wait_for(lambda: receiver.got)


def test_a_webhook_is_switched_off_and_on(press, wire):
    hook = {"uri": "http://127.0.0.1:9/", "subscribed_events": ["batch.failed"]}
    name = wire.post("/v1/webhooks", hook, key=KEY)[2]["id"]
    for action, state in (("disable", "disabled"), ("enable", "enabled")):
        assert press(action, {"id": name}) == (303, "")
        assert wire.get(f"/v1/webhooks/{name}", key=KEY)[2]["state"] == state


@pytest.mark.parametrize(
    ("action", "form", "status", "complaint"),
    [
        ("start", {"kind": "song"}, 400, "A job is one of"),
        ("start", {"kind": "batch", "uri": "ftp://x"}, 400, "http or https"),
        ("switches", {"lost": "2"}, 400, "lost must be a share"),
        ("switches", {"lost": "much"}, 400, "lost must be a number"),
        ("switches", {"api_key": "x"}, 400, "is no switch"),
        ("cancel", {"id": "none"}, 404, "The job"),
        ("resend", {"key": "none"}, 404, "The event"),
        ("enable", {"id": "none"}, 404, "Webhook 'none'"),
        ("explode", {}, 404, "The action"),
    ],
)
def test_what_makes_no_sense_is_refused(press, action, form, status, complaint):
    got, message = press(action, form)
    assert got == status
    assert complaint in message


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://rebound.example", "Host": "rebound.example"},
    ],
)
def test_other_pages_cannot_press_a_button(press, wire, headers):
    status, message = press("start", {"kind": "batch"}, **headers)
    assert status == 403
    assert "Another web page" in message
    assert len(wire.server.emulator.batches) == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/interactions", {"model": MODEL, "input": "hello"}),
        ("/v1/webhooks", {"uri": "http://127.0.0.1:9/", "subscribed_events": ["batch.failed"]}),
        ("/emulator/switches", {"lost": 1}),
        ("/emulator/sign", {"webhook_id": "msg_1", "audience": "a", "body": "{}"}),
    ],
)
def test_other_pages_cannot_use_the_api(wire, path, body):
    """A browser sends text anywhere without asking, and the key may be in the address."""
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    status, _, answer = wire.post(f"{path}?key={KEY}", body, **headers)
    assert status == 403
    assert "Another web page" in answer["error"]["message"]
    assert wire.post(f"{path}?key={KEY}", body)[0] == 200


def test_a_form_of_thousands_of_fields_is_refused(press):
    status, message = press("start", {f"field{number}": "" for number in range(2000)})
    assert (status, message) == (400, "The form has too many fields.")


def test_buttons_are_not_pressed_by_looking(wire):
    assert wire.get("/emulator/page/do/send-lost")[0] == 405


# In a site


@override_settings(ROOT_URLCONF="tests.emulator.urls_with_emulator")
def test_a_site_can_have_the_page_below_a_prefix():
    client = Client(enforce_csrf_checks=True)
    assert client.get("/gemini/").headers["Location"] == "emulator/"
    page = client.get("/gemini/emulator/")
    assert "GOOGLE_GEMINI_BASE_URL=http://localhost/gemini\n" in page.content.decode()
    assert client.get("/gemini/emulator/page/static/page.js").status_code == 200

    form = "/gemini/emulator/page/do/start", b"kind=song", "application/x-www-form-urlencoded"
    assert client.post(*form).status_code == 400
    assert client.post(*form, headers={"Origin": "https://evil.example"}).status_code == 403
    rebound = {"Origin": "http://rebound.example", "Host": "rebound.example"}
    assert client.post(*form, headers=rebound).status_code == 400  # as ALLOWED_HOSTS says


def test_browsers_find_an_icon(wire):
    assert wire.get("/favicon.ico")[1]["content-type"] == "image/svg+xml"
