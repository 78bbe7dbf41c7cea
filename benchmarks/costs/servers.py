"""What the servers take for one statement, one commit, one message."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import psycopg

from benchmarks.costs import processes
from benchmarks.costs.site import MICRO, Site
from benchmarks.simulation.costs import Servers

SEND = """
import json, sys, time
from benchmarks.site.celery import app
from gemini_webhooks.dispatch import messages
from gemini_webhooks.processing import Handoff
pack = [Handoff(kind="delivery", id=n) for n in range(messages.DELIVERIES_PER_MESSAGE)]
messages.publish(pack, app=app)
begun = time.process_time()
for _ in range(int(sys.argv[1])):
    messages.publish(pack, app=app)
print(json.dumps(time.process_time() - begun))
"""
GATHER = "from gemini_webhooks.dispatch import publisher; print(publisher.GATHER_SECONDS)"
INSERT = (
    "INSERT INTO bench_event (webhook_id, event_type, body, received_at) "
    "VALUES (%s, 'batch.succeeded', '{}', CURRENT_TIMESTAMP)"
)
MESSAGES = 2000
STATEMENTS = 4000
COMMITS = 400
#: Celery asks for so many messages ahead, for each child.
PREFETCH = 4


def measure(site: Site) -> Servers:
    """All of it."""
    site.purge()
    idle = _broker_per_second()
    before, begun = processes.broker(), time.perf_counter()
    send = json.loads(site.python(SEND, str(MESSAGES)))
    publish = processes.broker() - before - idle * (time.perf_counter() - begun)
    before, begun = processes.broker(), time.perf_counter()
    _take_all(site)
    deliver = processes.broker() - before - idle * (time.perf_counter() - begun)
    return Servers(
        hop=_hop(site),
        flush=_flush(site),
        publish=max(0.0, publish) / MESSAGES * MICRO,
        deliver=max(0.0, deliver) / MESSAGES * MICRO,
        send=send / MESSAGES * MICRO,
        gather=float(site.python(GATHER)) * MICRO,
    )


def _broker_per_second(seconds: float = 2.0) -> float:
    before = processes.broker()
    time.sleep(seconds)
    return (processes.broker() - before) / seconds


def _take_all(site: Site) -> None:
    """Take the messages as a worker does: a few ahead, each acknowledged."""
    left = [site.waiting()]

    def acknowledge(message: Any) -> None:
        message.channel.basic_ack(message.delivery_tag)
        left[0] -= 1

    with site.channel() as channel:
        channel.basic_qos(0, PREFETCH, False)  # as the protocol calls it
        channel.basic_consume(site.queue, callback=acknowledge)
        while left[0]:
            channel.connection.drain_events(timeout=10)


def _hop(site: Site) -> float:
    """Of a round trip, what neither side computes; others on the machine only ever add to it."""
    with psycopg.connect(site.url, autocommit=True) as connection:
        backend = [connection.info.backend_pid]
        spent = processes.cpu(backend)
        took, begun = [], time.process_time()
        for _ in range(STATEMENTS):
            since = time.perf_counter()
            connection.execute("SELECT 1")
            took.append(time.perf_counter() - since)
        client = time.process_time() - begun
        server = processes.cpu(backend) - spent
    quarter = statistics.quantiles(took, n=4)[0]
    return max(0.0, quarter - (client + server) / STATEMENTS) * MICRO


def _flush(site: Site) -> float:
    """How much longer an INSERT takes that waits for the disk."""
    took: dict[str, list[float]] = {"on": [], "off": []}
    with psycopg.connect(site.url, autocommit=True) as connection:
        for number in range(COMMITS):
            waits = "on" if number % 2 else "off"
            connection.execute(f"SET synchronous_commit = {waits}".encode())
            since = time.perf_counter()
            connection.execute(INSERT, [f"flush_{number}"])
            took[waits].append(time.perf_counter() - since)
    return (statistics.median(took["on"]) - statistics.median(took["off"])) * MICRO
