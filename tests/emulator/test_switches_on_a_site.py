"""A site that runs this app gets through all that the emulator does wrong on purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gemini_webhooks import gateway, jobs, processing, registration, signals
from gemini_webhooks.emulator import EmulatorServer
from gemini_webhooks.models import WebhookDelivery
from tests.conftest import every_database
from tests.emulator.conftest import KEY, Wire
from tests.emulator.delivering import idle

pytest.importorskip("google.genai", reason="needs the extra [genai]")

POISON = 7
TROUBLE = {
    "duplicates": 0.5,
    "reorder": 0.5,
    "reorder_seconds": 0.1,
    "late": 0.3,
    "late_seconds": 0.1,
    "wrong_signature": 0.4,
    "clock_skew": -20,
    "rotate_keys": 0.5,
}


@pytest.fixture
def start(settings: Any, live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    servers: list[EmulatorServer] = []

    def run(**options: Any) -> Wire:
        server = EmulatorServer(output="inline", job_seconds=0, retry_base=0.02, **options)
        servers.append(server.__enter__())
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": live_server.url,
            "AUDIENCES": [f"{live_server.url}/webhooks/gemini/"],
            "JWKS_URL": f"{server.url}/.well-known/jwks.json",
            "API_KEYS": {"default": KEY},
        }
        return Wire(server)

    yield run
    for server in servers:
        server.__exit__()
    gateway._client.cache_clear()


def ask(wire: Wire, **config: Any) -> str:
    job = {"model": "m", "input": "a", "background": True, **config}
    status, _, made = wire.post("/v1/interactions", job, key=KEY)
    assert status == 200, made
    return str(made["id"])


def last_statuses(wire: Wire) -> set[int | None]:
    return {message.tries[-1].status for message in wire.server.emulator.outbox.messages}


class Seen:
    """A receiver that counts how often it was run for each job."""

    def __init__(self) -> None:
        self.jobs: Counter[str] = Counter()
        signals.interaction_completed.connect(self)

    def __call__(self, event: Any, **_: Any) -> None:
        self.jobs[event.resource_id] += 1


@every_database
def test_poison_is_stored_and_harms_nobody(database: str, start: Any) -> None:
    seen = Seen()
    wire = start(poison=1)
    registration.create("acme")
    asked = [ask(wire) for _ in range(POISON)]
    idle(wire)
    processing.drain()

    assert last_statuses(wire) == {200}
    assert seen.jobs == Counter(asked)
    types = Counter(WebhookDelivery.objects.values_list("event_type", flat=True))
    assert types["interaction.completed"] == POISON
    assert types.total() == 2 * POISON


@pytest.mark.django_db(transaction=True)
def test_sealed_poison_is_stored_too(start: Any) -> None:
    seen = Seen()
    wire = start(poison=1)
    asked = [ask(wire, webhook_config=jobs.webhook_config({"n": n})) for n in range(3)]
    idle(wire)
    processing.drain()

    assert last_statuses(wire) == {200}
    assert seen.jobs == Counter(asked)
    assert WebhookDelivery.objects.count() == 6


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_every_event_is_handled_once_whatever_goes_wrong(start: Any, mode: str) -> None:
    seen = Seen()
    wire = start(**TROUBLE)
    registration.create("acme")
    config = {} if mode == "static" else {"webhook_config": jobs.webhook_config({"n": 1})}
    asked = [ask(wire, **config) for _ in range(8)]
    idle(wire)
    processing.drain()

    assert {message.state for message in wire.server.emulator.outbox.messages} == {"delivered"}
    assert seen.jobs == Counter(asked)
