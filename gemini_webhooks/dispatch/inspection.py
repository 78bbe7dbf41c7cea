"""Looks at the broker, the workers and the schedule, in a bounded time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from typing import Any, TypeVar

from celery import Celery
from kombu import Connection

from gemini_webhooks.dispatch import messages

Value = TypeVar("Value")

#: How long Celery collects answers of workers, in seconds.
REPLY_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Broker:
    """The broker, as this process has it.

    Attributes:
        name: transport and host, never a login.
        is_the_sites: a Celery app of the site is loaded; otherwise it is Celery's default broker.
        is_eager: tasks run where they are called, and no broker is used.
        is_in_memory: messages do not leave this process.
        error: why it does not answer; empty if it does, or is not used.
    """

    name: str
    is_the_sites: bool
    is_eager: bool
    is_in_memory: bool
    error: str


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A running worker.

    Attributes:
        name: its node name.
        tasks: names of the tasks that it knows.
        queues: names of the queues that it takes messages from.
    """

    name: str
    tasks: frozenset[str]
    queues: frozenset[str]


def broker(seconds: float) -> Broker:
    """Connect to the broker, waiting no longer than ``seconds``."""
    app = messages.site_app()

    def connect() -> None:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=math.ceil(seconds))

    is_used = app.main != "default" and not app.conf.task_always_eager
    error = ""
    try:
        if is_used:
            _bounded(connect, seconds)
    except NotInTime:
        error = f"no answer within {seconds:g} s"
    except Exception as raised:  # noqa: BLE001  # every transport has errors of its own
        error = type(raised).__name__
    transport, host = _address(app)
    return Broker(
        name=f"{transport} at {host}" if host else transport,
        is_the_sites=app.main != "default",
        is_eager=bool(app.conf.task_always_eager),
        is_in_memory=transport == "memory",
        error=error,
    )


def workers() -> list[Worker]:
    """The workers that answer within a few seconds; none if remote control is off."""
    app = messages.site_app()
    try:
        return _bounded(lambda: _workers(app), 4 * REPLY_SECONDS)
    except Exception:  # noqa: BLE001  # a broker that went away, or that knows no remote control
        return []


def queue_of(task: str) -> str:
    """The queue that messages for ``task`` go to unless a receiver asks for another one."""
    route: dict[str, Any] = messages.site_app().amqp.router.route({}, task)
    queue = route.get("queue")
    return str(getattr(queue, "name", queue) or messages.site_app().conf.task_default_queue)


def scheduled() -> set[str]:
    """Names of the tasks in Celery's ``beat_schedule``."""
    entries: Iterable[Any] = (messages.site_app().conf.beat_schedule or {}).values()
    return {str(entry.get("task")) for entry in entries if isinstance(entry, dict)}


def _workers(app: Celery) -> list[Worker]:
    names = list(app.control.inspect(timeout=REPLY_SECONDS).ping() or {})
    if not names:
        return []
    # Ends as soon as all of them have answered.
    ask = app.control.inspect(destination=names, timeout=REPLY_SECONDS, limit=len(names))
    tasks: dict[str, Any] = ask.registered() or {}
    queues: dict[str, Any] = ask.active_queues() or {}
    return [
        Worker(
            name=name,
            # Rate limits follow the name.
            tasks=frozenset(str(task).split(" ", 1)[0] for task in tasks.get(name) or ()),
            queues=frozenset(str(queue["name"]) for queue in queues.get(name) or ()),
        )
        for name in sorted(names)
    ]


def _address(app: Celery) -> tuple[str, str]:
    try:
        connection: Connection = app.connection_for_write()
        transport, host = str(connection.transport_cls), str(connection.hostname or "")
        connection.release()
    except Exception:  # noqa: BLE001  # a URL that cannot be read
        return "unknown transport", ""
    # Some transports keep the whole URL, with its password, in the place of the host.
    return transport, "" if {"/", "@"} & set(host) else host


def _bounded(work: Callable[[], Value], seconds: float) -> Value:
    """Do ``work`` in a thread: some transports wait for ever.

    Raises:
        concurrent.futures.TimeoutError: it is not done in time, and goes on in the background.
    """
    done: Future[Value] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001  # raised again where the result is awaited
            done.set_exception(error)

    threading.Thread(target=run, name="gemini-inspection", daemon=True).start()
    return done.result(timeout=seconds)
