"""What failed for good: in groups, muted, and told of by e-mail, a thousand in one message."""

from __future__ import annotations

import itertools
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import django
import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from gemini_webhooks import (
    beat_schedule,
    clock,
    deliveries,
    failures,
    processing,
    retention,
    signals,
    tasks,
)
from gemini_webhooks.deliveries import claims, dead_letters, progress, rows
from gemini_webhooks.deliveries.erasing import ERASED, ERASED_CLASS
from gemini_webhooks.failures import digesting
from gemini_webhooks.models import FailureGroup, FailureMail, ReceiverRun, WebhookDelivery
from tests.conftest import every_database
from tests.senders import StaticSender
from tests.test_receivers import Recorder

pytestmark = [every_database]

STORE, TELL = "shop.receivers.store", "shop.receivers.tell"
MINUTES = timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")
_number = itertools.count()


@pytest.fixture(autouse=True)
def _on_each_database(database: str) -> None:
    """Every test of this module runs once per database."""


@pytest.fixture
def told(configured: dict[str, Any], settings: Any) -> dict[str, Any]:
    """A site that sends e-mails about failures to one address."""
    settings.LANGUAGE_CODE = "en"
    configured["FAILURE_EMAILS"] = ["ops@site.example"]
    return configured


def dead(
    receiver: str = STORE,
    error_class: str = "KeyError",
    *,
    count: int = 1,
    at: datetime | None = None,
    **values: Any,
) -> list[ReceiverRun]:
    """Deliveries of which one receiver has failed for good, at a time or now."""
    came = [
        WebhookDelivery(webhook_id=f"evt_{next(_number)}", signing="hmac", state="failed")
        for _ in range(count)
    ]
    rows(WebhookDelivery).bulk_create(came)
    stored = rows(WebhookDelivery).filter(webhook_id__in=[one.webhook_id for one in came])
    defaults = {
        "receiver": receiver,
        "error_class": error_class,
        "state": "dead",
        "last_error": f"{error_class}: the payload says hunter2",
        "finished_at": at or clock.now(),
    }
    runs = [
        ReceiverRun(delivery_id=pk, **{**defaults, **values})
        for pk in stored.order_by("pk").values_list("pk", flat=True)
    ]
    rows(ReceiverRun).bulk_create(runs)
    return list(rows(ReceiverRun).filter(delivery__in=stored).order_by("pk"))


def keys(**how: Any) -> list[tuple[str, str, int]]:
    return [(one.receiver, one.error_class, one.count) for one in failures.groups(**how)]


def digest_at(minutes: float) -> failures.Digest | None:
    return failures.digest(clock.now() + minutes * MINUTES)


def begin() -> None:
    """The first call, an hour ago."""
    assert digest_at(-60) is None


def only_mail() -> EmailMessage:
    [message] = mail.outbox
    return message


# --- groups


