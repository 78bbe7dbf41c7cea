"""CPU of handling one delivery, by part."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.costs import processes
from benchmarks.costs.site import MICRO, Site, wait, worker
from benchmarks.costs.structure import Structure
from benchmarks.simulation.costs import Step, Work

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


def measure(site: Site, structures: dict[str, Structure], *, number: int) -> dict[str, Work]:
    """With one receiver, with five, and of a bare task."""
    found = {}
    for name, event_type in TYPES.items():
        structure = structures[name]
        site.empty()
        site.python(STORE, name.replace(" ", "_"), str(number), event_type)
        spent = _spent(site, PUBLISH, number)
        sent = number * (1 / structure.pack + structure.follow_ups)
        found[name] = Work(
            child=spent["child"] / number,
            main=spent["main"] / sent,
            database=spent["database"] / number,
            pack=structure.pack,
            first=structure.first,
            later=structure.later,
            follow_ups=structure.follow_ups,
        )
    site.python(
        "from django.db import connection; connection.cursor().execute('DELETE FROM bench_event')"
    )
    site.empty()
    spent = _spent(site, PUBLISH_BARE, number, bare=True)
    found["bare task"] = Work(
        child=spent["child"] / number,
        main=spent["main"] / number,
        database=spent["database"] / number,
        pack=1,
        first=Step(round_trips=1, commits=1),
        later=Step(round_trips=0, commits=0),
        follow_ups=0,
    )
    return found


def _spent(site: Site, publish: str, number: int, *, bare: bool = False) -> dict[str, float]:
    """Microseconds of each part for all of them."""
    with worker(site) as main:
        time.sleep(3)  # until it has begun to ask the broker
        parts: processes.Parts = {
            "main": lambda: processes.cpu([main]),
            "child": lambda: processes.cpu(processes.children(main)),
            "database": partial(processes.database, site.database),
        }
        before, done = processes.read(parts), BARE_DONE if bare else DONE
        site.python(publish, str(number))
        wait(lambda: site.number(done) >= number, "the worker does not get on")
        time.sleep(0.5)  # until the last one is acknowledged
        spent = processes.since(before, parts)
    return {part: used * MICRO for part, used in spent.items()}
