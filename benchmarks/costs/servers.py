"""What the servers take for one statement, one commit, one message."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import psycopg

from benchmarks.costs import processes
from benchmarks.costs.site import MICRO, Site, wait, worker
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
EMPTY_TASKS = """
import sys
from benchmarks.site.celery import handle
for n in range(int(sys.argv[1])):
    handle.delay(f"msg_{n}")
"""
INSERT = (
    "INSERT INTO bench_event (webhook_id, event_type, body, received_at) "
    "VALUES (%s, 'batch.succeeded', '{}', CURRENT_TIMESTAMP)"
)
MESSAGES = 2000
STATEMENTS = 4000
#: Takes a server about as long as most statements here.
QUERY = "SELECT count(*) FROM generate_series(1, 1000)"
THINKING_SECONDS = 200e-6
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
        pool=_pool(site),
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


def _pool(site: Site) -> float:
    """Between two tasks of a child, what neither it nor the main process computes."""
    site.purge()
    site.python(EMPTY_TASKS, str(MESSAGES))
    with worker(site) as main:
        wait(lambda: site.waiting() < MESSAGES * 0.9, "the worker does not begin")
        pids = [main, *processes.children(main)]
        first, spent, since = site.waiting(), processes.cpu(pids), time.perf_counter()
        wait(lambda: site.waiting() < MESSAGES * 0.1, "the worker does not get on")
        took, done = time.perf_counter() - since, first - site.waiting()
        computed = processes.cpu(pids) - spent
    site.purge()
    return max(0.0, took - computed) / done * MICRO


def _hop(site: Site) -> float:
    """Of a round trip, what neither side computes: until each has been woken.

    Both have something to do in between, as they have in a worker: who sleeps for a moment only is
    woken sooner.
    """
    with psycopg.connect(site.url, autocommit=True) as connection:
        backend = [connection.info.backend_pid]
        connection.execute(QUERY)
        spent, begun = processes.cpu(backend), time.process_time()
        since = time.perf_counter()
        for _ in range(STATEMENTS):
            connection.execute(QUERY)
            until = time.process_time() + THINKING_SECONDS
            while time.process_time() < until:
                pass
        took = time.perf_counter() - since
        computed = time.process_time() - begun + processes.cpu(backend) - spent
    return max(0.0, took - computed) / STATEMENTS * MICRO


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
    return (statistics.mean(took["on"]) - statistics.mean(took["off"])) * MICRO
