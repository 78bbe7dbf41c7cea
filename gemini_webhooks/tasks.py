"""Celery tasks: shells. They take ids and may run twice without harm.

Processes that run none register them too: what a task needs, it imports itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import Any

from celery import shared_task
from celery.signals import worker_init

from gemini_webhooks import logs

logger = logs.get_logger(__name__)

# Late acknowledgement: a message whose worker died comes again. Claims in the database, not
# messages, decide who runs what, so a message that comes twice does nothing the second time.
_task = partial(shared_task, acks_late=True, reject_on_worker_lost=True, ignore_result=True)

NEEDED = ("dispatch", "failures", "processing", "reconcile", "registration", "retention", "trends")


@worker_init.connect
def import_all(**_: Any) -> None:
    """Before a worker forks, so that its children share what is imported and no task waits."""
    for name in NEEDED:
        import_module(f"gemini_webhooks.{name}")


@_task()
def dispatch(*delivery_ids: int) -> None:
    """Take stored deliveries into processing, run what is quick, and start the other runs."""
    from gemini_webhooks import processing
    from gemini_webhooks.dispatch import messages

    with messages.taken() as message:
        found = processing.plan_all(
            delivery_ids, comes_here=message.comes_here, again=message.came_before
        )
        messages.publish(found)


@_task()
def run_receiver(run_id: int) -> None:
    """Run one receiver of one delivery."""
    from gemini_webhooks import processing
    from gemini_webhooks.dispatch import messages

    with messages.taken():
        messages.publish(processing.run(run_id))


@_task()
def fetch_result(result_id: int) -> None:
    """Fetch one result file."""
    from gemini_webhooks import processing
    from gemini_webhooks.dispatch import messages

    with messages.taken():
        messages.publish(processing.fetch_result(result_id))


@_task()
def advance_replay(replay_id: int) -> None:
    """Take one step of a bulk replay."""
    from gemini_webhooks import processing
    from gemini_webhooks.dispatch import messages

    with messages.taken():
        messages.publish(processing.advance(replay_id))


@_task()
def sweep(limit: int = 500, *, everything: bool = False) -> dict[str, int]:
    """Hand on what was lost on the way. Returns how much of each kind.

    Where there is more than ``limit``, it comes again once the workers have begun with these.
    """
    from gemini_webhooks import processing
    from gemini_webhooks.dispatch import messages

    swept = processing.sweep(limit, everything=everything)
    messages.publish(swept.handoffs, detached=True)
    counts = dict.fromkeys(messages.TASKS, 0) | Counter(each.kind for each in swept.handoffs)
    if max(counts.values()) >= limit and not everything:  # else it would find the same again
        messages.take_another_turn()
    return {**counts, "settled": swept.settled}


@_task()
def reconcile(
    limit: int = 100, *, discover: bool = False, api_key_name: str | None = None
) -> dict[str, Any]:
    """Ask Google about jobs whose event is overdue. Returns what was found."""
    from gemini_webhooks import reconcile as reconciliation

    report = reconciliation.reconcile(limit, discover=discover, api_key_name=api_key_name)
    return asdict(report)


@_task()
def prune(limit: int | None = None, *, seconds: float = 300) -> dict[str, Any]:
    """Remove what is older than ``RETENTION_DAYS`` says. Returns how much of each kind."""
    from gemini_webhooks import retention

    return asdict(retention.prune(limit=limit, seconds=seconds))


@_task()
def tell_failures() -> None:
    """E-mail those whom ``FAILURE_EMAILS`` names about what has failed for good, if it is time."""
    from gemini_webhooks import failures

    failures.digest()


@_task()
def roll_up(seconds: float = 30) -> dict[str, Any]:
    """Count what came in and changed, for the dashboard. Returns how much was to be done."""
    from gemini_webhooks import trends

    return asdict(trends.roll_up(seconds=seconds))


@_task()
def sync_endpoints() -> None:
    """Compare the endpoints of every project with Google; differences are logged."""
    from gemini_webhooks import registration

    for compared in registration.sync_all():
        for level, trouble in compared.troubles():
            logger.log(level, "%s", trouble)
