"""``replay``, ``replays`` and ``stop-replay``: what operators and scripts see of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import BaseCommand

from gemini_webhooks import clock, processing, receivers, replay
from gemini_webhooks.deliveries import Selection
from gemini_webhooks.management.subcommands import replaying
from gemini_webhooks.models import ReceiverRun, Replay, WebhookDelivery
from tests.admin import rows

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("gemini_webhooks", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def told(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def pause_by(act: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Act where the command would sleep; other threads go on sleeping."""
    monkeypatch.setattr(replaying, "time", SimpleNamespace(sleep=act))


@pytest.fixture
def seen() -> list[str]:
    """Ids of the events that the receiver ``store`` was told of."""
    heard: list[str] = []
    receivers.on("batch.succeeded", name="store")(lambda event, **_: heard.append(event.id))
    return heard


@pytest.fixture
def failed(seen: list[str]) -> list[WebhookDelivery]:
    """Three deliveries: two with a receiver that gave up, one that is fine."""
    at = rows.endpoint("orders")
    found = [
        rows.delivery(1, state="failed", endpoint=at, user_metadata={"tenant": "acme"}),
        rows.delivery(2, state="failed", user_metadata={"tenant": "bolt"}),
        rows.delivery(3, event_type="video.generated"),
    ]
    rows.run(found[0], "store", state="dead", error_class="KeyError", attempts=8)
    rows.run(found[1], "store", state="dead", error_class="OSError", attempts=8)
    return found


# One ------------------------------------------------------------------------------------------


def test_what_failed_of_one(failed: list[WebhookDelivery], seen: list[str]) -> None:
    rows.run(failed[0], "other")
    said = run("replay", "evt_0001", "--failed", "--actor", "ada", "--reason", "mended")

    assert said.splitlines() == ["replayed: evt_0001", "runs: 1"]
    noted = Replay.objects.get()
    assert (noted.what, noted.actor, noted.reason) == ("failed", "ada", "mended")
    processing.drain()
    assert seen == ["evt_0001"]


def test_the_result_of_one(failed: list[WebhookDelivery]) -> None:
    result = rows.result(failed[0], state="failed", attempts=8)

    assert told("replay", "evt_0001", "--results") == {"replayed": "evt_0001", "runs": 0}
    result.refresh_from_db()
    assert (result.state, result.attempts) == ("pending", 0)


def test_the_login_name_is_the_actor(
    failed: list[WebhookDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    run("replay", "evt_0001", "--receiver", "store")
    assert (Replay.objects.get().actor, Replay.objects.get().receivers) == ("bob", ["store"])


# Many -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--state", "failed"], ["evt_0001", "evt_0002"]),
        (["--state", "failed", "--state", "processed"], ["evt_0001", "evt_0002", "evt_0003"]),
        (["--type", "video.generated"], ["evt_0003"]),
        (["--endpoint", "orders"], ["evt_0001"]),
        (["--root"], ["evt_0002", "evt_0003"]),
        (["--metadata", "tenant=bolt"], ["evt_0002"]),
        (["--failed-receiver", "store", "--error-class", "KeyError"], ["evt_0001"]),
        (["--error-class", "OSError"], ["evt_0002"]),
        (["--since", "2026-01-01T00:00Z", "--until", "2999-01-01"], ["evt_0001", "evt_0002",
            "evt_0003"]),
        (["--until", "2026-01-01"], []),
        (["--all"], ["evt_0001", "evt_0002", "evt_0003"]),
        (["--all", "--failed"], ["evt_0001", "evt_0002"]),
    ],
    ids=lambda one: " ".join(one) if one and one[0].startswith("--") else "",
)  # fmt: skip
def test_filters_find_what_they_say(
    failed: list[WebhookDelivery], words: list[str], names: list[str]
) -> None:
    found = told("replay", *words, "--dry-run")

    assert sorted(found["sample"]) == names
    assert (found["deliveries"], found["at_least"], found["dry_run"]) == (len(names), False, True)
    assert not Replay.objects.exists()


