"""Whatever goes wrong on the way: what is accepted was verified by others, and all of it comes."""

from __future__ import annotations

import json
import threading

import jwt
import pytest

from gemini_webhooks.emulator import EmulatorServer
from tests.emulator.conftest import KEY, Received, Receiver, Wire
from tests.emulator.delivering import ask, claims_of, idle, ids, register, verifies

EVENTS = 4
QUICK = {"job_seconds": 0, "retry_base": 0.01, "output": "inline"}
TROUBLE = {
    "none": {},
    "duplicates": {"duplicates": 0.5},
    "reorder": {"reorder": 0.5, "reorder_seconds": 0.1},
    "late": {"late": 0.5, "late_seconds": 60, "time_scale": 1440},
    "wrong_signature": {"wrong_signature": 0.5},
    "clock_skew": {"clock_skew": -30},
    "poison": {"poison": 0.5},
    "rotate_keys": {"rotate_keys": 0.3},
    "jwks_outage": {"jwks_outage": 0.5},
    "jwks_garbage": {"jwks_outage": 0.5, "jwks_outage_kind": "garbage"},
    "lost": {"lost": 0.5},
}
TROUBLE["all"] = {
    name: value for options in TROUBLE.values() for name, value in options.items()
} | {"jwks_outage_kind": "503"}


class Verifier:
    """Answers 401 to what does not verify, and 503 while the key set is not to be had."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.secret = ""
        self.wire: Wire | None = None
        self.accepted: list[Received] = []
        self._lock = threading.Lock()
        receiver.judge = self.judge

    def judge(self, received: Received) -> int:
        try:
            is_good = self.believes(received)
        except jwt.PyJWKClientConnectionError:
            return 503
        except (jwt.PyJWTError, json.JSONDecodeError):
            return 401
        with self._lock:
            if is_good:
                self.accepted.append(received)
        return 204 if is_good else 401

    def believes(self, received: Received) -> bool:
        if received.headers["webhook-signature"].startswith("v1,"):
            return verifies(self.secret, received)
        return bool(claims_of(self.wire, received, "my-project"))


@pytest.fixture
def verifier(receiver) -> Verifier:
    return Verifier(receiver)


def start(verifier, signing):
    if signing == "static":
        ask(verifier.wire)
    else:
        ask(verifier.wire, verifier.receiver.url, n=1)


def finish(verifier):
    outbox = verifier.wire.server.emulator.outbox
    idle(verifier.wire)
    outbox.send_lost()
    idle(verifier.wire)
    assert {message.state for message in outbox.messages} == {"delivered"}
    assert set(ids(verifier.accepted)) == {message.webhook_id for message in outbox.messages}
    real = [message for message in outbox.messages if "poison" not in message.event_type]
    assert len(real) == EVENTS


@pytest.mark.parametrize("signing", ["static", "dynamic"])
@pytest.mark.parametrize("trouble", TROUBLE)
def test_all_that_is_sent_verifies_in_the_end(serve, verifier, trouble, signing):
    options = {**QUICK, "audience": "my-project", **TROUBLE[trouble]}
    verifier.wire = Wire(serve(**options))
    _, verifier.secret = register(verifier.wire, verifier.receiver.url)
    for _ in range(EVENTS):
        start(verifier, signing)

    finish(verifier)


@pytest.mark.parametrize("signing", ["static", "dynamic"])
def test_so_it_does_after_a_restart_and_a_rotation_of_the_secret(tmp_path, verifier, signing):
    options = {
        **QUICK,
        **TROUBLE["all"],
        "audience": "my-project",
        "state": tmp_path / "state.json",
        "job_seconds": 0.1,
    }
    with EmulatorServer(**options) as server:
        verifier.wire = Wire(server)
        hook, verifier.secret = register(verifier.wire, verifier.receiver.url)
        for _ in range(EVENTS - 1):
            start(verifier, signing)
        server.emulator.outbox.wait_idle(0.15)

    with EmulatorServer(**options) as server:
        verifier.wire = Wire(server)
        path = f"/v1/webhooks/{hook}:rotateSigningSecret"
        _, _, answer = verifier.wire.post(path, {}, key=KEY)
        start(verifier, signing)
        server.emulator.outbox.wait_idle(0.1)
        verifier.secret = answer["secret"]  # the site has both only one after the other
        finish(verifier)
