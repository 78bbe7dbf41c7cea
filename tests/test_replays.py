"""Replays: one delivery or many, whole or in part, at a rate, stopped, and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connections, transaction

from gemini_webhooks import (
    clock,
    deliveries,
    processing,
    replay,
    results,
    retention,
    signals,
    tasks,
)
from gemini_webhooks.deliveries import Selection, replays
from gemini_webhooks.dispatch import messages
from gemini_webhooks.exceptions import (
    InvalidSelection,
    NothingToReplay,
    PayloadPruned,
    ResultError,
)
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    Replay,
    ReplayedDelivery,
    ResultFile,
    WebhookDelivery,
)
from gemini_webhooks.processing import Handoff, replaying
from gemini_webhooks.results import claims, fetching
from tests.admin import rows as written
from tests.conftest import every_database
from tests.senders import StaticSender
from tests.test_receivers import Recorder

sqlite = pytest.mark.django_db(transaction=True)
ALL = Selection(states=("processed", "failed", "ignored"))


@pytest.fixture
def recorder() -> Recorder:
    """A receiver of every batch that succeeded."""
    connected = Recorder()
    signals.batch_succeeded.connect(connected, dispatch_uid="first")
    return connected


@pytest.fixture
def come(static: StaticSender) -> Callable[..., list[WebhookDelivery]]:
    """Events that came and were processed."""

    def come(*names: str, **data: Any) -> list[WebhookDelivery]:
        for name in names:
            assert static.post(static.envelope(**data), webhook_id=name).status_code == 200
        processing.drain()
        found = {
            one.webhook_id: one for one in WebhookDelivery.objects.filter(webhook_id__in=names)
        }
        return [found[name] for name in names]

    return come


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "STEP_SIZE", 2)


def names_of(calls: list[dict[str, Any]]) -> list[str]:
    return [call["event"].id for call in calls if call["event"].is_replay]


def begin(selection: Selection = ALL, **values: Any) -> Replay:
    return replay.start(selection, **{"actor": "ada", "reason": "mended", **values})


def log_of(begun: Replay) -> dict[str, str]:
    log = ReplayedDelivery.objects.filter(replay=begun)
    return dict(log.values_list("delivery__webhook_id", "problem"))


def again(begun: Replay) -> Replay:
    return Replay.objects.get(pk=begun.pk)


# Many -----------------------------------------------------------------------------------------


@every_database
@pytest.mark.usefixtures("small_steps")
def test_all_that_a_selection_finds_runs_again(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    came = come("a", "b", "c", "d", "e")
    begun = begin()
    come("later")
    processing.drain()

    assert names_of(recorder.calls) == ["a", "b", "c", "d", "e"]
    assert log_of(begun) == dict.fromkeys("abcde", "")
    done = again(begun)
    assert (done.state, done.total, done.replayed, done.skipped) == ("finished", 5, 5, 0)
    assert done.finished_at is not None
    assert done.next_step_at is None
    attempts = Attempt.objects.filter(run__delivery__in=came).order_by("pk")
    assert list(attempts.values_list("trigger", "actor"))[-5:] == [("replay", "ada")] * 5
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}


@every_database
@pytest.mark.usefixtures("small_steps")
def test_what_failed_alone_runs_again_although_that_changes_what_is_found(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    signals.batch_succeeded.connect(broken := Recorder(), dispatch_uid="second")
    came = come("a", "b", "c", "d", "e", "f")
    for one in came[:5]:
        ReceiverRun.objects.filter(delivery=one, receiver="second").update(
            state="dead", attempts=8, error_class="KeyError", finished_at=clock.now()
        )
        WebhookDelivery.objects.filter(pk=one.pk).update(state="failed")
    signals.batch_succeeded.connect(new := Recorder(), dispatch_uid="third")

    begun = begin(Selection(states=("failed",)), what="failed")
    processing.drain()

    assert begun.total == 5
    assert names_of(broken.calls) == ["a", "b", "c", "d", "e"]
    assert names_of(recorder.calls) == names_of(new.calls) == []
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}
    # Attempts were exhausted: they begin anew.
    assert set(ReceiverRun.objects.values_list("attempts", flat=True)) == {1}


@every_database
def test_what_another_replay_has_mended_meanwhile_does_not_run_again(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come("a", "b")
    ReceiverRun.objects.update(state="dead", error_class="KeyError", finished_at=clock.now())
    [name] = set(ReceiverRun.objects.values_list("receiver", flat=True))
    group = {"what": "receivers", "receivers": (name,)}
    first, second = (begin(Selection(receiver=name), **group) for _ in range(2))
    found = replays.next_ones

    def between(step: Any, size: int) -> list[int]:
        """Both have looked when the first begins."""
        ids = found(step, size)
        if step.replay.pk == second.pk and again(first).state == "running":
            processing.advance(first.pk)
        return ids

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replays, "next_ones", between)
        processing.advance(second.pk)
    processing.drain()

    assert names_of(recorder.calls) == ["a", "b"]
    assert again(first).replayed == 2
    assert (again(second).replayed, again(second).skipped) == (0, 2)
    assert "replayed before?" in log_of(second)["a"]


@sqlite
def test_of_deliveries_that_have_nothing_failed_none_is_counted(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    [came, _] = come("a", "b")
    ReceiverRun.objects.filter(delivery=came).update(state="dead")

    assert replay.preview(ALL, what="failed").count == 1
    assert begin(what="failed").total == 1


@sqlite
def test_named_receivers_run_also_where_they_are_new(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come("a", "b")
    signals.batch_succeeded.connect(new := Recorder(), dispatch_uid="new")
    begun = begin(what="receivers", receivers=["new"])
    processing.drain()

    assert names_of(recorder.calls) == []
    assert names_of(new.calls) == ["a", "b"]
    assert again(begun).receivers == ["new"]


@every_database
def test_what_cannot_be_replayed_is_left_out_and_the_log_says_why(
    database: str,
    static: StaticSender,
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
) -> None:
    pruned, erased, unreadable, running, good = come(
        "pruned", "erased", "unreadable", "running", "good"
    )
    for one, by in ((pruned, "retention"), (erased, "erasure")):
        WebhookDelivery.objects.filter(pk=one.pk).update(
            body=None, emptied_at=clock.now(), emptied_by=by
        )
    WebhookDelivery.objects.filter(pk=unreadable.pk).update(body=b"{")
    ReceiverRun.objects.filter(delivery=running).update(
        state="running", lease_until=clock.after(60), claim="x"
    )
    static.post(webhook_id="new")
    found = replay.preview(Selection(endpoint=""))
    begun = begin(Selection(endpoint=""))
    [good_run, next_step] = _advanced(begun)

    assert (found.count, found.without_body, found.at_least) == (6, 2, False)
    assert (good_run.kind, good_run.id) == ("run", good.runs.get().pk)
    assert next_step is None
    reasons = log_of(begun)
    assert reasons.pop("good") == ""
    assert reasons["pruned"] == "the body of pruned was removed by retention"
    assert reasons["erased"] == "the body of erased was erased on request"
    assert "unreadable is unreadable" in reasons["unreadable"]
    assert "running now" in reasons["running"]
    assert "not processed for the first time" in reasons["new"]
    done = again(begun)
    assert (done.state, done.replayed, done.skipped) == ("finished", 1, 5)


def _advanced(begun: Replay) -> tuple[Any, ...]:
    """What a step hands on: runs, and the next step or ``None``."""
    handoffs = processing.advance(begun.pk)
    following = [one for one in handoffs if one.kind == "replay"]
    return (
        *(one for one in handoffs if one.kind != "replay"),
        following[0] if following else None,
    )


@sqlite
def test_what_was_deleted_meanwhile_is_passed_over(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    come("a", "b")
    begun = begin()
    find = replays.next_ones

    def find_and_lose(*arguments: Any) -> list[int]:
        found = find(*arguments)
        WebhookDelivery.objects.filter(webhook_id="a").delete()
        return found

    monkeypatch.setattr(replays, "next_ones", find_and_lose)
    processing.drain()

    assert log_of(begun) == {"b": ""}
    assert (again(begun).replayed, again(begun).skipped) == (1, 1)


# Steps ----------------------------------------------------------------------------------------


@every_database
@pytest.mark.usefixtures("small_steps")
def test_a_step_hands_on_what_can_start_and_the_next_step(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    a, b, c = come("a", "b", "c")
    begun = begin()

    *runs, following = _advanced(begun)
    assert [one.id for one in runs] == [a.runs.get().pk, b.runs.get().pk]
    assert following == Handoff(kind="replay", id=begun.pk)
    half = again(begun)
    assert (half.state, half.replayed, half.position) == ("running", 2, b.pk)

    *runs, following = _advanced(begun)
    assert [one.id for one in runs] == [c.runs.get().pk]
    assert following is None
    assert processing.advance(begun.pk) == []


@every_database
def test_a_step_that_somebody_takes_is_his_until_he_is_thought_dead(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    a, b, _ = come("a", "b", "c")
    begun = begin()
    step = replays.take_step(begun.pk)
    assert step is not None
    with replays.coming_to(step, a.pk):
        replays.note(step, a.pk, runs=1)

    assert processing.advance(begun.pk) == []
    assert processing.sweep(everything=True).handoffs == ()
    Replay.objects.update(next_step_at=clock.after(-61))
    assert processing.sweep().handoffs == (Handoff(kind="replay", id=begun.pk),)
    assert processing.sweep().handoffs == ()  # its message is under way
    other = replays.take_step(begun.pk)
    assert other is not None
    # He is not dead, only late: nothing that he does counts any more.
    with pytest.raises(replays.StepLost), replays.coming_to(step, b.pk):
        pytest.fail("it was not his any more")
    with pytest.raises(replays.StepLost):
        replays.end(step)
    replays.let_go(other, next_step_at=clock.now())
    processing.drain()

    assert names_of(recorder.calls) == ["b", "c"]
    assert again(begun).replayed == 3


@every_database
def test_a_step_that_only_waits_gets_fewer_and_fewer_messages(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come("a")
    begin()
    graces = []
    for _ in range(6):
        grace = 30
        while not processing.sweep().handoffs:
            grace *= 2
            Replay.objects.update(next_step_at=clock.after(-grace - 1))
        graces.append(grace)

    assert graces == [60, 120, 240, 480, 960, 960]


@every_database
@pytest.mark.usefixtures("small_steps")
def test_many_workers_at_once_do_nothing_twice(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come(*(f"m{number}" for number in range(12)))
    begun = begin()

    def work() -> list[Handoff]:
        handoffs: list[Handoff] = []
        try:
            while Replay.objects.filter(state="running").exists():
                handoffs += processing.advance(begun.pk)
        finally:
            connections.close_all()
        return handoffs

    with ThreadPoolExecutor(3) as pool:
        everything = [
            one for done in [pool.submit(work) for _ in range(3)] for one in done.result()
        ]

    runs = [one.id for one in everything if one.kind == "run"]
    assert sorted(runs) == sorted(ReceiverRun.objects.values_list("pk", flat=True))
    done = again(begun)
    assert (done.state, done.replayed, done.skipped) == ("finished", 12, 0)
    assert ReplayedDelivery.objects.count() == 12


@every_database
def test_stopped_it_comes_to_no_further_delivery(
    database: str,
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    come("a", "b", "c")
    begun = begin()
    find = replaying.handoffs_of

    def find_and_stop(delivery: WebhookDelivery) -> list[Handoff]:
        assert replay.stop(begun, actor="bob")
        return find(delivery)

    monkeypatch.setattr(replaying, "handoffs_of", find_and_stop)
    *runs, following = _advanced(begun)

    assert (len(runs), following) == (1, None)
    processing.drain()
    assert names_of(recorder.calls) == ["a"]
    stopped = again(begun)
    assert (stopped.state, stopped.stopped_by, stopped.replayed) == ("stopped", "bob", 1)
    assert stopped.finished_at is not None
    assert not replay.stop(begun, actor="eve")
    assert again(begun).stopped_by == "bob"
    assert processing.sweep(everything=True).handoffs == ()


# The rate -------------------------------------------------------------------------------------


def ahead(begun: Replay) -> int:
    """In how many seconds the next step is due."""
    due = again(begun).next_step_at
    assert due is not None
    return round((due - clock.now()).total_seconds())


@every_database
def test_a_rate_allows_so_many_and_no_more(
    database: str,
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    come("a", "b", "c", "d")
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)  # a busy machine takes long for a step
    begun = begin(rate=24)  # two in five seconds

    *runs, following = _advanced(begun)
    assert len(runs) == 2
    assert ahead(begun) == round(following.delay) == 5
    assert processing.advance(begun.pk) == []
    processing.drain()  # leaves what is not due, and ends
    assert names_of(recorder.calls) == ["a", "b"]

    Replay.objects.update(next_step_at=clock.after(-0.1))
    processing.drain()
    assert names_of(recorder.calls) == ["a", "b", "c", "d"]
    assert again(begun).state == "finished"


@sqlite
@pytest.mark.parametrize(("late", "ahead_then"), [(3, 2), (5, 0), (3600, 0)])
def test_a_step_that_comes_late_makes_up_for_a_little(
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
    late: int,
    ahead_then: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    come("a", "b", "c", "d")
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    begun = begin(rate=24)
    Replay.objects.update(next_step_at=clock.after(-late))

    *runs, following = _advanced(begun)

    assert len(runs) == 2
    assert round(following.delay) == ahead_then


@sqlite
def test_the_slowest_rate_is_one_a_minute_and_what_is_skipped_costs_nothing(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come("a", "b", "c")
    WebhookDelivery.objects.filter(webhook_id="a").update(body=None)
    begun = begin(rate=1)

    *runs, following = _advanced(begun)

    assert len(runs) == 1
    assert round(following.delay) == 60
    assert (again(begun).replayed, again(begun).skipped) == (1, 1)


# When something fails -------------------------------------------------------------------------


@sqlite
def test_a_deadlock_is_tried_again(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    come("a", "b")
    begun = begin()
    monkeypatch.setattr(deliveries, "reopen", failing(deliveries.reopen, OperationalError, times=2))
    processing.drain()

    assert log_of(begun) == {"a": "", "b": ""}
    assert names_of(recorder.calls) == ["a", "b"]


def failing(work: Callable[..., Any], error: type[Exception], *, times: int) -> Callable[..., Any]:
    """``work`` that fails so many times before, after it was done: all of it must be undone."""
    left = [error("the row is 'secret'")] * times

    def fails(*arguments: Any, **words: Any) -> Any:
        done = work(*arguments, **words)
        if left:
            raise left.pop()
        return done

    return fails


@sqlite
def test_a_database_that_is_away_is_waited_for(
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    come("a", "b")
    begun = begin()
    with monkeypatch.context() as away:
        away.setattr(deliveries, "reopen", failing(deliveries.reopen, OperationalError, times=3))
        processing.drain()

    assert log_of(begun) == {}
    assert ahead(begun) > 30
    assert "is put off: OperationalError" in caplog.text
    assert "secret" not in caplog.text
    Replay.objects.update(next_step_at=clock.after(-61))
    processing.drain()
    assert log_of(begun) == {"a": "", "b": ""}


@sqlite
@pytest.mark.parametrize("error", [IntegrityError, ValueError])
def test_one_bad_delivery_does_not_stop_the_others(
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Exception],
) -> None:
    come("a", "b")
    begun = begin()
    monkeypatch.setattr(deliveries, "reopen", failing(deliveries.reopen, error, times=1))
    processing.drain()

    assert log_of(begun) == {"a": f"it failed: {error.__name__}", "b": ""}
    assert names_of(recorder.calls) == ["b"]
    assert "secret" not in caplog.text


@sqlite
def test_what_could_not_be_handed_on_is_left_to_the_sweeper(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    come("a")
    begun = begin()
    with monkeypatch.context() as away:
        away.setattr(
            replaying, "handoffs_of", failing(replaying.handoffs_of, OperationalError, times=1)
        )
        assert processing.advance(begun.pk) == []
    processing.drain()

    assert names_of(recorder.calls) == ["a"]
    assert again(begun).state == "finished"


@sqlite
def test_a_selection_that_cannot_be_read_any_more_stops_it(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come("a")
    begun = begin()
    Replay.objects.update(selection={"colour": "red"})
    processing.drain()

    assert again(begun).state == "stopped"
    assert names_of(recorder.calls) == []


# Celery ---------------------------------------------------------------------------------------


@sqlite
@pytest.mark.usefixtures("small_steps")
def test_a_task_takes_a_step_and_sends_the_next(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = come("a", "b", "c")
    sent: list[tuple[str, tuple[int, ...], int | None]] = []
    app = messages.site_app()
    for name in messages.TASKS.values():
        task = app.tasks[name]
        monkeypatch.setattr(
            task,
            "apply_async",
            lambda args, name=name, countdown=None, **_: (
                sent.append((name.rpartition(".")[2], args, countdown)) or Result()
            ),
        )
    begun = begin(rate=60)
    assert sent == [("advance_replay", (begun.pk,), None)]
    sent.clear()

    tasks.advance_replay(begun.pk)

    run_a, run_b, (name, ids, countdown) = sent
    assert run_a[:2] == ("run_receiver", (a.runs.get().pk,))
    assert run_b[:2] == ("run_receiver", (b.runs.get().pk,))
    assert (name, ids) == ("advance_replay", (begun.pk,))
    assert countdown is not None
    assert 1 < countdown <= 2
    sent.clear()
    Replay.objects.update(next_step_at=clock.after(-61))
    assert tasks.sweep()["replay"] == 1
    assert sent == [("advance_replay", (begun.pk,), None)]


class Result:
    id = "1"


@sqlite
@pytest.mark.usefixtures("small_steps")
def test_eager_tasks_take_one_step_after_the_other(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(*(f"m{number}" for number in range(9)))
    depths: list[int] = []
    take = replays.take_step
    inside: list[int] = []
    step = tasks.advance_replay.run

    def deeper(replay_id: int) -> None:
        inside.append(replay_id)
        depths.append(len(inside))
        step(replay_id)
        inside.pop()

    monkeypatch.setattr(tasks.advance_replay, "run", deeper)
    app = messages.site_app()
    app.conf.task_always_eager = True
    try:
        begun = begin()
    finally:
        app.conf.task_always_eager = False

    assert again(begun).state == "finished"
    assert len(names_of(recorder.calls)) == 9
    assert depths == [1] * 5
    assert take(begun.pk) is None


@every_database
def test_it_begins_after_the_commit_or_not_at_all(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come("a")
    with transaction.atomic(using=database):
        begin()
        transaction.set_rollback(True, using=database)
    processing.drain()

    assert not Replay.objects.exists()
    assert names_of(recorder.calls) == []


# One delivery ---------------------------------------------------------------------------------


@every_database
@pytest.mark.parametrize(
    ("asked", "what", "receivers"),
    [
        ({}, "everything", []),
        ({"receivers": ["first"]}, "receivers", ["first"]),
        ({"only_failed": True}, "failed", []),
    ],
)
def test_a_single_replay_is_written_down(
    database: str,
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
    asked: dict[str, Any],
    what: str,
    receivers: list[str],
) -> None:
    [came] = come("a")
    ReceiverRun.objects.update(state="dead", attempts=8)

    assert replay.replay(came, **asked, actor="ada", reason="it was broken") == [came.runs.get().pk]

    noted = Replay.objects.get()
    assert (noted.what, noted.receivers, noted.state) == (what, receivers, "finished")
    assert (noted.actor, noted.reason) == ("ada", "it was broken")
    assert (noted.total, noted.replayed, noted.skipped) == (1, 1, 0)
    assert noted.selection == {"ids": [came.pk]}
    log = came.replays.get()
    assert (log.replay, log.runs, log.problem) == (noted, 1, "")
    processing.drain()
    assert names_of(recorder.calls) == ["a"]
    assert came.runs.get().attempts == 1


@every_database
def test_what_was_not_replayed_is_not_written_down(
    database: str, come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    [came] = come("a")
    with pytest.raises(NothingToReplay, match="no receiver has failed"):
        replay.replay(came, only_failed=True, actor="ada")
    with pytest.raises(NothingToReplay, match="no such receiver"):
        replay.replay(came, receivers=[], actor="ada")
    with pytest.raises(NothingToReplay, match="a has no result file"):
        replay.replay(came, only_results=True, actor="ada")
    with pytest.raises(InvalidSelection, match="one of"):
        replay.replay(came, receivers=["first"], only_failed=True, actor="ada")
    WebhookDelivery.objects.update(body=None, emptied_by="retention")
    with pytest.raises(PayloadPruned):
        replay.replay(came, actor="ada")

    assert not Replay.objects.exists()
    assert not ReplayedDelivery.objects.exists()


# Result files ---------------------------------------------------------------------------------


class File:
    """A result file at Google, which may have gone by now."""

    def __init__(self) -> None:
        self.content: bytes | None = b'{"key": "a"}\n'

    def describe(self) -> results.types.Description:
        if self.content is None:
            raise ResultError("it is gone", permanent=True)
        return results.types.Description(size=len(self.content))

    def copy_to(self, sink: Any, described: Any, offset: int) -> None:
        sink.write(self.content)


@pytest.fixture
def file(configured: dict[str, Any], settings: Any, tmp_path: Any, monkeypatch: Any) -> File:
    configured["FETCH_RESULTS"] = True
    settings.MEDIA_ROOT = tmp_path
    at_google = File()
    monkeypatch.setattr(fetching, "source_for", lambda *_: at_google)
    return at_google


@pytest.fixture
def reader() -> list[Any]:
    """What a receiver of ``result_ready`` has read."""
    read: list[Any] = []

    def receive(event: Any, result: ResultFile, **_: Any) -> None:
        read.append((event.is_replay, list(result.rows())))

    signals.result_ready.connect(receive, weak=False, dispatch_uid="reader")
    return read


OUTPUT = {"output_file_uri": "gs://bucket/out.jsonl"}


@every_database
@pytest.mark.parametrize("state", ["failed", "removed", "complete", "retrying"])
def test_the_fetch_alone_is_done_again(
    database: str,
    come: Callable[..., list[WebhookDelivery]],
    recorder: Recorder,
    file: File,
    reader: list[Any],
    state: str,
) -> None:
    [came] = come("a", **OUTPUT)
    stored = ResultFile.objects.get()
    before = stored.file.name
    changes: dict[str, Any] = {"state": state, "attempts": 8}
    if state != "complete":
        stored.file.delete(save=False)
        changes["file"] = ""
    if state == "retrying":
        changes["next_attempt_at"] = clock.after(3600)
    ResultFile.objects.update(**changes)
    file.content = b'{"key": "b"}\n{"key": "c"}\n'

    assert replay.replay(came, only_results=True, actor="ada") == []
    processing.drain()

    result = ResultFile.objects.get()
    assert (result.state, result.attempts, int(result.rows)) == ("complete", 1, 2)
    assert result.file.name != before
    assert not result.file.storage.exists(before)
    assert [row["key"] for row in result.rows()] == ["b", "c"]
    # Nobody waited for it, so nobody is told.
    assert len(reader) == 1
    assert names_of(recorder.calls) == []
    assert WebhookDelivery.objects.get().state == "processed"
    assert Replay.objects.get().what == "results"


@sqlite
def test_what_waits_for_the_file_runs_once_it_is_there(
    come: Callable[..., list[WebhookDelivery]], file: File, reader: list[Any]
) -> None:
    [came] = come("a", **OUTPUT)
    ResultFile.objects.update(state="retrying", next_attempt_at=clock.after(3600), file="")
    ReceiverRun.objects.update(state="pending", next_attempt_at=None)
    begun = begin(Selection(ids=(came.pk,)), what="results")
    processing.drain()

    assert len(reader) == 2
    assert log_of(begun) == {"a": ""}


@sqlite
def test_a_dead_reader_has_the_file_fetched_again_if_that_failed(
    come: Callable[..., list[WebhookDelivery]], file: File, reader: list[Any], recorder: Recorder
) -> None:
    file.content = None
    come("a", **OUTPUT)
    assert WebhookDelivery.objects.get().state == "failed"
    file.content = b'{"key": "a"}\n'

    begin(what="failed")
    processing.drain()

    assert reader == [(True, [{"key": "a"}])]
    assert names_of(recorder.calls) == []
    assert WebhookDelivery.objects.get().state == "processed"


@sqlite
def test_a_file_that_is_gone_at_google_is_kept_here(
    come: Callable[..., list[WebhookDelivery]], file: File, reader: list[Any]
) -> None:
    [came] = come("a", **OUTPUT)
    file.content = None
    replay.replay(came, only_results=True, actor="ada")
    processing.drain()

    result = ResultFile.objects.get()
    assert (result.state, result.error, result.size) == ("complete", "it is gone", 13)
    assert [row["key"] for row in result.rows()] == ["a"]


@sqlite
def test_a_storage_that_refuses_the_new_file_keeps_the_old_one(
    come: Callable[..., list[WebhookDelivery]],
    file: File,
    reader: list[Any],
    configured: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [came] = come("a", **OUTPUT)
    storage = ResultFile.objects.get().file.storage
    configured["MAX_ATTEMPTS"] = 1

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(type(storage), "_save", refuse)
    replay.replay(came, only_results=True, actor="ada")
    processing.drain()

    result = ResultFile.objects.get()
    assert result.state == "complete"
    assert "disk full" in result.error
    assert [row["key"] for row in result.rows()] == ["a"]


@sqlite
def test_a_file_that_cannot_be_had_again_leaves_what_is_known_of_the_old_one(
    come: Callable[..., list[WebhookDelivery]],
    file: File,
    reader: list[Any],
    configured: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [came] = come("a", **OUTPUT)
    stored = ResultFile.objects.values("size", "bytes_done", "rows", "finished_at").get()
    configured["MAX_ATTEMPTS"] = 2
    file.content = b'{"key": "b"}\n' * 3

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(type(ResultFile.objects.get().file.storage), "_save", refuse)
    replay.replay(came, only_results=True, actor="ada")
    processing.drain()
    assert ResultFile.objects.get().state == "retrying"
    ResultFile.objects.update(next_attempt_at=clock.now())
    processing.drain()

    assert ResultFile.objects.get().state == "complete"
    assert ResultFile.objects.values(*stored).get() == stored


@sqlite
def test_an_old_file_that_cannot_be_deleted_is_no_obstacle(
    come: Callable[..., list[WebhookDelivery]],
    file: File,
    reader: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    [came] = come("a", **OUTPUT)
    old = ResultFile.objects.get().file

    def refuse(*_: Any) -> None:
        raise OSError(f"{old.name} is locked")

    monkeypatch.setattr(type(old.storage), "delete", refuse)
    replay.replay(came, only_results=True, actor="ada")
    processing.drain()

    assert ResultFile.objects.get().state == "complete"
    assert "not deleted: OSError" in caplog.text
    assert old.name not in caplog.text


@sqlite
def test_a_fetch_that_is_under_way_is_left_alone(
    come: Callable[..., list[WebhookDelivery]], file: File, reader: list[Any]
) -> None:
    [came] = come("a", **OUTPUT)
    ResultFile.objects.update(state="pending", next_attempt_at=clock.now())
    assert claims.take(ResultFile.objects.get().pk)

    with pytest.raises(NothingToReplay, match="is being fetched right now"):
        replay.replay(came, only_results=True, actor="ada")
    begun = begin(what="results")
    processing.drain()
    assert "is being fetched right now" in log_of(begun)["a"]


@sqlite
def test_a_result_that_was_not_fetched_at_the_time_is(
    come: Callable[..., list[WebhookDelivery]], file: File, configured: dict[str, Any]
) -> None:
    configured["FETCH_RESULTS"] = False
    [came] = come("a", **OUTPUT)
    configured["FETCH_RESULTS"] = True

    replay.replay(came, only_results=True, actor="ada")
    processing.drain()

    assert ResultFile.objects.get().state == "complete"


# Asking ---------------------------------------------------------------------------------------


@sqlite
@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"selection": Selection()}, "Say which deliveries"),
        ({"rate": 0}, "A rate is"),
        ({"rate": 100_001}, "A rate is"),
        ({"rate": True}, "A rate is"),
        ({"what": "all"}, "What runs again is one of"),
        ({"what": "receivers"}, "Names of receivers"),
        ({"receivers": ["a"]}, "Names of receivers"),
        ({"what": "receivers", "receivers": "abc"}, "Receivers are"),
        ({"what": "receivers", "receivers": [""]}, "Receivers are"),
        ({"what": "receivers", "receivers": [7]}, "Receivers are"),
        ({"what": "receivers", "receivers": ["a\0"]}, "Receivers are"),
        ({"what": "receivers", "receivers": ["a"] * 101}, "Receivers are"),
        ({"selection": Selection(endpoint="nowhere")}, "There is no endpoint “nowhere”"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], why: str) -> None:
    written.delivery()
    with pytest.raises(InvalidSelection, match=why):
        begin(**{"selection": ALL, **asked})
    assert not Replay.objects.exists()


@sqlite
def test_nothing_to_replay_leaves_nothing_behind() -> None:
    with pytest.raises(NothingToReplay, match="There is no such delivery"):
        begin()
    assert not Replay.objects.exists()


@sqlite
def test_everything_has_to_be_meant(
    come: Callable[..., list[WebhookDelivery]], recorder: Recorder
) -> None:
    come("a", "b")
    assert replay.preview(Selection()).count == 2
    begun = begin(Selection(), everything=True)
    processing.drain()
    assert (begun.total, again(begun).replayed) == (2, 2)


@every_database
def test_a_preview_says_how_many_and_which(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(number: int) -> datetime:
        return datetime(2026, 11, 20, number, tzinfo=UTC)

    came = [
        written.delivery(number, received_at=clock.for_database(at(number)))
        for number in range(1, 8)
    ]
    WebhookDelivery.objects.filter(pk=came[0].pk).update(
        body=None, emptied_at=clock.now(), emptied_by="retention"
    )

    found = replay.preview(ALL)
    assert (found.count, found.at_least, found.without_body) == (7, False, 1)
    assert (found.oldest, found.newest) == (at(1), at(7))
    assert found.sample == tuple((one.pk, one.webhook_id) for one in reversed(came[2:]))

    monkeypatch.setattr(replay, "CEILING", 3)
    found = replay.preview(ALL)
    assert (found.count, found.at_least) == (3, True)
    nothing = replay.preview(Selection(states=("unreadable",)))
    assert (nothing.count, nothing.oldest, nothing.newest, nothing.sample) == (0, None, None, ())


# Retention ------------------------------------------------------------------------------------


@every_database
def test_ended_replays_go_with_the_last_of_their_deliveries(
    database: str, configured: dict[str, Any]
) -> None:
    configured["RETENTION_DAYS"] = {
        "payloads": None, "deliveries": 30, "results": None, "rejections": None,
    }  # fmt: skip
    old = clock.after(-31 * 24 * 3600)
    gone, kept = written.delivery(1, received_at=old), written.delivery(2)
    made: dict[str, Replay] = {}
    for name, of, state, ended in [
        ("gone", gone, "finished", old),
        ("stopped", gone, "stopped", old),
        ("kept", kept, "finished", old),
        ("new", gone, "finished", clock.now()),
        ("running", gone, "running", None),
    ]:
        made[name] = Replay.objects.create(
            what="everything", actor=name, state=state, finished_at=ended
        )
        ReplayedDelivery.objects.create(replay=made[name], delivery=of)

    assert retention.count().replays == 2
    assert retention.prune().replays == 2
    assert set(Replay.objects.values_list("actor", flat=True)) == {"kept", "new", "running"}


@every_database
def test_an_erasure_forgets_who_was_selected(database: str, configured: dict[str, Any]) -> None:
    asked = {
        "same": {"metadata": {"tenant": "acme", "n": "1"}},
        "running": {"metadata": {"tenant": "acme"}},
        "other value": {"metadata": {"tenant": "bolt"}},
        "other path": {"metadata": {"customer.tenant": "acme"}},
        "none": {"states": ["failed"]},
    }
    for name, selection in asked.items():
        is_running = name == "running"
        Replay.objects.create(
            what="everything",
            actor=name,
            selection=selection,
            state="running" if is_running else "finished",
            next_step_at=clock.after(60) if is_running else None,
        )

    retention.erase(retention.about_resource("batches/acme"), actor="eve")
    assert Replay.objects.filter(selection={}).count() == 0
    retention.erase(retention.with_metadata("tenant=acme"), actor="eve")

    blank = {one.actor: (one.state, one.stopped_by) for one in Replay.objects.filter(selection={})}
    assert blank == {"same": ("finished", ""), "running": ("stopped", "eve")}
