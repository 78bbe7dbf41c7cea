"""``pauses``, ``pause`` and ``resume``: what scripts and operators see of them."""

from __future__ import annotations

import io
import json
import re
import shlex
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from gemini_webhooks import clock, dispatch, doctor, pausing, receivers
from gemini_webhooks.doctor import examination
from gemini_webhooks.models import Pause, WebhookEndpoint
from tests.senders import StaticSender
from tests.test_docs import BLOCKS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publish", lambda handoffs: True)


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("gemini_webhooks", *words, stdout=out)
    return out.getvalue()


def test_nothing_is_paused() -> None:
    assert run("pauses") == "Nothing is paused.\n"
    assert json.loads(run("pauses", "--json")) == []


def test_way_of_a_pause_is_as_the_documentation_shows_it(static: StaticSender) -> None:
    receivers.on("batch.failed", name="reports.receivers.nightly")(lambda **_: None)
    [block] = [
        block.text
        for block in BLOCKS
        if block.page == "operations" and "gemini_webhooks pauses" in block.text
    ]
    pause, pauses, resume = re.findall(
        r"^\$ python manage.py gemini_webhooks (.*)$", block, re.MULTILINE
    )

    printed = run(*shlex.split(pause), "--actor", "ada")
    for number in range(120):
        static.post(static.envelope("batch.failed"), webhook_id=f"m{number}")
    run("drain")
    printed += run(*shlex.split(pauses)) + run(*shlex.split(resume))

    def alike(text: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", "TIME", text)

    shown = re.sub(r"^\$.*\n", "", block, flags=re.MULTILINE)
    assert alike(printed) == alike(shown)
    assert "letting go, 60 per minute: 60 so far, 60 held" in run("pauses")
    run("resume", "--receiver", "reports.receivers.nightly")
    assert run("pauses") == "Nothing is paused.\n"


def test_endpoint_and_root() -> None:
    WebhookEndpoint.objects.create(slug="acme", name="Acme & Co")
    for which in (["--endpoint", "acme"], ["--root"]):
        run("pause", *which, "--actor", "ada")
    [endpoint, root] = json.loads(run("pauses", "--json"))

    assert (endpoint["kind"], endpoint["name"], endpoint["held"]) == ("endpoint", "acme", 0)
    assert (root["kind"], root["name"], root["state"]) == ("root", "root endpoint", "paused")
    assert (root["paused_by"], root["reason"], root["resumed_at"]) == ("ada", "", None)
    assert json.loads(run("resume", "--root", "--rate", "5", "--json")) == {
        "resumed": "root endpoint",
        "let_go": 0,
        "held": 0,
    }
    assert run("resume", "--endpoint", "acme", "--actor", "bob").startswith("resumed: acme\n")
    assert Pause.objects.get(kind="endpoint").resumed_by == "bob"


def test_state_of_one_that_is_letting_go(static: StaticSender) -> None:
    receivers.on("batch.failed", name="note")(lambda **_: None)
    run("pause", "--receiver", "note")
    for number in range(2):
        static.post(static.envelope("batch.failed"), webhook_id=f"m{number}")
    run("drain")
    run("resume", "--receiver", "note", "--rate", "1", "--actor", "bob")

    [going] = json.loads(run("pauses", "--json"))
    assert (going["state"], going["rate"], going["resumed_by"]) == ("letting go", 1, "bob")
    assert (going["let_go"], going["held"]) == (1, 1)
    assert going["resumed_at"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["pause", "--receiver", "nobody"], "No receiver “nobody” has ever run"),
        (["pause", "--endpoint", "nowhere"], "There is no endpoint “nowhere”"),
        (["resume", "--endpoint", "nowhere"], "There is no endpoint “nowhere”"),
        (["resume", "--receiver", "nobody"], "“nobody” is not paused"),
        (["resume", "--root"], "“root endpoint” is not paused"),
        (["pause"], "one of the arguments --receiver --endpoint --root is required"),
        (["pause", "--root", "--endpoint", "a"], "not allowed with"),
        (["resume", "--root", "--rate", "0"], "is no whole number from 1 to 1000000"),
        (["pause", "--receiver", "\udce9"], "is not valid text"),
        (["pause", "--root", "--reason", "a\x00"], "is not valid text"),
        (["resume", "--receiver", "a\x00"], "is not valid text"),
    ],
)
def test_what_cannot_be_is_told(words: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        run(*words)


def test_paused_twice_and_unknown() -> None:
    run("pause", "--receiver", "nobody", "--unknown-ok")
    with pytest.raises(CommandError, match="“nobody” is paused already, since"):
        run("pause", "--receiver", "nobody", "--unknown-ok")


# The doctor


def findings() -> list[doctor.Finding]:
    return [finding for finding in doctor.examine(doctor.Scope()) if finding.name == "paused"]


def test_doctor_tells_what_is_paused(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The others go out into the network.
    alone = {name: examination.CHECKS[name] for name in ("backlog", "paused")}
    monkeypatch.setattr(examination, "CHECKS", alone)
    assert findings() == []
    WebhookEndpoint.objects.create(slug="acme")
    run("pause", "--endpoint", "acme", "--actor", "ada")
    run("pause", "--receiver", "a b", "--unknown-ok")
    run("pause", "--root")

    found = findings()
    assert [finding.status for finding in found] == ["warning"] * 3
    assert re.fullmatch(
        r"“acme” is paused since .* UTC, by ada: 0 run\(s\) are held\.", found[0].message
    )
    assert [finding.hint.partition(" lets")[0] for finding in found] == [
        "`manage.py gemini_webhooks resume --endpoint acme`",
        "`manage.py gemini_webhooks resume --receiver 'a b'`",
        "`manage.py gemini_webhooks resume --root`",
    ]

    Pause.objects.filter(kind="root").update(resumed_at=clock.now())
    [*_, going] = findings()
    assert (going.status, going.message) == (
        "ok",
        "“root endpoint” is resumed; 0 run(s) are still held.",
    )


def test_doctor_without_a_database(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError("no such host")

    monkeypatch.setattr(examination, "CHECKS", {"paused": examination.CHECKS["paused"]})
    monkeypatch.setattr(pausing, "paused", away)

    [finding] = findings()
    assert finding.status == "skipped"
    assert "the pauses cannot be read: OperationalError" in finding.message
