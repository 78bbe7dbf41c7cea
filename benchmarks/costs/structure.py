"""What handling asks of database and broker, counted: statements, commits, bytes of a message."""

from __future__ import annotations

import json
from dataclasses import dataclass

from benchmarks.costs.site import Site
from benchmarks.simulation.costs import Rules, Step

#: Plans deliveries and runs their receivers, in one process, with the three ways apart.
COUNT = """
import json, sys
from datetime import UTC, datetime
from django.db import connection
from benchmarks.site.celery import app
from gemini_webhooks import events, processing
from gemini_webhooks.deliveries import record
from gemini_webhooks.dispatch import messages
from gemini_webhooks.processing import passing
from gemini_webhooks.verification import VerifiedRequest

number, event_type = int(sys.argv[1]), sys.argv[2]
passing.BUDGET_SECONDS = float("inf")

def stored(name):
    found = []
    for n in range(number):
        body = json.dumps({"type": event_type, "data": {"id": "job_%d" % n}}).encode()
        verified = VerifiedRequest(webhook_id="structure_%s_%s_%d" % (event_type, name, n),
                                   body=body, signing="hmac")
        found.append(record(verified, events.parse(verified), endpoint_id=None,
                            received_at=datetime.now(UTC), hand_off_now=True,
                            headers={}).delivery_id)
    return found

def waits_for_the_disk(queries):
    count, inside, writes = 0, False, False
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

def counted(do):
    connection.queries_log.clear()
    result = do()
    queries = list(connection.queries_log)
    return result, len(queries), waits_for_the_disk(queries)

def in_one_go(ids):
    return list(processing.plan_all(ids, comes_here=lambda _: True))

connection.force_debug_cursor = True
# Opens connections, fills caches, and learns that the receivers are quick.
turn = 0
while in_one_go(stored("learn%d" % turn)):
    turn += 1
    assert turn < 20, "the receivers are not quick"
stored_ids = stored("together")
together, *inline = counted(lambda: in_one_go(stored_ids))
assert not together, "not all was run"
stored_ids = stored("alone")
handoffs, *plan = counted(lambda: list(processing.plan_all(stored_ids)))
_, *alone = counted(lambda: [processing.run(one.id) for one in handoffs])
print(json.dumps({
    "runs": len(handoffs) / number, "inline": inline, "plan": plan, "alone": alone,
}))
"""
RULES = """
import json
from gemini_webhooks.dispatch import messages, publisher
from gemini_webhooks.processing import passing
print(json.dumps({
    "gather": publisher.GATHER_SECONDS * 1e6, "busy_gather": publisher.BUSY_SECONDS * 1e6,
    "many": publisher.MANY, "still_many": publisher.STILL_MANY,
    "pack": messages.DELIVERIES_PER_MESSAGE, "budget": passing.BUDGET_SECONDS * 1e6,
}))
"""
#: A message with as many deliveries as go into it.
MESSAGE = """
from benchmarks.site.celery import app
from gemini_webhooks.dispatch import messages
from gemini_webhooks.processing import Handoff
import json
app.conf.broker_url = "memory://"
pack = range(10_000_000, 10_000_000 + messages.DELIVERIES_PER_MESSAGE)
messages.publish([Handoff(kind="delivery", id=one) for one in pack], app=app)
with app.connection_for_read() as broker:
    queue = broker.SimpleQueue(app.conf.task_default_queue)
    message = queue.get(block=False)
    message.ack()
    queue.close()
print(len(message.body) + len(json.dumps(message.headers)))
"""
NUMBER = 20


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Counts of one delivery; see :class:`~benchmarks.simulation.costs.Work`."""

    runs: int
    plan: Step
    inline: Step
    alone: Step


def count(site: Site, event_type: str) -> Structure:
    """What deliveries of this type have workers do."""
    found = json.loads(site.python(COUNT, str(NUMBER), event_type))
    runs = round(found["runs"])
    plan, together, alone = (
        Step(round_trips=trips / NUMBER, commits=commits / NUMBER)
        for trips, commits in (found["plan"], found["inline"], found["alone"])
    )
    return Structure(
        runs=runs,
        plan=plan,
        inline=Step(
            round_trips=(together.round_trips - plan.round_trips) / runs,
            commits=(together.commits - plan.commits) / runs,
        ),
        alone=Step(round_trips=alone.round_trips / runs, commits=alone.commits / runs),
    )


def rules(site: Site) -> Rules:
    """As the code has them."""
    return Rules(**json.loads(site.python(RULES)))


def message_bytes(site: Site) -> float:
    """Of body and headers."""
    return float(site.python(MESSAGE))
