"""Google's day in a moment: what is scaled besides the tries of a delivery."""

from __future__ import annotations

import time

from tests.emulator.conftest import KEY, MODEL, Wire
from tests.emulator.delivering import ask, idle, register, verifies


def test_the_grace_of_a_secret_is_scaled(serve, receiver):
    wire = Wire(serve(time_scale=86_400 * 5))
    hook, old = register(wire, receiver.url)
    new = wire.post(f"/v1/webhooks/{hook}:rotateSigningSecret", {}, key=KEY)[2]["secret"]
    deadline = time.monotonic() + 10
    while True:
        ask(wire)
        idle(wire)
        assert verifies(new, receiver.got[-1])
        if not verifies(old, receiver.got[-1]):
            break
        assert time.monotonic() < deadline, "the old secret does not end"


def start_batch(wire):
    requests = {"requests": [{"request": {"contents": []}}]}
    given = {"batch": {"inputConfig": {"requests": requests}}}
    return wire.post(f"/v1/models/{MODEL}:batchGenerateContent", given, key=KEY)[2]["name"]


def test_a_batch_that_takes_longer_than_a_day_expires(serve):
    wire = Wire(serve(output="inline", job_seconds=600, time_scale=86_400 * 10))
    started = time.monotonic()
    name = start_batch(wire)
    idle(wire)

    assert time.monotonic() - started >= 0.1
    metadata = wire.get(f"/v1/{name}", key=KEY)[2]["metadata"]
    assert metadata["state"] == "BATCH_STATE_EXPIRED"


def test_a_job_takes_the_time_that_it_is_said_to_take(serve):
    wire = Wire(serve(output="inline", job_seconds=0.2, time_scale=1440))
    started = time.monotonic()
    name = start_batch(wire)
    idle(wire)

    assert time.monotonic() - started >= 0.2
    metadata = wire.get(f"/v1/{name}", key=KEY)[2]["metadata"]
    assert metadata["state"] == "BATCH_STATE_SUCCEEDED"
