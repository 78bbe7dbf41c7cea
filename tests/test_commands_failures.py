"""``manage.py gemini_webhooks failures``, ``mute`` and ``unmute``."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from gemini_webhooks import clock, failures
from gemini_webhooks.models import FailureGroup
from tests.test_dead_letters import STORE, TELL, begin, dead

HINTED = f"--failed-receiver {STORE} --error-class KeyError --receiver {STORE}"

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("gemini_webhooks", *words, stdout=out)
    return out.getvalue()


def at(text: str) -> datetime:
    return clock.for_database(datetime.fromisoformat(text))


def test_nothing_has_failed() -> None:
    assert run("failures") == "Nothing has failed for good.\n"
    assert json.loads(run("failures", "--json")) == []


def test_failures_are_a_table_with_a_hint() -> None:
    dead(STORE, "KeyError", count=12, at=at("2026-11-20T14:00+00:00"))
    dead(TELL, "", at=at("2026-11-20T13:00+00:00"))
    dead(STORE, "shop.Closed", at=at("2026-11-20T12:00+00:00"))
    failures.mute(STORE, "shop.Closed", actor="ada")

    assert run("failures").splitlines() == [
        "RECEIVER              ERROR CLASS  COUNT  FIRST              LAST               MUTED",
        "shop.receivers.store  KeyError     12     2026-11-20T14:00Z  2026-11-20T14:00Z",
        "shop.receivers.tell   -            1      2026-11-20T13:00Z  2026-11-20T13:00Z",
        "shop.receivers.store  shop.Closed  1      2026-11-20T12:00Z  2026-11-20T12:00Z  yes",
        "",
        f"After a fix: `manage.py gemini_webhooks replay {HINTED}`",
    ]


def test_failures_as_json_hold_no_error_text() -> None:
    [run_] = dead()

    text = run("failures", "--json")

    [row] = json.loads(text)
    assert (row["receiver"], row["error_class"], row["count"]) == (STORE, "KeyError", 1)
    assert row["latest_delivery_id"] == run_.delivery_id
    assert (row["muted"], row["mute"]) == (False, None)
    assert "hunter2" not in text


def test_as_many_as_asked_for() -> None:
    dead(error_class="A")
    dead(error_class="B")

    assert len(json.loads(run("failures", "--limit", "1", "--json"))) == 1


def test_the_hint_without_a_known_class_takes_all_of_the_receiver() -> None:
    dead(error_class="")

    assert run("failures").endswith(f"replay --failed-receiver {STORE} --receiver {STORE}`\n")


def test_a_receiver_is_muted_and_unmuted_with_all_that_it_fails_with() -> None:
    dead(STORE, "A")
    dead(STORE, "")
    dead(TELL, "A")

    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    said = run("mute", STORE, "--until", until, "--reason", "known", "--actor", "ada")

    assert set(said.splitlines()[0].removeprefix("muted: ").split(", ")) == {
        f"{STORE} (A)",
        f"{STORE} (-)",
    }
    rows = FailureGroup.objects.values_list("receiver", "reason", "muted_by")
    assert set(rows) == {(STORE, "known", "ada")}
    assert "until 2" in run("failures")
    assert run("unmute", TELL) == "unmuted: nothing of it was muted\n"
    assert len(json.loads(run("unmute", STORE, "--json"))["unmuted"]) == 2
    assert not any(group.mute for group in failures.groups())


@pytest.mark.parametrize("error_class", ["A", ""])
def test_one_class_of_error_is_muted_and_unmuted(error_class: str) -> None:
    dead(STORE, "A")
    dead(STORE, "")

    lines = run("mute", STORE, "--error-class", error_class).splitlines()

    assert lines == [f"muted: {STORE} ({error_class or '-'})", "until: it is unmuted"]
    [muted] = [group for group in failures.groups() if group.mute]
    assert muted.error_class == error_class
    run("unmute", STORE, "--error-class", error_class)
    assert not any(group.mute for group in failures.groups())


def test_only_what_is_muted_is_left() -> None:
    [run_] = dead()
    run("mute", STORE)
    type(run_).objects.update(state="succeeded")

    lines = run("failures").splitlines()

    assert lines[1].split()[:3] == [STORE, "KeyError", "0"]
    assert lines[-1] == "Nothing is left of what is muted."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mute", "nobody"], "Nothing has failed for good in nobody"),
        (["mute", STORE, "--error-class", "B"], f"Nothing has failed for good in {STORE} with B"),
        (["mute", STORE, "--until", "2020-01-01"], "has to end in the future"),
        (["mute", STORE, "--until", "soon"], "no ISO 8601 time"),
        (["mute", STORE, "--until", ""], "no ISO 8601 time"),
        (["unmute", "nobody"], "Nothing has failed for good in nobody"),
        (["mute", "a\0b"], "is not valid text"),
        (["mute", STORE, "--reason", "\udce9"], "is not valid text"),
        (["failures", "--limit", "0"], "no whole number"),
        (["failures", "--limit", "3", "--tell"], "not allowed with"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said(words: list[str], said: str) -> None:
    dead()

    with pytest.raises(CommandError, match=said):
        run(*words)
    assert not FailureGroup.objects.exists()


def test_the_email_is_sent_without_beat(configured: dict[str, Any]) -> None:
    assert run("failures", "--tell") == "told: 0\n"
    configured["FAILURE_EMAILS"] = ["ops@site.example"]
    begin()
    dead(count=3, at=clock.now() - timedelta(minutes=2))

    assert run("failures", "--tell") == "told: 3\n"
    assert json.loads(run("failures", "--tell", "--json")) == {"told": 0}
    assert len(mail.outbox) == 1


def test_the_documented_list_is_what_is_printed() -> None:
    page = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    shown = page.partition("$ python manage.py gemini_webhooks failures\n")[2].partition("```")[0]
    rows = [line.split() for line in shown.splitlines()[1:]]
    for receiver, error_class, count, first, last, *muted in rows:
        ends = [at(last.replace("Z", "+00:00")), at(first.replace("Z", "+00:00"))]
        dead(receiver, error_class, count=int(count) - 1, at=ends[0])
        dead(receiver, error_class, at=ends[1])
        if muted:
            failures.mute(receiver, error_class, actor="ada")

    assert len(rows) == 2
    assert run("failures").startswith(shown)
