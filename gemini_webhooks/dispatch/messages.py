"""Messages to Celery: which task does what, in which app, and how they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from celery import Celery, Task, current_task
from django.core.signals import setting_changed
from django.dispatch import receiver
from kombu.exceptions import OperationalError

from gemini_webhooks import celery_app, observe
from gemini_webhooks.exceptions import BrokerUnavailable
from gemini_webhooks.processing import Handoff

#: Names of the tasks in ``gemini_webhooks.tasks``.
TASKS = {
    "delivery": "gemini_webhooks.tasks.dispatch",
    "run": "gemini_webhooks.tasks.run_receiver",
    "result": "gemini_webhooks.tasks.fetch_result",
    "replay": "gemini_webhooks.tasks.advance_replay",
}

#: What is due later than this is left to the sweeper: a broker takes a message that a worker
#: holds back for long for lost (RabbitMQ after 30 minutes), and gives it to another one.
MAX_COUNTDOWN_SECONDS = 900

#: Taking one into processing is quick, so a message costs more than it; but they shall not all
#: wait for one worker.
DELIVERIES_PER_MESSAGE = 50

#: A turn that has waited for so long behind other messages is no longer wanted: those are what
#: the workers are busy with, and the schedule goes on anyhow.
TURN_SECONDS = 25

#: What a task may have of its own on where and how its messages are sent.
_WAYS = ("queue", "exchange", "routing_key", "priority", "expires")

site_app = celery_app.site_app

#: Steps of replays that an eager app has still to take.
_steps: ContextVar[deque[Handoff] | None] = ContextVar("gemini_webhooks_steps", default=None)


def is_eager(app: Celery) -> bool:
    """Whether tasks are executed where they are called.

    Celery looks through all its sources for each question, which is remembered until Django's
    settings are changed. What is changed in Celery's own comes first.
    """
    changed = (app.conf.changes or {}).get("task_always_eager")
    return _is_eager(app, id(app.conf)) if changed is None else bool(changed)


@lru_cache(maxsize=8)
def _is_eager(app: Celery, _configuration: int) -> bool:
    return bool(app.conf.task_always_eager)


@receiver(setting_changed)
def _ask_again(**_: object) -> None:
    _is_eager.cache_clear()


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The message that a worker took; a task that is called as a function has none.

    Attributes:
        address: exchange and routing key; empty without a message, or in an eager app.
        came_before: to somebody who did not come to its end.
        limits: how long the task may take, as Celery has it.
    """

    address: tuple[str, str] = ("", "")
    came_before: bool = False
    limits: tuple[object, ...] = ()

    def comes_here(self, run: Handoff) -> bool:
        """Whether a message for ``run`` would come the same way, to a task of the same limits."""
        exchange, queue = self.address
        if not queue or run.kind != "run":
            return False
        app = site_app()
        task = app.tasks[TASKS["run"]]
        if task.rate_limit or _limits(task) != self.limits:
            return False
        asked = {name: getattr(task, name, None) for name in _WAYS}
        asked["queue"] = run.queue or asked["queue"]
        asked = {name: value for name, value in asked.items() if value is not None}
        way = dict(app.amqp.router.route(asked, task.name, (run.id,), {}, task))  # type: ignore[arg-type]  # the stubs want a class
        target = getattr(way.pop("queue", None), "name", "")
        # By its name alone, as without any settings for queues; any other way is its own.
        return not way and (exchange, queue) == ("", target)


@contextmanager
def taken() -> Iterator[Taken]:
    """Around a task: what is done because of the message that a worker took."""
    if not current_task or current_task.request.called_directly:  # type: ignore[truthy-bool]  # a proxy, of None at times
        yield Taken()
        return
    request = current_task.request
    way = request.delivery_info or {}
    queue = str(way.get("routing_key") or "")
    # Headers are attributes of the request, but a mapping where the task runs eagerly.
    headers = {**(request.headers or {}), **vars(request)}
    message = Taken(
        address=(str(way.get("exchange") or ""), "" if request.is_eager else queue),
        came_before=bool(way.get("redelivered")),
        limits=_limits(current_task),
    )
    with observe.message(current_task.name, queue, str(request.id), headers):
        yield message


def _limits(task: Task[Any, Any]) -> tuple[object, ...]:
    return task.time_limit, task.soft_time_limit


def take_another_turn() -> None:
    """Have the task that is being executed come again, behind the messages that wait now.

    A task that is called as a function, or executed eagerly, does not come again.

    Raises:
        BrokerUnavailable: the schedule repeats it later.
    """
    if not current_task or current_task.request.called_directly or current_task.request.is_eager:  # type: ignore[truthy-bool]  # a proxy, of None at times
        return
    request = current_task.request
    arguments = tuple(request.args or ()), dict(request.kwargs or {})
    try:
        current_task.apply_async(*arguments, expires=TURN_SECONDS)
    except OperationalError as error:
        raise _unavailable(error) from None


def publish(
    handoffs: Iterable[Handoff],
    *,
    app: Celery | None = None,
    retry: bool = True,
    detached: bool = False,
) -> None:
    """Send a message for each that is due soon.

    Args:
        handoffs: what is to be done next.
        app: the Celery app; :func:`site_app` by default.
        retry: try again, as Celery's ``task_publish_retry_policy`` says, if the broker is down.
        detached: nothing that goes on here is the reason for it: its trace is its own.

    Raises:
        BrokerUnavailable: the sweeper repeats it later.
    """
    site = app or site_app()
    try:
        for one, ids in _packed(_in_turn(handoffs, eager=is_eager(site))):
            if one.delay > MAX_COUNTDOWN_SECONDS:
                continue
            task = TASKS[one.kind]
            queue = one.queue or str(site.conf.task_default_queue)
            options: dict[str, Any] = {"queue": one.queue, "countdown": one.delay or None}
            with observe.sending(task, queue, detached=detached) as sent:
                options["headers"] = sent.headers or None
                result = site.tasks[task].apply_async(ids, retry=retry, **options)
                sent.message_id = result.id
    except OperationalError as error:
        raise _unavailable(error) from None


def _unavailable(error: OperationalError) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"Celery's broker does not take messages ({type(error).__name__}); "
        "`manage.py gemini_webhooks drain` works without it"
    )


def _packed(handoffs: Iterable[Handoff]) -> Iterator[tuple[Handoff, tuple[int, ...]]]:
    """What one message is sent for: a few deliveries, or one of anything else."""
    pack: list[Handoff] = []
    # A message carries one trace on.
    size = 1 if observe.is_traced() else DELIVERIES_PER_MESSAGE
    for handoff in handoffs:
        if handoff.kind != "delivery":
            yield handoff, (handoff.id,)
            continue
        pack.append(handoff)
        if len(pack) == size:
            yield handoff, tuple(one.id for one in pack)
            pack = []
    if pack:
        yield pack[0], tuple(one.id for one in pack)


def _in_turn(handoffs: Iterable[Handoff], *, eager: bool) -> Iterator[Handoff]:
    """In an eager app the next step of a replay comes after this one instead of within it."""
    if not eager:
        yield from handoffs
        return
    outer = _steps.get()
    steps: deque[Handoff] = deque() if outer is None else outer
    token = _steps.set(steps)
    try:
        for handoff in handoffs:
            if handoff.kind == "replay":
                steps.append(handoff)
            else:
                yield handoff
        while outer is None and steps:
            yield steps.popleft()
    finally:
        _steps.reset(token)
