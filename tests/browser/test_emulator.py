"""The emulator's own page: live, by keyboard, without a script, and with guests who mean harm."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from gemini_webhooks.emulator import EmulatorServer
from tests.browser.person import Person
from tests.emulator.conftest import Receiver

SCRIPT = "<script>document.title = 'broken'</script><img src=x onerror=alert(1)>"


#: What the page does each second.
POLL = """async () => {
  while (polling) await new Promise((resolve) => setTimeout(resolve, 5));
  await poll();
}"""
SETTLED = """async () => {
  while (document.querySelector(".busy")) await new Promise((resolve) => setTimeout(resolve, 5));
}"""
TROUBLE = "trouble.hidden ? '' : trouble.textContent"


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(job_seconds=0, output="inline") as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def visit(chromium, server) -> Iterator:
    people: list[Person] = []

    def open_page(**more) -> Person:
        people.append(Person(chromium, server.url, {}, **more))
        assert people[-1].open("/") == 200
        return people[-1]

    yield open_page
    for person in people:
        person.close()
    assert [trouble for person in people for trouble in person.troubles] == []


def submit(server: EmulatorServer, **job) -> None:
    post(server, "interactions", {"model": "m", "background": True, **job})


def post(server: EmulatorServer, path: str, given: dict) -> None:
    body = json.dumps(given).encode()
    request = urllib.request.Request(f"{server.url}/v1/{path}", body, {"x-goog-api-key": "any"})
    with urllib.request.urlopen(request) as answer:
        answer.read()


def test_a_newcomer_sees_a_job_end_and_its_event_arrive(visit, server, receiver):
    person = visit()
    person.look("emulator-empty")

    person.fill("Prompt", "Tell me of Ada")
    person.fill("Webhook of this job", receiver.url)
    person.key("Enter")
    person.sees("Tell me of Ada", "succeeded", "batch.succeeded", "HTTP 200")

    [got] = receiver.got
    button = f"Send {got.headers['webhook-id']} again"
    person.evaluates("document.querySelector('#messages details').open = true")
    person.sees('"type": "batch.succeeded"', "webhook-signature")
    receiver.statuses = [503]
    person.tab_to(button)
    person.key("Enter")
    person.sees("2 tries", "HTTP 503")

    # Neither what was opened nor where one was is lost.
    assert person.evaluates("document.querySelector('#messages details').open")
    assert person.evaluates("document.activeElement.getAttribute('aria-label')") == button
    person.look("emulator-full")


def test_what_others_do_is_seen_at_once_and_is_only_text(visit, server, receiver):
    person = visit()
    submit(
        server,
        input=SCRIPT,
        webhook_config={"uris": [receiver.url], "user_metadata": {"a": SCRIPT}},
    )
    person.sees("interaction.completed", "document.title")
    person.evaluates("document.querySelector('#messages details').open = true")
    person.sees('"user_metadata"')
    assert person.evaluates("document.title") == "Gemini API emulator"


def test_a_refusal_is_said(visit, server):
    person = visit()
    person.evaluates("document.getElementById('switches').open = true")
    person.fill("lost", "much")
    person.key("Enter")
    person.sees("lost must be a number.")
    person.expects("400")

    # It outlives what the page does by itself.
    person.evaluates(POLL)
    assert person.evaluates(TROUBLE) == "lost must be a number."
    person.tamper("window.network = fetch; void (window.fetch = () => Promise.reject())")
    person.evaluates(POLL)
    person.sees("The emulator does not answer any more.")
    person.tamper("void (window.fetch = window.network)")
    person.evaluates(POLL)
    assert person.evaluates(TROUBLE) == "lost must be a number."

    person.fill("lost", "0.5")
    person.key("Enter")
    person.evaluates(SETTLED)
    assert person.evaluates(TROUBLE) == ""
    assert server.emulator.switches.now.lost == 0.5


def test_a_hint_stays_until_a_webhook_is_registered(visit, server, receiver):
    person = visit()
    person.fill("Prompt", "Tell nobody")
    person.key("Enter")
    person.sees("Tell nobody", "nobody was told", "No webhook is registered, so")

    hook = {"uri": receiver.url, "subscribed_events": ["batch.succeeded"]}
    post(server, "webhooks", hook)
    person.evaluates(POLL)
    person.sees(receiver.url)
    assert person.evaluates("unregistered.hidden")


def test_it_works_without_a_script(visit, server, receiver):
    person = visit(javascript=False)
    person.fill("Webhook of this job", receiver.url)
    person.press("Start")
    assert server.emulator.outbox.wait_idle()
    assert person.open("/emulator/") == 200
    person.sees("batch.succeeded")
    [got] = receiver.got
    person.press(f"Send {got.headers['webhook-id']} again")
    assert server.emulator.outbox.wait_idle()
    assert len(receiver.got) == 2
