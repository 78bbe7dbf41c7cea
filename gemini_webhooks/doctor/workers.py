"""Celery: the broker, the workers and their queues, the schedule, and what waits for them."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps

from gemini_webhooks import clock
from gemini_webhooks.conf import works_itself
from gemini_webhooks.deliveries import rows, untaken
from gemini_webhooks.dispatch import inspection, messages
from gemini_webhooks.doctor.findings import Finding, failure, ok, warning
from gemini_webhooks.doctor.receiving import connected
from gemini_webhooks.doctor.site import Site, Unreadable
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.schedule import beat_schedule

BROKER_SECONDS = 5.0
WAITING_SECONDS = 300.0
SWEEP = "gemini_webhooks.tasks.sweep"
SCHEDULE = "app.conf.beat_schedule = {**gemini_webhooks.beat_schedule()}"
WITHOUT = "Until then nothing is lost: `manage.py gemini_webhooks drain` processes what came."


def broker(site: Site) -> Iterator[Finding]:
    """The broker answers, and workers take from the right queues."""
    del site
    if works_itself():
        yield ok("broker", "None is needed: `runserver --with-worker` runs receivers itself.")
        return
    found = inspection.broker(BROKER_SECONDS)
    if found.is_eager:
        yield warning(
            "broker",
            "CELERY_TASK_ALWAYS_EAGER is on: receivers run within the request, and Google waits.",
            "Leave it out, except in tests.",
        )
        return
    if not found.is_the_sites:
        yield failure(
            "broker",
            "No Celery app of this site is loaded, so messages go to Celery's default broker.",
            "Import the app in the project's __init__.py: "
            "from mysite.celery import app as celery_app.",
        )
        return
    if found.error:
        yield failure(
            "broker",
            f"The broker ({found.name}) does not answer: {found.error}.",
            f"{_mended(found.error)} {WITHOUT}",
        )
        return
    if found.is_in_memory:
        yield warning(
            "broker",
            "Messages stay in the memory of the process that sends them; no worker gets them.",
            f"Set CELERY_BROKER_URL to a real broker. {WITHOUT}",
        )
        return
    yield ok("broker", f"It answers ({found.name}).")
    yield from _workers()


def beat(site: Site) -> Iterator[Finding]:
    """The sweep is scheduled; whether beat runs cannot be seen from here."""
    del site
    if works_itself():
        yield ok(
            "beat",
            "None is needed: `runserver --with-worker` sweeps. `reconcile` and `prune` are yours "
            "to call.",
        )
        return
    scheduled = inspection.scheduled() | _in_the_database()
    absent = [entry["task"] for entry in beat_schedule().values() if entry["task"] not in scheduled]
    if SWEEP in absent:
        yield warning(
            "beat",
            "No sweep is scheduled: what a broker or a worker lost waits until somebody sweeps.",
            f"In the Celery app: {SCHEDULE}; and run `celery beat`. Or run "
            "`manage.py gemini_webhooks sweep` by cron.",
        )
    elif absent:
        yield warning("beat", f"Not scheduled: {', '.join(absent)}.", f"{SCHEDULE} has them all.")
    else:
        yield ok("beat", f"{len(beat_schedule())} tasks are scheduled; a beat process has to run.")


def backlog(site: Site) -> Iterator[Finding]:
    """Nothing has been waiting for long."""
    del site
    try:
        waiting = _waiting()
    except Exception as error:  # noqa: BLE001  # without a database, or with half of one
        raise Unreadable(f"the deliveries cannot be read: {type(error).__name__}") from None
    if waiting:
        yield warning(
            "backlog",
            f"{waiting} deliveries have been waiting for more than {WAITING_SECONDS / 60:.0f} "
            "minutes: no worker takes them up, and nobody sweeps.",
            "Start worker and beat, then `manage.py gemini_webhooks sweep`; or `drain` does it.",
        )
    else:
        yield ok("backlog", "No delivery has been waiting for long.")


def _mended(error: str) -> str:
    if error in (ImportError.__name__, ModuleNotFoundError.__name__):
        return (
            "Install what Celery needs for this kind of broker, such as pip install "
            "'celery[redis]' or 'celery[sqs]'."
        )
    return "Start it, or correct CELERY_BROKER_URL."


def _waiting() -> int:
    return (
        untaken(rows(WebhookDelivery)).filter(received_at__lt=clock.after(-WAITING_SECONDS)).count()
    )


def _workers() -> Iterator[Finding]:
    running = inspection.workers()
    if not running:
        yield warning(
            "workers",
            "No worker answers.",
            "Start one: `celery -A mysite worker`. One that has remote control switched off, or a "
            f"broker without it (SQS), looks the same. {WITHOUT}",
        )
        return
    ours = {*messages.TASKS.values(), *(entry["task"] for entry in beat_schedule().values())}
    queues = {inspection.queue_of(task) for task in ours}
    ignorant = [
        worker.name for worker in running if worker.queues & queues and not ours <= worker.tasks
    ]
    if ignorant:
        yield failure(
            "workers",
            f"{', '.join(ignorant)} takes our messages but does not know our tasks: it drops them.",
            "Restart it with this version of the site, call app.autodiscover_tasks(), or give it "
            "queues of its own if it belongs to another project.",
        )
    else:
        names = ", ".join(worker.name for worker in running)
        yield ok("workers", f"{len(running)} answer(s): {names}.")
    yield from _queues(running, queues)


def _queues(running: list[inspection.Worker], needed: set[str]) -> Iterator[Finding]:
    asked_for = {receiver.queue for receiver in connected() if receiver.queue}
    taken = frozenset[str]().union(*(worker.queues for worker in running))
    idle = sorted((needed | asked_for) - taken)
    if idle:
        yield warning(
            "queues",
            f"No worker takes from {', '.join(idle)}.",
            f"Start one with --queues {','.join(idle)}, or change the receivers' queue.",
        )
    else:
        yield ok("queues", f"Workers take from {', '.join(sorted(needed | asked_for))}.")


def _in_the_database() -> set[str]:
    """What ``django-celery-beat`` has in its table, if the site uses that."""
    if not apps.is_installed("django_celery_beat"):
        return set()
    entries = apps.get_app_config("django_celery_beat").get_model("PeriodicTask")._default_manager
    return set(entries.filter(enabled=True).values_list("task", flat=True))