def test_a_dry_run_is_read_by_people_too(
    failed: list[WebhookDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    WebhookDelivery.objects.filter(webhook_id="evt_0002").update(body=None, emptied_at=clock.now())
    lines = run("replay", "--state", "failed", "--dry-run").splitlines()
    assert lines[:3] == ["dry_run: True", "deliveries: 2", "without_body: 1"]
    assert lines[5] == "sample: evt_0002, evt_0001"

    monkeypatch.setattr(replay, "CEILING", 1)
    assert "deliveries: at least 1" in run("replay", "--state", "failed", "--dry-run")
    nothing = run("replay", "--state", "ignored", "--dry-run").splitlines()
    assert nothing == ["dry_run: True", "deliveries: 0", "without_body: 0", "sample: "]


def test_many_are_replayed(failed: list[WebhookDelivery], seen: list[str]) -> None:
    said = told(
        "replay", "--state", "failed", "--failed", "--rate", "600", "--yes",
        "--actor", "ada", "--reason", "mended",
    )  # fmt: skip

    begun = Replay.objects.get()
    assert said == {"replay": begun.pk, "deliveries": 2}
    assert (begun.what, begun.rate, begun.actor, begun.reason) == ("failed", 600, "ada", "mended")
    assert begun.selection == {"states": ["failed"]}
    processing.drain()
    assert seen == ["evt_0001", "evt_0002"]


def test_some_receivers_of_many(failed: list[WebhookDelivery], seen: list[str]) -> None:
    rows.run(failed[0], "other")
    run("replay", "--state", "failed", "--receiver", "store", "--yes")
    processing.drain()
    assert seen == ["evt_0001", "evt_0002"]
    assert not ReceiverRun.objects.filter(receiver="other", is_replay=True).exists()


def test_it_asks_and_the_number_is_the_answer(
    failed: list[WebhookDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers = ["3", "2"]

    def answer(question: str) -> str:
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr("builtins.input", answer)
    with pytest.raises(CommandError, match="Nothing was replayed"):
        run("replay", "--state", "failed")
    assert not Replay.objects.exists()
    run("replay", "--state", "failed")
    assert Replay.objects.get().total == 2
    assert asked == ["Replay 2 deliveries? Receivers run again. Type 2 to go on: "] * 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "Name a delivery, or say which ones are meant"),
        (["--failed"], "Name a delivery, or say which ones are meant"),
        (["evt_0001", "--state", "failed"], "--state does not go with a webhook id"),
        (["evt_0001", "--since", ""], "--since does not go with a webhook id"),
        (["evt_0001", "--dry-run"], "--dry-run does not go with a webhook id"),
        (["evt_0001", "--rate", "5"], "--rate does not go with a webhook id"),
        (["evt_0009"], "There is no delivery with the webhook id evt_0009"),
        ([""], "There is no delivery with the webhook id"),
        (["--all", "--state", "failed"], "--all means every delivery"),
        (["--all", "--receiver", "a", "--failed"], "--receiver goes with neither"),
        (["--all", "--failed", "--results"], "not allowed with"),
        (["--root", "--endpoint", "orders"], "not allowed with"),
        (["--endpoint", "nowhere"], "There is no endpoint “nowhere”"),
        (["--endpoint", ""], "There is no endpoint “”"),
        (["--state", "broken"], "invalid choice"),
        (["--since", "soon"], "no ISO 8601 time"),
        (["--since", "", "--state", "failed"], "no ISO 8601 time"),
        (["--since", "2026-01-02", "--until", "2026-01-01"], "until is later than since"),
        (["--metadata", "acme"], "a path and a value"),
        (["--metadata", "ids[*]=7"], "is not the path of one value"),
        (["--metadata", "=7"], "metadata"),
        (["--failed-receiver", ""], "are names, or left out"),
        (["--type", "x" * 256], "at most 255"),
        (["--state", "ignored", "--yes"], "There is no such delivery"),
        (["--all", "--rate", "0"], "no whole number"),
        (["--all", "--yes", "--rate", "100001"], "from 1 to 100000 per minute"),
        (["--metadata", "tenant=\udce9"], "is not valid text"),
    ],
    ids=lambda one: (
        " ".join(one).encode("ascii", "replace").decode()[:40] if isinstance(one, list) else ""
    ),
)
def test_what_makes_no_sense_is_refused(
    failed: list[WebhookDelivery], words: list[str], why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        run("replay", *words)
    assert not Replay.objects.exists()


def test_it_waits_and_says_how_far_it_is(
    failed: list[WebhookDelivery], seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing.replaying, "STEP_SIZE", 1)
    work = iter([True, False, True, True])

    def sleep(_: float) -> None:
        if next(work):
            processing.advance(Replay.objects.get().pk)

    pause_by(sleep, monkeypatch)
    err = io.StringIO()
    call_command(
        "gemini_webhooks", "replay", "--state", "failed", "--yes", "--wait",
        stdout=(out := io.StringIO()), stderr=err,
    )  # fmt: skip

    lines = err.getvalue().splitlines()
    assert "goes on if this is interrupted" in lines[0]
    assert lines[1:] == [
        "running: 0 of 2, 0 skipped",
        "running: 1 of 2, 0 skipped",
        "running: 2 of 2, 0 skipped",
        "finished: 2 of 2, 0 skipped",
    ]
    assert "state: finished" in out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_how_far_it_is_is_not_said_in_the_red_of_errors(
    failed: list[WebhookDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    pause_by(lambda _: processing.drain(), monkeypatch)
    terminal = Terminal()
    command = load_command_class("gemini_webhooks", "gemini_webhooks")
    command.stderr = BaseCommand(stderr=terminal, force_color=True).stderr
    command.stderr.write("an error")
    call_command(command, "replay", "--state", "failed", "--yes", "--wait", stdout=io.StringIO())

    error, *lines = terminal.getvalue().splitlines()
    assert error.startswith("\x1b[")
    assert lines[-1] == "finished: 2 of 2, 0 skipped"


def test_waiting_for_one_that_is_stopped_is_no_success(
    failed: list[WebhookDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    pause_by(lambda _: replay.stop(Replay.objects.get(), actor="eve"), monkeypatch)
    with pytest.raises(SystemExit) as ended:
        run("replay", "--state", "failed", "--yes", "--wait")
    assert ended.value.code == 1


# Watching and stopping ------------------------------------------------------------------------


def test_replays_are_listed(failed: list[WebhookDelivery]) -> None:
    assert run("replays") == "There are no replays.\n"
    assert told("replays") == []
    first = replay.start(Selection(states=("failed",)), actor="ada", reason="mended")
    processing.drain()
    second = replay.start(Selection(endpoint=""), what="results", rate=5, actor="bob")

    newest, oldest = run("replays").splitlines()
    assert newest.startswith(f"{second.pk}  running  0 of 2 (0 skipped)  results  ")
    assert oldest.startswith(f"{first.pk}  finished  2 of 2 (0 skipped)  everything  ")
    assert oldest.endswith("  ada: mended")
    assert [one["replay"] for one in told("replays", "--running")] == [second.pk]
    [one] = told("replays", "--limit", "1")
    assert (one["rate"], one["selection"], one["ended"]) == (5, {"endpoint": ""}, "")


def test_a_replay_is_stopped(failed: list[WebhookDelivery], seen: list[str]) -> None:
    begun = replay.start(Selection(states=("failed",)), actor="ada")

    assert told("stop-replay", str(begun.pk), "--actor", "eve") == {
        "stopped": begun.pk, "replayed": 0, "skipped": 0,
    }  # fmt: skip
    processing.drain()
    assert seen == []
    begun.refresh_from_db()
    assert (begun.state, begun.stopped_by) == ("stopped", "eve")
    with pytest.raises(CommandError, match="had ended before"):
        run("stop-replay", str(begun.pk))


@pytest.mark.parametrize("number", ["0", "-1", "x", "٣", "9" * 19, "9" * 40])
def test_a_number_that_is_none(number: str) -> None:
    with pytest.raises(CommandError, match=r"is no number of a replay|required|unrecognized"):
        run("stop-replay", number)


def test_a_replay_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="There is no replay 4711"):
        run("stop-replay", "4711")
