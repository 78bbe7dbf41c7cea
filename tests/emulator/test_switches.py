"""What the emulator does wrong on purpose, seen by receivers and verifiers that are not ours."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time

import jwt
import pytest

from gemini_webhooks.emulator import EmulatorServer, signing
from gemini_webhooks.exceptions import ConfigurationError
from tests.emulator.conftest import Receiver, Wire
from tests.emulator.delivering import (
    ask,
    claims_of,
    idle,
    ids,
    is_signed,
    register,
    standardwebhooks,
    switch,
    verifies,
)

KEYS = "/.well-known/jwks.json"


@pytest.fixture
def serving(serve):
    return lambda **options: Wire(serve(output="inline", **options))


def posted(wire):
    return [message.webhook_id for message in wire.server.emulator.outbox.messages]


def ask_in_turn(wire, receiver, *uris, delivered):
    """Ask once for each of the numbers of events that are to have come by then."""
    for number, come in enumerate(delivered, start=1):
        ask(wire, *uris)
        deadline = time.monotonic() + 20
        while (len(posted(wire)), len(receiver.got)) != (number, come):
            assert time.monotonic() < deadline
            time.sleep(0.005)


# Order and time -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "delivered", "order"),
    [
        (0, [1, 2, 3, 4], [0, 1, 2, 3]),
        (0.5, [1, 1, 3], [0, 2, 1, 3]),
        (1, [0, 2, 2, 4], [1, 0, 3, 2]),
    ],
)
def test_a_share_is_overtaken(serving, receiver, share, delivered, order):
    wire = serving(reorder=share, reorder_seconds=60)
    register(wire, receiver.url)

    ask_in_turn(wire, receiver, delivered=delivered)
    if share == 0.5:
        switch(wire, reorder=0)
        ask(wire)
    idle(wire)

    sent = posted(wire)
    assert ids(receiver.got) == [sent[number] for number in order]


def test_what_nobody_overtakes_comes_in_the_end(serving, receiver):
    wire = serving(reorder=1, reorder_seconds=0.2)
    with Receiver() as other:
        ask(wire, receiver.url)
        ask(wire, other.url)
        idle(wire)

    assert (len(receiver.got), len(other.got)) == (1, 1)
    for message in wire.server.emulator.outbox.messages:
        assert (message.tries[0].at - message.created).total_seconds() >= 0.2


def test_a_share_comes_late_in_scaled_time(serving, receiver):
    wire = serving(late=0.5, late_seconds=1440, time_scale=1440)
    ask_in_turn(wire, receiver, receiver.url, delivered=[1, 2])
    idle(wire)

    first, second = wire.server.emulator.outbox.messages
    waited = [(one.tries[0].at - one.created).total_seconds() for one in (first, second)]
    assert waited[0] < 1 <= waited[1]


# Signatures and clocks ----------------------------------------------------------------------


def test_a_wrong_signature_of_a_static_webhook_is_followed_by_a_right_one(serving, receiver):
    wire = serving(wrong_signature=1)
    _, secret = register(wire, receiver.url)
    receiver.judge = lambda received: 200 if verifies(secret, received) else 401
    ask(wire)
    idle(wire)

    tries = wire.server.emulator.outbox.tries
    assert [(made.status, made.fault) for made in tries] == [(401, "wrong_signature"), (200, "")]
    assert len(set(ids(receiver.got))) == 1


def test_a_wrong_signature_of_a_token_is_followed_by_a_right_one(serving, receiver):
    wire = serving(wrong_signature=0.5)
    receiver.statuses = [200, 401]
    for _ in range(2):
        ask(wire, receiver.url)
        idle(wire)

    right, wrong, again = receiver.got
    assert claims_of(wire, right, receiver.url)
    with pytest.raises(jwt.InvalidSignatureError):
        claims_of(wire, wrong, receiver.url)
    assert claims_of(wire, again, receiver.url)
    assert ids([wrong]) == ids([again]) != ids([right])


@pytest.mark.parametrize(("skew", "complaint"), [(400, "too new"), (-400, "too old")])
def test_a_clock_that_is_wrong(serving, receiver, skew, complaint):
    wire = serving(clock_skew=skew)
    _, secret = register(wire, receiver.url)
    with Receiver() as dynamic:
        ask(wire)
        ask(wire, dynamic.url)
        idle(wire)

    [received] = receiver.got
    with pytest.raises(standardwebhooks.WebhookVerificationError, match=complaint):
        standardwebhooks.Webhook(secret).verify(received.body, received.headers)
    assert is_signed(secret, received)
    token = dynamic.got[0].headers["webhook-signature"]
    said = jwt.decode(token, options={"verify_signature": False})
    assert said["iat"] == int(dynamic.got[0].headers["webhook-timestamp"])
    assert said["iat"] - time.time() == pytest.approx(skew, abs=60)
    assert {made.fault for made in wire.server.emulator.outbox.tries} == {"clock_skew"}


# Poison -------------------------------------------------------------------------------------

POISON = {"nul", "surrogate", "huge_number", "long_number", "deep", "not_utf8", "not_json"}


def test_poison_comes_beside_events_signed_and_under_ids_of_its_own(serving, receiver):
    wire = serving(poison=1)
    _, secret = register(wire, receiver.url)
    for _ in POISON:
        ask(wire)
    idle(wire)

    messages = {one.webhook_id: one for one in wire.server.emulator.outbox.messages}
    assert len(set(ids(receiver.got))) == 2 * len(POISON)
    assert all(is_signed(secret, received) for received in receiver.got)
    kinds = {}
    for received in receiver.got:
        message = messages[received.headers["webhook-id"]]
        kinds.setdefault(message.event_type, received.body)
        assert message.tries[0].fault == ("poison" if "poison" in message.event_type else "")
    assert set(kinds) == {"interaction.completed", *(f"poison.{kind}" for kind in POISON)}
    assert "\0" in json.loads(kinds["poison.nul"])["data"]["id"]
    assert json.loads(kinds["poison.surrogate"])["data"]["id"].endswith("\ud800")
    assert json.loads(kinds["poison.huge_number"])["data"]["id"] == float("inf")
    for kind, error in [("deep", RecursionError), ("not_utf8", UnicodeDecodeError)]:
        with pytest.raises(error):
            json.loads(kinds[f"poison.{kind}"])
    for kind in ("long_number", "not_json"):
        with pytest.raises(ValueError):
            json.loads(kinds[f"poison.{kind}"])


@pytest.mark.parametrize("token", ["event", "unbound"])
def test_poison_for_a_dynamic_webhook_is_vouched_for_and_echoes_the_metadata(
    serving, receiver, token
):
    wire = serving(poison=1, token=token)
    for _ in range(3):
        ask(wire, receiver.url, seal='"@"')
    idle(wire)

    assert len(set(ids(receiver.got))) == 6
    for received in receiver.got:
        event = json.loads(received.body)
        assert event["data"]["user_metadata"] == {"seal": '"@"'}
        claims = claims_of(wire, received, receiver.url)
        if event["type"].startswith("poison") and token == "event":
            assert claims["body_sha256"] == hashlib.sha256(received.body).hexdigest()


# Keys ---------------------------------------------------------------------------------------


def key_ids(wire):
    return [key["kid"] for key in wire.get(KEYS)[2]["keys"]]


def kid(received):
    return jwt.get_unverified_header(received.headers["webhook-signature"])["kid"]


def test_keys_rotate_and_the_old_ones_verify_for_a_while(serving, receiver):
    wire = serving()
    ask(wire, receiver.url)
    idle(wire)
    before = key_ids(wire)
    switch(wire, rotate_keys=0.001)
    ask(wire, receiver.url)
    idle(wire)
    switch(wire, rotate_keys=0)

    first, second = receiver.got
    assert [kid(first)] == before
    assert kid(second) not in before
    assert kid(first) in key_ids(wire)
    for received in receiver.got:
        assert claims_of(wire, received, receiver.url)


@pytest.mark.parametrize(("name", "value"), [("TOKEN_SECONDS", 0), ("KEPT_KEYS", 1)])
def test_old_keys_end(serving, monkeypatch, name, value):
    monkeypatch.setattr(signing, name, value)
    wire = serving()
    [first] = key_ids(wire)
    switch(wire, rotate_keys=0.001)

    [second] = key_ids(wire)

    assert second != first


def test_key_set_is_not_to_be_had(serving):
    wire = serving(jwks_outage=0.5)

    answers = [wire.get(KEYS) for _ in range(4)]

    assert [status for status, _, _ in answers] == [200, 503, 200, 503]
    assert answers[1][1]["retry-after"] == "1"
    assert answers[1][2]["error"]["status"] == "UNAVAILABLE"


def test_key_set_can_be_garbage(serving):
    wire = serving(jwks_outage=1, jwks_outage_kind="garbage")

    with pytest.raises(json.JSONDecodeError):
        wire.get(KEYS)
    switch(wire, jwks_outage=0)
    assert wire.get(KEYS)[2]["keys"]


def test_key_set_can_hang_while_all_else_goes_on(serve):
    server = serve(jwks_outage=1, jwks_outage_kind="hang")
    waiting = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=0.2)
    waiting.request("GET", KEYS)
    with pytest.raises(TimeoutError):
        waiting.getresponse()

    assert Wire(server).get("/emulator/state")[0] == 200
    waiting.close()


def test_emulator_ends_at_once_while_its_key_set_hangs():
    before = set(threading.enumerate())
    with EmulatorServer(output="inline", jwks_outage=1, jwks_outage_kind="hang") as server:
        waiting = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        waiting.request("GET", KEYS)
        while not server.emulator.switches.turns.get("jwks_outage"):
            time.sleep(0.005)
        started = time.monotonic()

    assert time.monotonic() - started < 5
    assert set(threading.enumerate()) == before
    waiting.close()


# While it runs ------------------------------------------------------------------------------


def test_switches_are_listed_with_what_they_do(serving):
    _, _, answer = serving(late=0.25).get("/emulator/switches")

    switches = {one["name"]: one for one in answer["switches"]}
    assert switches["late"]["value"] == 0.25
    assert "sent late" in switches["late"]["help"]
    assert switches["jwks_outage_kind"]["choices"] == ["503", "garbage", "hang"]
    assert "api_key" not in switches
    assert "max_tries" not in switches


def test_a_switch_counts_from_when_it_is_set(serving, receiver):
    wire = serving()
    register(wire, receiver.url)
    switch(wire, lost=1)
    ask(wire)
    idle(wire)
    assert receiver.got == []

    switch(wire, lost=0, disable_after=1, duplicates=1)
    ask(wire)
    idle(wire)
    assert len(receiver.got) == 2
    [lost, _] = wire.server.emulator.outbox.messages
    assert lost.state == "lost"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"late": 1.5}, "late must be a share"),
        ({"late": "0.5"}, "late must be a number"),
        ({"late": True}, "late must be a number"),
        ({"late": None}, "late must be a number"),
        ({"disable_after": 1.5}, "disable_after must be a whole number"),
        ({"disable_after": -1}, "disable_after must not be negative"),
        ({"clock_skew": 1e99}, "clock_skew must be at most"),
        ({"reorder_seconds": -1}, "reorder_seconds must be from 0"),
        ({"jwks_outage_kind": "flood"}, "jwks_outage_kind must be one of"),
        ({"jwks_outage_kind": []}, "jwks_outage_kind must be one of"),
        ({"output": "files"}, "'output' is no switch"),
        ({"nothing": 1}, "'nothing' is no switch"),
    ],
)
def test_a_switch_that_makes_no_sense_changes_nothing(serving, values, complaint):
    wire = serving()

    status, _, answer = wire.post("/emulator/switches", {"lost": 0.5, **values})

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert complaint in answer["error"]["message"]
    assert wire.server.emulator.switches.now == wire.server.emulator.options


@pytest.mark.parametrize("path", ["switches", "sign"])
def test_pages_of_other_sites_set_and_sign_nothing(serving, path):
    wire = serving()
    body = {"lost": 1} if path == "switches" else SIGN
    ours = wire.server.url

    for origin, status in [("https://evil.example", 403), ("null", 403), (ours, 200)]:
        assert wire.post(f"/emulator/{path}", body, origin=origin)[0] == status, origin


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lost", 2),
        ("late", -1),
        ("late_seconds", -1),
        ("retry_hours", -1),
        ("time_scale", 0),
        ("time_scale", 1e-9),
        ("retry_base", 0),
        ("time_scale", float("inf")),
        ("clock_skew", float("nan")),
        ("jwks_outage_kind", "flood"),
    ],
)
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=name):
        EmulatorServer(**{name: value})


# Signatures on demand -----------------------------------------------------------------------

SIGN = {"webhook_id": "msg_1", "body": '{"type": "a.b", "data": {"id": "é"}}', "audience": "me"}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("event", {"type": "a.b", "data": {"id": "é"}}),
        ("body", {"body_sha256": hashlib.sha256(SIGN["body"].encode()).hexdigest()}),
        ("webhook_id", {"webhook_id": "msg_1"}),
        ("unbound", {}),
    ],
)
def test_it_signs_what_somebody_else_delivers(serving, kind, said):
    wire = serving()
    now = int(time.time())

    status, _, answer = wire.post("/emulator/sign", {**SIGN, "timestamp": now - 7, "token": kind})

    assert status == 200
    headers = answer["headers"]
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", str(now - 7))
    keys = jwt.PyJWKClient(f"{wire.server.url}{KEYS}")
    token = headers["webhook-signature"]
    key = keys.get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="me")
    assert claims["iat"] == now - 7
    assert {name: claims[name] for name in set(claims) - {"iss", "aud", "iat", "exp"}} == said


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"webhook_id": ""}, "webhook_id must be text"),
        ({"webhook_id": "a\nb"}, "webhook_id must be ASCII"),
        ({"body": None}, "body must be text"),
        ({"body": "\ud800", "token": "unbound"}, "half a surrogate pair"),
        ({"body": "[1]"}, "body must be a JSON object"),
        ({"body": "nothing"}, "body must be a JSON object"),
        ({"body": "[" * 50_000}, "body must be a JSON object"),
        ({"audience": 7}, "audience must be text"),
        ({"timestamp": "now"}, "timestamp must be a whole number"),
        ({"timestamp": True}, "timestamp must be a whole number"),
        ({"token": "none"}, "token must be one of"),
        ({"token": []}, "token must be one of"),
    ],
)
def test_it_signs_nothing_that_makes_no_sense(serving, wrong, complaint):
    status, _, answer = serving().post("/emulator/sign", {**SIGN, **wrong})

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert complaint in answer["error"]["message"]
