"""What handling asks of database and broker, counted: statements, commits, messages."""

from __future__ import annotations

import json
from dataclasses import dataclass

from benchmarks.costs.site import Site
from benchmarks.simulation.costs import Step

#: Works off deliveries in one process, through a broker in its memory, and prints what each kind
#: of message had it do.
COUNT = """
import json, sys
from datetime import UTC, datetime
from django.db import connection, reset_queries
from benchmarks.site.celery import app
from gemini_webhooks import events
from gemini_webhooks.deliveries import record
from gemini_webhooks.dispatch import messages
from gemini_webhooks.processing import Handoff
from gemini_webhooks.verification import VerifiedRequest

app.conf.broker_url = "memory://"
number, event_type = int(sys.argv[1]), sys.argv[2]

def stored(n):
    body = json.dumps({"type": event_type, "data": {"id": "job_%d" % n}}).encode()
    verified = VerifiedRequest(webhook_id="structure_%s_%d" % (event_type, n), body=body,
                               signing="hmac")
    return record(verified, events.parse(verified), endpoint_id=None,
                  received_at=datetime.now(UTC), hand_off_now=True, headers={}).delivery_id

def waits_for_the_disk(queries):
    writes, count = False, 0
    inside = False
    for query in queries:
        word = query["sql"].lstrip("( ").split(None, 1)[0].upper()
        if word == "BEGIN":
            inside, writes = True, False
        elif word in ("COMMIT", "ROLLBACK"):
            count += writes and word == "COMMIT"
            inside, writes = False, False
        elif word in ("INSERT", "UPDATE", "DELETE", "WITH") or "FOR UPDATE" in query["sql"]:
            writes = True
            count += not inside
    return int(count)

connection.force_debug_cursor = True
steps = {"first": [], "later": []}
sizes = []
# Twice: the first round opens connections and fills caches.
for start in (0, number):
    ids = [stored(n) for n in range(start, start + number)]
    messages.publish([Handoff(kind="delivery", id=one) for one in ids], app=app)
    steps = {"first": [], "later": []}
    sizes = []
    begun = 0
    packs = None
    with app.connection_for_read() as broker:
        queue = broker.SimpleQueue(app.conf.task_default_queue)
        packs = queue.qsize()
        while queue.qsize():
            message = queue.get(block=False)
            arguments = message.payload[0]
            sizes.append(len(message.body) + len(json.dumps(message.headers)))
            task = app.tasks[message.headers["task"]]
            connection.queries_log.clear()
            task(*arguments)
            queries = list(connection.queries_log)
            kind = "first" if begun < packs else "later"
            steps[kind].append((len(queries), waits_for_the_disk(queries)))
            begun += 1
            message.ack()
        queue.close()
print(json.dumps({"packs": packs, "first": steps["first"], "later": steps["later"],
                  "bytes": sizes[0]}))
"""
NUMBER = 20


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Counts of one delivery; see :class:`~benchmarks.simulation.costs.Work`.

    Attributes:
        message: bytes of the message that is sent on receipt.
    """

    pack: int
    first: Step
    later: Step
    follow_ups: int
    message: float


def count(site: Site, event_type: str) -> Structure:
    """What deliveries of this type have workers do."""
    found = json.loads(site.python(COUNT, str(NUMBER), event_type))
    later = found["later"]
    return Structure(
        pack=NUMBER // found["packs"],
        first=_step(found["first"], NUMBER),
        later=_step(later, max(1, len(later))),
        follow_ups=round(len(later) / NUMBER),
        message=found["bytes"],
    )


def _step(counted: list[list[int]], number: int) -> Step:
    return Step(
        round_trips=sum(trips for trips, _ in counted) / number,
        commits=sum(commits for _, commits in counted) / number,
    )
