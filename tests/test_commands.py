"""``manage.py gemini_webhooks``: what scripts and operators see of it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gemini_webhooks import RetryLater, gateway, signals
from gemini_webhooks.exceptions import GatewayError
from gemini_webhooks.models import Attempt, ReceiverRun, WebhookDelivery, WebhookEndpoint
from tests.senders import StaticSender
from tests.test_receivers import Recorder

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("gemini_webhooks", *words, stdout=out)
    return out.getvalue()


def test_endpoints_without_any_says_how_to_make_one() -> None:
    assert "create SLUG" in run("endpoints")
    assert json.loads(run("endpoints", "--json")) == []


def test_endpoints() -> None:
    WebhookEndpoint.objects.create(slug="acme", uri="https://site.example/acme/")

    assert "acme  enabled  https://site.example/acme/" in run("endpoints")
    [row] = json.loads(run("endpoints", "--json"))
    assert (row["slug"], row["state"]) == ("acme", "enabled")


def test_drain_and_replay(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post(webhook_id="m")

    assert json.loads(run("drain", "--json")) == {"deliveries": 1, "runs": 1, "results": 0}
    assert json.loads(run("drain", "--json")) == {"deliveries": 0, "runs": 0, "results": 0}
    assert run("replay", "m", "--actor", "ada").splitlines() == ["replayed: m", "runs: 1"]
    run("drain")

    assert len(recorder.calls) == 2
    assert Attempt.objects.get(number=2).actor == "ada"


def test_drain_stops_at_its_limit(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    for number in range(3):
        static.post(webhook_id=f"m{number}")

    run("drain", "--limit", "4")

    assert len(recorder.calls) == 1
    assert ReceiverRun.objects.filter(state="pending").count() == 2


def test_drain_ends_although_a_receiver_always_wants_another_turn(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(*[RetryLater(0)] * 100))
    static.post()

    run("drain")

    assert len(recorder.calls) == 1


def test_sweep_hands_on_everything_that_is_open(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post()

    counts = json.loads(run("sweep", "--json"))

    assert counts == {"delivery": 1, "run": 0, "result": 0, "replay": 0, "settled": 0}
    assert recorder.calls == []
    assert WebhookDelivery.objects.get().state == "received"


def test_unknown_names_are_errors_that_say_so() -> None:
    with pytest.raises(CommandError, match="no delivery with the webhook id m"):
        run("replay", "m")
    with pytest.raises(CommandError, match="no endpoint “acme”"):
        run("ping", "acme")


SUBCOMMANDS_WITH_TEXT = [
    ["create", "{}"],
    ["create", "acme", "--name", "{}"],
    ["create", "acme", "--uri", "{}"],
    ["create", "acme", "--event", "{}"],
    ["update", "{}"],
    ["rotate", "{}"],
    ["revoke", "acme", "{}"],
    ["delete", "{}"],
    ["sync", "--api-key", "{}"],
    ["ping", "{}"],
    ["replay", "{}"],
    ["replay", "m", "--actor", "{}"],
    ["reconcile", "--api-key", "{}"],
    ["erase", "--resource", "{}"],
    ["erase", "--metadata", "tenant={}"],
    ["erase", "--resource", "b1", "--actor", "{}"],
    ["doctor", "--endpoint", "{}"],
]


@pytest.mark.parametrize("words", SUBCOMMANDS_WITH_TEXT, ids=" ".join)
@pytest.mark.parametrize("text", ["\udce9t\udce9", "a\x00b"])
def test_text_that_is_none_is_refused_in_words(words: list[str], text: str) -> None:
    with pytest.raises(CommandError, match=r"\\(udce9t|x00b).* is not valid text\.") as caught:
        run(*(word.format(text) for word in words))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "words",
    [
        *(["sweep", "--limit", limit] for limit in ("-1", "0", "1.5", "9" * 30)),
        *([name, "--limit", "-1"] for name in ("drain", "prune", "reconcile")),
        *(["reconcile", "--hours", hours] for hours in ("nan", "inf", "-1", "1e300")),
        *(["doctor", "--timeout", seconds] for seconds in ("nan", "inf", "-1", "soon")),
    ],
    ids=" ".join,
)
def test_numbers_out_of_range_are_refused(words: list[str]) -> None:
    with pytest.raises(CommandError, match=r"is no (whole )?number from \d to 1000000"):
        run(*words)


def test_errors_of_google_are_shown(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise GatewayError("API key not valid", status=400)

    monkeypatch.setattr(gateway, "create_webhook", refuse)
    monkeypatch.setattr(gateway, "ping_webhook", refuse)
    WebhookEndpoint.objects.create(slug="acme", remote_id="wh_1")
    WebhookEndpoint.objects.create(slug="local")

    with pytest.raises(CommandError, match="API key not valid"):
        run("create", "bolt")
    with pytest.raises(CommandError, match="API key not valid"):
        run("ping", "acme")
    with pytest.raises(CommandError, match="not registered at Google"):
        run("ping", "local")