def test_failures_are_grouped_by_receiver_and_class_of_error(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["MAX_ATTEMPTS"] = 1
    signals.batch_succeeded.connect(store := Recorder(*[KeyError("rows")] * 3, ValueError("x")))
    tell = Recorder(ConnectionError("gone"))
    signals.batch_succeeded.connect(tell)
    store.__name__, tell.__name__ = "store", "tell"
    for number in range(4):
        static.post(webhook_id=f"m{number}")
    processing.drain()

    found = {(one.error_class, one.count): one for one in failures.groups()}

    assert set(found) == {("KeyError", 3), ("ValueError", 1), ("ConnectionError", 1)}
    group = found["KeyError", 3]
    assert group.latest_error == "KeyError: 'rows'"
    last = rows(WebhookDelivery).get(webhook_id=group.latest_webhook_id)
    assert last.pk == group.latest_delivery_id
    runs = rows(ReceiverRun).filter(error_class="KeyError").order_by("finished_at")
    ended = list(runs.values_list("finished_at", flat=True))
    assert (group.first_seen, group.last_seen) == (ended[0], ended[-1])
    assert group.mute is None


def test_nothing_has_failed() -> None:
    assert failures.groups() == []
    with pytest.raises(failures.NoSuchGroup, match="Nothing has failed for good in r with E"):
        failures.group("r", "E")
    with pytest.raises(failures.NoSuchGroup, match="for good in r\\."):
        failures.group("r", "")


def test_what_failed_last_comes_first() -> None:
    now = clock.now()
    dead(STORE, "KeyError", count=2, at=now - MINUTES)
    dead(STORE, "ValueError", at=now)
    dead(TELL, "KeyError", at=now - 2 * MINUTES)
    dead(TELL, "", at=now - 3 * MINUTES)
    dead(TELL, "Odd", finished_at=None)

    expected = [
        (STORE, "ValueError", 1),
        (STORE, "KeyError", 2),
        (TELL, "KeyError", 1),
        (TELL, "", 1),
        (TELL, "Odd", 1),
    ]
    assert keys() == expected
    assert keys(limit=2) == expected[:2]
    odd = failures.groups()[-1]
    assert (odd.last_seen, odd.latest_error[:4]) == (None, "Odd:")


def test_names_that_differ_in_case_are_different_groups() -> None:
    dead("shop.Store")
    dead("shop.store")

    assert sorted(keys()) == [("shop.Store", "KeyError", 1), ("shop.store", "KeyError", 1)]
    assert failures.group("shop.store", "KeyError").count == 1


@pytest.mark.parametrize("error_class", [claims.WORKER_LOST, progress.NO_RESULT])
def test_what_failed_without_an_error_of_its_own_is_a_group(error_class: str) -> None:
    dead(STORE, error_class)

    assert keys() == [(STORE, error_class, 1)]


def test_what_an_erasure_ended_has_not_failed(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post()
    [delivery] = rows(WebhookDelivery).all()
    processing.plan(delivery.pk)
    deliveries.erase(delivery.pk)

    [run] = rows(ReceiverRun).all()
    assert recorder.calls == []
    assert (run.state, run.error_class, run.last_error) == ("dead", ERASED_CLASS, ERASED)
    assert failures.groups() == []
    with pytest.raises(failures.NoSuchGroup):
        failures.group(run.receiver, ERASED_CLASS)


def test_of_what_ended_at_the_same_moment_one_is_the_latest() -> None:
    runs = dead(count=3, at=clock.now())

    [group] = failures.groups()
    assert group.latest_delivery_id == max(run.delivery_id for run in runs)
    assert failures.group(STORE, "KeyError") == group


def test_the_latest_runs_of_a_group() -> None:
    dead(TELL)
    runs = [dead(at=clock.now() - age * MINUTES)[0] for age in range(4)]

    found = failures.latest(failures.group(STORE, "KeyError"), 3)

    assert found == runs[:3]
    assert {"body", "user_metadata"} <= found[0].delivery.get_deferred_fields()


def test_the_number_of_queries_does_not_grow(database: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connections[database]) as captured:
            failures.groups(limit=90)
        return len(captured)

    dead()
    one = queries()
    for number in range(80):
        dead(error_class=f"Error{number}", count=2)

    assert one <= 4
    assert queries() == one


def test_more_groups_than_one_statement_takes(told: dict[str, Any]) -> None:
    begin()
    classes = [f"Error{number:03}" for number in range(120)]
    for error_class in classes:
        dead(error_class=error_class)

    assert len({one.latest_error for one in failures.groups()}) == 120
    found = digest_at(2)
    assert found is not None
    assert sorted(one.error_class for one in found.news) == classes
    assert digest_at(60) is None


# --- muting


def test_a_muted_group_is_counted_and_shown_last() -> None:
    dead(STORE, at=clock.now() - MINUTES)
    dead(TELL, count=2)
    until = datetime.now(UTC) + 60 * MINUTES

    row = failures.mute(TELL, "KeyError", until=until, actor="ada", reason="known")

    assert keys() == [(STORE, "KeyError", 1), (TELL, "KeyError", 2)]
    assert keys(include_muted=False) == [(STORE, "KeyError", 1)]
    group = failures.groups()[-1]
    assert group.mute is not None
    assert (group.mute.by, group.mute.reason) == ("ada", "known")
    assert group.mute.until == clock.for_database(until)
    assert failures.group(TELL, "KeyError").mute == group.mute
    assert rows(FailureGroup).get() == row


def test_a_mute_is_changed_and_ended() -> None:
    dead()
    failures.mute(STORE, "KeyError", actor="ada", reason="x" * 600)
    failures.mute(STORE, "KeyError", actor="bob\0")

    mute = failures.group(STORE, "KeyError").mute
    assert mute is not None
    assert (mute.until, mute.by, mute.reason) == (None, "bob\ufffd", "")

    assert failures.unmute(STORE, "KeyError", actor="ada") == rows(FailureGroup).get()
    assert failures.group(STORE, "KeyError").mute is None
    assert failures.unmute(STORE, "KeyError", actor="ada") is None
    assert failures.unmute("nobody", "KeyError", actor="ada") is None


def test_a_mute_that_has_an_end_lapses_by_itself() -> None:
    dead()
    failures.mute(STORE, "KeyError", until=datetime.now(UTC) + MINUTES, actor="ada")
    rows(FailureGroup).update(muted_until=clock.now())

    assert failures.group(STORE, "KeyError").mute is None
    assert keys(include_muted=False) == [(STORE, "KeyError", 1)]
    assert failures.unmute(STORE, "KeyError", actor="ada") is None


def test_a_muted_group_is_shown_without_failures_too() -> None:
    dead()
    failures.mute(STORE, "KeyError", actor="ada")
    rows(ReceiverRun).update(state="succeeded")

    [group] = failures.groups()
    assert (group.count, group.first_seen, group.latest_delivery_id) == (0, None, None)
    assert failures.group(STORE, "KeyError") == group

    failures.unmute(STORE, "KeyError", actor="ada")
    assert failures.groups() == []


def test_what_cannot_be_muted() -> None:
    with pytest.raises(failures.NoSuchGroup):
        failures.mute(STORE, "KeyError", actor="ada")
    dead()
    with pytest.raises(failures.MuteEnded, match="in the future"):
        failures.mute(STORE, "KeyError", until=datetime.now(UTC), actor="ada")

    assert not rows(FailureGroup).exists()


def test_who_mutes_and_unmutes_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gemini_webhooks")
    dead()
    failures.mute(STORE, "KeyError", actor="ada")
    failures.unmute(STORE, "KeyError", actor="bob")

    assert [record.getMessage() for record in caplog.records] == [
        f"ada muted {STORE}: KeyError until further notice",
        f"bob unmuted {STORE}: KeyError",
    ]


def test_pruning_forgets_groups_that_are_gone() -> None:
    for error_class in ("Gone", "Muted", "Lapsed", "There"):
        dead(error_class=error_class)
        failures.mute(STORE, error_class, actor="ada")
    failures.unmute(STORE, "Gone", actor="ada")
    failures.unmute(STORE, "There", actor="ada")
    rows(FailureGroup).filter(error_class="Lapsed").update(muted_until=clock.now())
    rows(ReceiverRun).exclude(error_class="There").update(state="succeeded")

    retention.prune()

    left = rows(FailureGroup).order_by("error_class").values_list("error_class", flat=True)
    assert list(left) == ["Muted", "There"]


# --- e-mail


def test_a_thousand_failures_are_one_message(told: dict[str, Any]) -> None:
    begin()
    dead(STORE, "KeyError", count=700, at=clock.now() - 9 * MINUTES)
    dead(STORE, "shop.errors.Closed", count=200, at=clock.now() - 5 * MINUTES)
    dead(TELL, "KeyError", count=100, at=clock.now() - 3 * MINUTES)

    found = digest_at(0)

    message = only_mail()
    assert message.subject == "[Gemini webhooks] 1,000 deliveries failed in 2 receivers"
    assert message.to == ["ops@site.example"]
    assert message.from_email == "root@localhost"
    assert found is not None
    assert (found.failures, found.receivers) == (1000, 2)
    assert [one.count for one in found.news] == [100, 200, 700]
    for told_of in (STORE, TELL, "KeyError", "shop.errors.Closed", "700 new, 700 in all"):
        assert told_of in message.body
    assert "hunter2" not in message.body
    assert "evt_" not in message.body
    assert "https://site.example/admin/gemini_webhooks/failuregroup/\n" in message.body
    query = urlencode({"receiver": TELL, "error_class": "KeyError"})
    assert f"https://site.example/admin/gemini_webhooks/failuregroup/group/?{query}" in message.body


def test_the_next_message_tells_only_of_what_is_new(told: dict[str, Any]) -> None:
    begin()
    dead(STORE, "KeyError", count=3)
    dead(TELL, "KeyError", count=2)
    assert digest_at(2)
    dead(STORE, "KeyError", at=clock.now() + 3 * MINUTES)
    dead(STORE, "KeyError", at=clock.now() + 4 * MINUTES)

    assert digest_at(20)
    assert digest_at(40) is None

    message = mail.outbox[1]
    assert message.subject == "[Gemini webhooks] 2 deliveries failed in 1 receiver"
    assert "2 new, 5 in all" in message.body
    assert TELL not in message.body
    assert len(mail.outbox) == 2


def test_a_run_that_was_retried_and_died_again_is_new(told: dict[str, Any]) -> None:
    begin()
    [run] = dead()
    assert digest_at(2)
    rows(ReceiverRun).filter(pk=run.pk).update(finished_at=clock.now() + 5 * MINUTES)

    assert digest_at(30)

    assert mail.outbox[1].subject == "[Gemini webhooks] 1 delivery failed in 1 receiver"


def test_there_is_one_message_at_most_in_so_many_minutes(told: dict[str, Any]) -> None:
    told["FAILURE_EMAIL_MINUTES"] = 30
    begin()
    dead()
    assert digest_at(2)
    dead(at=clock.now() + 3 * MINUTES)

    assert digest_at(31) is None
    assert digest_at(32)


def test_what_may_not_be_committed_yet_is_left_for_the_next(told: dict[str, Any]) -> None:
    begin()
    dead(at=clock.now() - 2 * MINUTES)
    dead(at=clock.now())
    dead(TELL, at=clock.now())
    first, second = digest_at(0.5), digest_at(30)

    assert first is not None
    assert second is not None
    assert (first.failures, second.failures) == (1, 2)


def test_the_past_is_not_told_of(told: dict[str, Any]) -> None:
    dead(count=5, at=clock.now() - 90 * MINUTES)
    begin()

    assert digest_at(0) is None
    dead()
    assert digest_at(2)

    assert "1 new, 6 in all" in only_mail().body


def test_who_switches_it_off_and_on_is_not_told_of_what_came_between(told: dict[str, Any]) -> None:
    begin()
    told["FAILURE_EMAILS"] = False
    assert digest_at(-50) is None
    assert not rows(FailureMail).exists()
    dead(at=clock.now() - 40 * MINUTES)
    told["FAILURE_EMAILS"] = ["ops@site.example"]

    assert digest_at(-30) is None
    assert digest_at(0) is None
    assert mail.outbox == []


def test_without_the_setting_nothing_is_stored_or_sent(configured: dict[str, Any]) -> None:
    dead()

    assert digest_at(0) is None
    assert digest_at(30) is None
    assert mail.outbox == []
    assert not rows(FailureMail).exists()


def test_nothing_is_told_of_muted_groups_until_the_mute_is_over(told: dict[str, Any]) -> None:
    begin()
    dead(STORE, "KeyError", count=2)
    failures.mute(STORE, "KeyError", until=datetime.now(UTC) + 30 * MINUTES, actor="ada")
    dead(TELL)

    assert digest_at(2)
    assert STORE not in only_mail().body
    assert digest_at(29) is None

    assert digest_at(31)
    assert "2 new, 2 in all" in mail.outbox[1].body


def test_a_mail_server_that_is_down_is_asked_again_the_next_time(
    told: dict[str, Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    begin()
    dead()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 9  # nobody listens

    assert digest_at(2) is None
    assert digest_at(3) is None

    assert [record.getMessage() for record in caplog.records] == [
        "e-mail about failures not sent: ConnectionRefusedError"
    ] * 2
    assert not rows(FailureGroup).filter(told_until__isnull=False).exists()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert digest_at(4)
    assert "1 new" in only_mail().body


class Dying(BaseEmailBackend):
    """The worker is killed while it sends."""

    def send_messages(self, messages: Any) -> int:
        raise KeyboardInterrupt


def test_a_worker_that_dies_while_it_sends_delays_the_message_only(
    told: dict[str, Any], settings: Any
) -> None:
    begin()
    dead()
    settings.EMAIL_BACKEND = f"{__name__}.Dying"
    with pytest.raises(KeyboardInterrupt):
        digest_at(2)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

    assert digest_at(16) is None
    assert digest_at(17)
    assert len(mail.outbox) == 1


def test_of_two_workers_at_once_one_sends(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin()
    dead(count=3)
    both_have_read = threading.Barrier(2, timeout=30)
    take_turn = dead_letters.take_turn
    sent: list[failures.Digest | None] = []

    def take_turn_together(*args: Any) -> bool:
        both_have_read.wait()
        return take_turn(*args)

    def work() -> None:
        sent.append(digest_at(2))
        connections.close_all()

    monkeypatch.setattr(dead_letters, "take_turn", take_turn_together)
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(sent) == 2
    assert sent.count(None) == 1
    assert len(mail.outbox) == 1


def test_two_workers_begin_at_the_same_time(told: dict[str, Any]) -> None:
    first = clock.now()
    dead_letters.begin_telling(first)
    dead_letters.begin_telling(first + MINUTES)

    assert rows(FailureMail).get().since == first
    assert str(rows(FailureMail).get()) == dead_letters.MAIL


def admins(*addresses: str) -> list[Any]:
    """As this Django wants them: before 6.0 with names, and not with names in later ones."""
    return list(addresses) if django.VERSION >= (6, 0) else [("", one) for one in addresses]


def test_admins_are_told_if_the_setting_is_true(told: dict[str, Any], settings: Any) -> None:
    told["FAILURE_EMAILS"] = True
    settings.ADMINS = admins("ada@site.example", "bob@site.example")
    begin()
    dead()

    assert digest_at(2)

    assert only_mail().to == ["ada@site.example", "bob@site.example"]
    assert only_mail().subject.endswith("[Gemini webhooks] 1 delivery failed in 1 receiver")


def test_without_admins_nothing_counts_as_told(
    told: dict[str, Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    told["FAILURE_EMAILS"] = True
    settings.ADMINS = []
    begin()
    dead()

    assert digest_at(2) is None
    assert digest_at(3) is None  # not said every minute
    assert [record.getMessage() for record in caplog.records] == [
        "1 failures not told of by e-mail: ADMINS is empty"
    ]
    settings.ADMINS = admins("ada@site.example")
    assert digest_at(17)
    assert "1 new" in only_mail().body


def test_more_groups_than_one_message_holds_come_in_the_next(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digesting, "MOST_GROUPS", 2)
    begin()
    for error_class in ("A", "B", "C"):
        dead(error_class=error_class)

    first, second = digest_at(2), digest_at(17)

    assert first is not None
    assert second is not None
    assert len(first.news) == 2
    assert len(second.news) == 1
    assert digest_at(40) is None


def test_a_name_cannot_pass_for_more_than_one_line(told: dict[str, Any]) -> None:
    begin()
    dead("shop\r\nBcc: all@site.example", "Key\nError")
    dead(TELL, "")

    assert digest_at(2)

    lines = only_mail().body.splitlines()
    assert "shop\ufffd\ufffdBcc: all@site.example" in lines
    assert "  Key\ufffdError" in lines
    assert "  error class not known" in lines
    assert only_mail().subject.startswith("[Gemini webhooks] 2 deliveries")


def test_times_have_their_zone_and_a_span_two_ends(told: dict[str, Any], settings: Any) -> None:
    begin()
    first, last = clock.now() - 30 * MINUTES, clock.now() - 10 * MINUTES
    dead(at=first)
    dead(at=last)

    assert digest_at(0)

    zone = " %Z" if settings.USE_TZ else ""
    local = [clock.aware(one).astimezone(BERLIN) for one in (first, last)]
    shown = " to ".join(f"{one:%Y-%m-%d %H:%M{zone}}" for one in local)
    assert f"  {shown}\n" in only_mail().body


@pytest.mark.parametrize("how", ["no address", "no admin"])
def test_without_a_known_address_the_message_names_the_command(
    told: dict[str, Any], settings: Any, how: str
) -> None:
    if how == "no address":
        told["PUBLIC_BASE_URL"] = None
    else:
        settings.ROOT_URLCONF = f"{__name__}"
    begin()
    dead()

    assert digest_at(2)

    assert "http" not in only_mail().body
    assert "“manage.py gemini_webhooks failures” lists them." in only_mail().body


urlpatterns: list[Any] = []  # of a process that has no admin


def test_the_message_speaks_the_language_of_the_site(told: dict[str, Any]) -> None:
    begin()
    dead(count=1200)
    with translation.override("de"):
        assert digest_at(2)

    assert "1.200" in only_mail().subject


def test_the_task_sends_it_and_beat_has_an_entry(told: dict[str, Any]) -> None:
    begin()
    dead(at=clock.now() - 2 * MINUTES)

    tasks.tell_failures()

    assert len(mail.outbox) == 1
    entry = beat_schedule()["gemini-webhooks-tell-failures"]
    assert entry == {"task": tasks.tell_failures.name, "schedule": 60.0}
