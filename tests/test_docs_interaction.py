"""The recipe for a function call, on the page “From polling to webhooks”, against the emulator."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import call_command

from gemini_webhooks import gateway, processing, receivers
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.events import Event
from gemini_webhooks.models import Job, WebhookDelivery
from tests.test_docs import python_of, run_example, with_extras

pytestmark = [with_extras, pytest.mark.django_db(transaction=True)]

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def server(
    settings: Any, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatorServer]:
    settings.GEMINI_WEBHOOKS = {"PUBLIC_BASE_URL": live_server.url}
    with EmulatorServer(job_seconds=0) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GEMINI_API_KEY", "emulator")
        yield server
    gateway._client.cache_clear()
    gc.collect()


def test_a_function_call(server: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    genai = pytest.importorskip("google.genai")
    weather = Mock(return_value="sunny")
    functions: Any = ModuleType("reports.functions")
    functions.TOOLS, functions.FUNCTIONS = [WEATHER], {"weather": weather}
    monkeypatch.setitem(sys.modules, "reports", ModuleType("reports"))
    monkeypatch.setitem(sys.modules, "reports.functions", functions)
    [recipe] = [code for code in python_of("polling") if "previous_interaction_id" in code]
    run_example(recipe)
    completed: list[Event] = []

    @receivers.on("interaction.completed")
    def note(event: Event, **_: Any) -> None:
        completed.append(event)

    call_command("gemini_webhooks", "create", "reports", stdout=io.StringIO())
    client = genai.Client()
    first = client.interactions.create(
        model="gemini-2.5-flash", input="need-action", tools=[WEATHER], background=True
    )
    assert server.emulator.outbox.wait_idle(20)
    processing.drain()
    assert server.emulator.outbox.wait_idle(20)
    processing.drain()

    weather.assert_called_once_with(city="example")
    [event] = completed
    answer = client.interactions.get(event.resource_id)
    assert answer.previous_interaction_id == first.id
    assert answer.output_text == "Echo: sunny"
    assert Job.objects.get().resource_id == event.resource_id
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}
