"""CPU of handling one delivery, by part."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.costs import processes
from benchmarks.costs.site import MICRO, Site, wait, worker
from benchmarks.costs.structure import Structure
from benchmarks.simulation.costs import Rules, Step, Work

#: Event types of :mod:`benchmarks.site.receivers`, by what the work is called.
TYPES = {"one receiver": "batch.succeeded", "five receivers": "interaction.completed"}

STORE = """
import sys
from datetime import UTC, datetime
from gemini_webhooks import events
from gemini_webhooks.deliveries import record
from gemini_webhooks.verification import VerifiedRequest
prefix, number, event_type = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for n in range(number):
    body = (
        '{"type": "%s", "version": "v1", "timestamp": "2026-01-22T12:00:00Z", "data": {"id": '
        '"%s_%d", "output_file_uri": "gs://my-bucket/results.jsonl"}}' % (event_type, prefix, n)
    ).encode()
    verified = VerifiedRequest(webhook_id=f"msg_{prefix}_{n}", body=body, signing="hmac")
    record(verified, events.parse(verified), endpoint_id=None, received_at=datetime.now(UTC),
           hand_off_now=True, headers={})
"""
PUBLISH = """
from benchmarks.site.celery import app
from gemini_webhooks.dispatch import messages
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.processing import Handoff
ids = WebhookDelivery.objects.filter(state="received").order_by("pk").values_list("pk", flat=True)
messages.publish([Handoff(kind="delivery", id=one) for one in ids], app=app)
"""
PUBLISH_BARE = """
import sys
from benchmarks.site.celery import insert
for n in range(int(sys.argv[1])):
    insert.delay(f"msg_{n}")
"""
DONE = "SELECT count(*) FROM gemini_webhooks_webhookdelivery WHERE state = 'processed'"
BARE_DONE = "SELECT count(*) FROM bench_event"


#: In these the children learn how quick the receivers are: one of each receiver with each message.
WARM_UP = 800
#: As many as there are cores, which are all busy then; see :mod:`benchmarks.costs.receiving`.
CHILDREN = 2
#: Seconds; see :mod:`benchmarks.costs.budget`.
ALL, NONE = "inf", "0"


def measure(
    site: Site, structures: dict[str, Structure], rules: Rules, *, number: int
) -> dict[str, Work]:
    """With one receiver, with five, and of a bare task."""
    found = {}
    for name, structure in structures.items():
        here, handed_on = (_handled(site, name, number, budget=budget) for budget in (ALL, NONE))
        # The other way takes one message more for each run.
        message = {
            part: max(0.0, handed_on[part] - here[part]) / number / structure.runs
            for part in ("child", "database")
        }
        sent = number / rules.pack
        found[name] = Work(
            child=here["child"] / number - message["child"] / rules.pack,
            database=here["database"] / number - message["database"] / rules.pack,
            message_child=message["child"],
            message_database=message["database"],
            main=(handed_on["main"] + here["main"]) / (2 * sent + number * structure.runs),
            runs=structure.runs,
            plan=structure.plan,
            inline=structure.inline,
            alone=structure.alone,
        )
    bare = sorted((_bare_task(site, number) for _ in range(3)), key=lambda work: work.database)
    return {**found, "bare task": bare[1]}  # mostly new connections, which differ most


def _handled(site: Site, name: str, number: int, *, budget: str) -> dict[str, float]:
    site.empty()
    prefix, event_type = name.replace(" ", "_"), TYPES[name]
    with worker(site, count=CHILDREN, budget=budget) as main:
        site.python(STORE, f"{prefix}_warm", str(WARM_UP), event_type)
        site.python(PUBLISH)
        wait(lambda: site.number(DONE) >= WARM_UP, "the worker does not begin")
        site.python(STORE, prefix, str(number), event_type)
        return _spent(site, main, PUBLISH, DONE, WARM_UP + number)


def _bare_task(site: Site, number: int) -> Work:
    site.empty()
    with worker(site, count=CHILDREN) as main:
        time.sleep(3)  # until it has begun to ask the broker
        spent = _spent(site, main, PUBLISH_BARE, BARE_DONE, number)
    return Work(
        child=spent["child"] / number,
        database=spent["database"] / number,
        message_child=0,
        message_database=0,
        main=spent["main"] / number,
        runs=0,
        plan=Step(round_trips=1, commits=1),
        inline=Step(round_trips=0, commits=0),
        alone=Step(round_trips=0, commits=0),
    )


def _spent(site: Site, main: int, publish: str, done: str, number: int) -> dict[str, float]:
    """Microseconds of each part, until so many are done."""
    parts: processes.Parts = {
        "main": lambda: processes.cpu([main]),
        "child": lambda: processes.cpu(processes.children(main)),
        "database": partial(processes.database, site.database),
    }
    time.sleep(0.5)  # until what was before is acknowledged
    before = processes.read(parts)
    site.python(publish, str(number))
    wait(lambda: site.number(done) >= number, "the worker does not get on")
    time.sleep(0.5)
    spent = processes.since(before, parts)
    return {part: used * MICRO for part, used in spent.items()}
