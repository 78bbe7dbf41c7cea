"""What is delivered, checked by verifiers that are not ours."""

import hashlib
import itertools
import json
import socket
import time

import jwt
import pytest

from gemini_webhooks.emulator import outbox
from tests.emulator.conftest import MODEL, Receiver, Wire
from tests.emulator.delivering import ask, idle, ids
from tests.emulator.delivering import register as register_plainly

standardwebhooks = pytest.importorskip("standardwebhooks")

REQUEST = [{"contents": "a", "metadata": {"key": "row-1"}}]
ALL = ["batch.succeeded", "batch.failed", "batch.cancelled", "interaction.completed"]


def register(client, receiver, events=ALL):
    return client.webhooks.create(uri=receiver.url, subscribed_events=list(events))


def submit(server, client, **config):
    job = client.batches.create(model=MODEL, src=REQUEST, config=config or None)
    assert server.emulator.outbox.wait_idle()
    return job


def verified_token(server, received, audience):
    keys = jwt.PyJWKClient(f"{server.url}/.well-known/jwks.json")
    token = received.headers["webhook-signature"]
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["RS256"], audience=audience)


def test_a_registered_webhook_gets_a_signed_event(server, client, receiver):
    secret = register(client, receiver).new_signing_secret
    job = submit(server, client)

    (received,) = receiver.got
    event = standardwebhooks.Webhook(secret).verify(received.body, received.headers)
    assert (event["type"], event["version"]) == ("batch.succeeded", "v1")
    assert f"batches/{event['data']['id']}" == job.name
    assert event["data"]["output_file_uri"] == client.batches.get(name=job.name).dest.file_name
    assert event["timestamp"].endswith("Z")
    assert "user_metadata" not in event["data"]


def test_a_signature_is_not_valid_for_another_body(server, client, receiver):
    secret = register(client, receiver).new_signing_secret
    submit(server, client)

    (received,) = receiver.got
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(received.body + b" ", received.headers)


@pytest.mark.parametrize(
    ("output", "field"), [("gcs", "output_file_uri"), ("files", "file_name"), ("inline", None)]
)
def test_the_event_says_where_the_output_is(serve, connect, receiver, output, field):
    server = serve(output=output)
    client = connect(server)
    register(client, receiver)
    submit(server, client)

    data = json.loads(receiver.got[0].body)["data"]
    assert set(data) == {"id", field} - {None}


def test_a_job_with_uris_calls_them_instead_and_echoes_the_metadata(server, client, receiver):
    with Receiver() as registered:
        register(client, registered)
        metadata = {"tenant": "acme", "n": 7, "deep": {"list": [1, None]}}
        job = submit(
            server, client, webhook_config={"uris": [receiver.url], "user_metadata": metadata}
        )

    assert registered.got == []
    (received,) = receiver.got
    event = json.loads(received.body)
    assert event["data"]["user_metadata"] == metadata
    claims = verified_token(server, received, audience=receiver.url)
    assert {name: claims[name] for name in event} == event
    assert f"batches/{claims['data']['id']}" == job.name
    assert claims["exp"] > claims["iat"] == int(received.headers["webhook-timestamp"])


def test_each_uri_of_a_job_gets_the_event_under_an_id_of_its_own(server, client, receiver):
    with Receiver() as other:
        submit(server, client, webhook_config={"uris": [receiver.url, other.url]})

    ids = {got.headers["webhook-id"] for got in receiver.got + other.got}
    assert (len(receiver.got), len(other.got), len(ids)) == (1, 1, 2)
    assert receiver.got[0].body == other.got[0].body


@pytest.mark.parametrize("kind", ["body", "webhook_id", "unbound"])
def test_what_a_token_vouches_for_can_be_chosen(serve, connect, receiver, kind):
    server = serve(token=kind, audience="my-project")
    submit(server, connect(server), webhook_config={"uris": [receiver.url]})

    (received,) = receiver.got
    claims = verified_token(server, received, audience="my-project")
    bound = {
        "body": {"body_sha256": hashlib.sha256(received.body).hexdigest()},
        "webhook_id": {"webhook_id": received.headers["webhook-id"]},
        "unbound": {},
    }
    usual = {"iss", "aud", "iat", "exp"}
    assert {name: claims[name] for name in set(claims) - usual} == bound[kind]


def test_keys_of_another_emulator_do_not_verify(serve, connect, receiver):
    server = serve()
    submit(server, connect(server), webhook_config={"uris": [receiver.url]})
    with pytest.raises(jwt.PyJWKClientError):
        verified_token(serve(), receiver.got[0], audience=receiver.url)


def test_an_interaction_is_announced(server, client, receiver):
    config = {"uris": [receiver.url], "user_metadata": {"a": 1}}
    done = client.interactions.create(
        model=MODEL, input="hi", background=True, webhook_config=config
    )
    failed = client.interactions.create(
        model=MODEL, input="fail-row", background=True, webhook_config=config
    )
    assert server.emulator.outbox.wait_idle()

    events = {
        event["data"]["id"]: event for event in map(json.loads, (g.body for g in receiver.got))
    }
    assert events[done.id]["type"] == "interaction.completed"
    assert events[failed.id]["type"] == "interaction.failed"
    assert events[failed.id]["data"]["error_code"] == "3"
    assert "fail-row" in events[failed.id]["data"]["error_message"]


def test_cancelling_and_failing_are_announced(serve, connect, receiver, tmp_path):
    server = serve(job_seconds=0.05)
    client = connect(server)
    register(client, receiver)
    client.batches.cancel(name=client.batches.create(model=MODEL, src=REQUEST).name)
    source = tmp_path / "input.jsonl"
    source.write_text("not json")
    uploaded = client.files.upload(file=source, config={"mime_type": "jsonl"})
    client.batches.create(model=MODEL, src=uploaded.name)
    assert server.emulator.outbox.wait_idle()

    types = [json.loads(got.body)["type"] for got in receiver.got]
    assert types == ["batch.cancelled", "batch.failed"]


def test_only_who_subscribed_and_is_enabled_gets_the_event(server, client, receiver):
    with Receiver() as other, Receiver() as disabled:
        register(client, receiver, ["batch.succeeded"])
        register(client, other, ["interaction.completed"])
        hook = register(client, disabled)
        server.emulator.webhooks.get(hook.id).state = "disabled_due_to_failed_deliveries"
        submit(server, client)

    assert (len(receiver.got), len(other.got), len(disabled.got)) == (1, 0, 0)


def test_a_ping_arrives_signed(server, client, receiver):
    made = register(client, receiver)
    client.webhooks.ping(id=made.id)
    assert server.emulator.outbox.wait_idle()

    (received,) = receiver.got
    event = standardwebhooks.Webhook(made.new_signing_secret).verify(
        received.body, received.headers
    )
    assert event["data"] == {"id": made.id}


@pytest.mark.parametrize("status", [301, 400, 410, 500, 503])
def test_a_delivery_that_is_not_accepted_is_tried_again(server, client, receiver, status):
    secret = register(client, receiver).new_signing_secret
    receiver.statuses = [status, status]
    submit(server, client)

    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    assert [made.status for made in server.emulator.outbox.tries] == [status, status, 200]
    for got in receiver.got:
        standardwebhooks.Webhook(secret).verify(got.body, got.headers)


def test_a_retry_has_the_time_and_signature_of_its_own(serve, connect, receiver):
    server = serve(retry_base=1.05)  # longer than the second that timestamps count in
    register(connect(server), receiver)
    receiver.statuses = [503]
    submit(server, connect(server))

    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(first.headers["webhook-timestamp"]) < int(second.headers["webhook-timestamp"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_the_pause_doubles(serve, connect, receiver):
    server = serve(retry_base=0.05)
    register(connect(server), receiver)
    receiver.statuses = [503, 503, 503]
    submit(server, connect(server))

    times = [made.at for made in server.emulator.outbox.tries]
    pauses = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
    for pause, least in zip(pauses, (0.05, 0.1, 0.2), strict=True):
        assert pause >= least


def test_a_delivery_is_given_up_in_the_end(serve, connect, receiver):
    server = serve(max_tries=3)
    register(connect(server), receiver)
    receiver.statuses = [500] * 9
    submit(server, connect(server))

    assert len(receiver.got) == 3


def test_a_receiver_that_is_not_there_or_does_not_answer_is_an_error_in_the_log(serve, connect):
    server = serve(max_tries=1, delivery_timeout=0.1)
    with socket.socket() as silent, socket.socket() as gone:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        gone.bind(("127.0.0.1", 0))
        uris = [f"http://127.0.0.1:{one.getsockname()[1]}/" for one in (silent, gone)]
        submit(server, connect(server), webhook_config={"uris": uris})

    errors = {made.target: made.error for made in server.emulator.outbox.tries}
    assert errors[uris[0]] == "no answer within 0.1 s"
    assert "refused" in errors[uris[1]]
    assert {made.status for made in server.emulator.outbox.tries} == {None}


@pytest.mark.parametrize("host", [f"{'a' * 64}.example", "a..example"])
def test_a_host_that_cannot_have_an_address_is_tried_and_given_up(serve, host):
    wire = Wire(serve(max_tries=2))
    ask(wire, f"http://{host}/")
    idle(wire)

    [message] = wire.server.emulator.outbox.messages
    assert (message.state, [made.status for made in message.tries]) == ("given up", [None, None])
    assert all(made.error for made in message.tries)


@pytest.mark.parametrize(("share", "sent"), [(0, 4), (0.5, 6), (1, 8)])
def test_a_share_of_the_events_is_sent_twice(serve, connect, receiver, share, sent):
    server = serve(duplicates=share)
    client = connect(server)
    register(client, receiver)
    for _ in range(4):
        submit(server, client)

    tries = server.emulator.outbox.tries
    assert len(receiver.got) == sent
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 4
    assert sum(made.duplicate for made in tries) == sent - 4
    assert {made.number for made in tries if made.duplicate} <= {2}


def test_only_a_delivery_that_was_accepted_is_sent_twice(serve, connect, receiver):
    server = serve(duplicates=1)
    register(connect(server), receiver)
    receiver.statuses = [503, 200, 503]
    submit(server, connect(server))

    tries = [(made.number, made.status, made.duplicate) for made in server.emulator.outbox.tries]
    assert tries == [(1, 503, False), (2, 200, False), (3, 503, True)]


def test_the_log_of_tries_can_be_read_as_json(client, receiver, wire):
    register(client, receiver)
    receiver.statuses = [503]
    submit(wire.server, client)
    _, _, answer = wire.get("/emulator/deliveries")

    first, second = answer["deliveries"]
    assert (first["number"], first["status"], second["number"]) == (1, 503, 2)
    assert first["webhook_id"] == second["webhook_id"] == receiver.got[0].headers["webhook-id"]
    assert (first["event_type"], first["signing"]) == ("batch.succeeded", "hmac")
    assert first["target"] == receiver.url
    assert first["at"] < second["at"]


def test_every_job_and_try_is_reported_in_a_line_without_the_query(serve, connect, receiver):
    lines = []
    server = serve(report=lines.append)
    job = submit(server, connect(server), webhook_config={"uris": [receiver.url]})

    batch_id = job.name.removeprefix("batches/")
    assert lines[:2] == [f"batch {batch_id} started", f"batch {batch_id} succeeded"]
    assert lines[2].startswith("batch.succeeded msg_")
    assert lines[2].endswith("try 1: HTTP 200")
    assert "site=1" not in lines[2]


# Tries for a day ----------------------------------------------------------------------------


def test_tries_go_on_for_a_day_of_google_s_time(serve, receiver):
    wire = Wire(serve(retry_base=1, time_scale=86_400 / 4))  # a day in four seconds
    receiver.judge = lambda _: 503
    ask(wire, receiver.url)
    idle(wire)

    [message] = wire.server.emulator.outbox.messages
    first, last = message.tries[0].at, message.tries[-1].at
    assert 0.9 < (last - first).total_seconds() / 4 < 2
    assert len(receiver.got) > 12
    assert (message.state, message.next_try_at) == ("given up", None)


def test_no_day_is_one_try(serve, receiver):
    wire = Wire(serve(retry_hours=0))
    receiver.judge = lambda _: 503
    ask(wire, receiver.url)
    idle(wire)

    assert len(receiver.got) == 1
    assert wire.server.emulator.outbox.messages[0].state == "given up"


# One more try -------------------------------------------------------------------------------


def only_message(wire):
    [message] = wire.server.emulator.outbox.messages
    return message


def resend(wire):
    message = only_message(wire)
    wire.server.emulator.outbox.resend(message.webhook_id, message.target)


def test_what_was_delivered_can_be_sent_again(serve, receiver):
    wire = Wire(serve(max_tries=1))
    ask(wire, receiver.url)
    idle(wire)
    receiver.statuses = [500]
    for _ in range(2):
        resend(wire)
        idle(wire)

    made = [(one.number, one.status, one.duplicate) for one in only_message(wire).tries]
    assert made == [(1, 200, False), (2, 500, True), (3, 200, True)]
    assert len(set(ids(receiver.got))) == 1
    assert only_message(wire).state == "delivered"


def test_what_was_given_up_can_be_sent_again(serve, receiver):
    wire = Wire(serve(max_tries=1))
    receiver.statuses = [500, 500]
    ask(wire, receiver.url)
    idle(wire)
    resend(wire)
    idle(wire)
    assert only_message(wire).state == "given up"

    resend(wire)
    idle(wire)
    assert only_message(wire).state == "delivered"
    assert [one.number for one in only_message(wire).tries] == [1, 2, 3]


def test_what_waits_can_be_sent_at_once(serve, receiver):
    wire = Wire(serve(retry_base=600))
    receiver.statuses = [500, 500]
    ask(wire, receiver.url)
    wait_for_tries(wire, 1)
    due = only_message(wire).next_try_at
    resend(wire)
    wait_for_tries(wire, 2)
    assert (only_message(wire).state, only_message(wire).next_try_at) == ("waiting", due)

    resend(wire)
    idle(wire)
    assert (only_message(wire).state, only_message(wire).next_try_at) == ("delivered", None)
    assert len(receiver.got) == 3


def wait_for_tries(wire, number):
    wait_until(
        lambda: len(wire.server.emulator.outbox.tries) >= number and only_message(wire).next_try_at
    )


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_was_lost_can_be_sent(serve, receiver):
    wire = Wire(serve(lost=1))
    ask(wire, receiver.url)
    idle(wire)
    assert only_message(wire).state == "lost"
    resend(wire)
    idle(wire)

    assert only_message(wire).state == "delivered"
    assert len(receiver.got) == 1


def test_nothing_is_sent_again_to_a_webhook_that_is_off(serve, receiver):
    wire = Wire(serve())
    hook, _ = register_plainly(wire, receiver.url)
    ask(wire)
    idle(wire)
    wire.send("DELETE", f"/v1/webhooks/{hook}", key="k")
    resend(wire)
    idle(wire)

    assert (only_message(wire).state, len(receiver.got)) == ("delivered", 1)


@pytest.mark.parametrize(("known_id", "known_target"), [(False, True), (True, False)])
def test_what_is_not_known_cannot_be_sent_again(serve, receiver, known_id, known_target):
    wire = Wire(serve())
    ask(wire, receiver.url)
    idle(wire)
    webhook_id = only_message(wire).webhook_id if known_id else "msg_other"
    with pytest.raises(KeyError):
        wire.server.emulator.outbox.resend(webhook_id, receiver.url if known_target else "http://b")


# What is remembered -------------------------------------------------------------------------


def test_a_try_keeps_what_was_sent_and_answered(serve, receiver):
    wire = Wire(serve())
    receiver.answer = b"x" * 10_000
    ask(wire, receiver.url)
    idle(wire)

    [made] = wire.server.emulator.outbox.tries
    [received] = receiver.got
    assert made.request_headers["webhook-signature"] == received.headers["webhook-signature"]
    answered = {name.lower(): value for name, value in made.answer_headers.items()}
    assert answered["content-length"] == "10000"
    assert made.answer_body == b"x" * 4096
    assert 0 < made.seconds < 10
    assert only_message(wire).body == received.body
    shown = made.as_json()
    assert (shown["seconds"], shown["fault"]) == (made.seconds, "")
    assert received.headers["webhook-signature"] not in json.dumps(shown)


def test_only_the_newest_messages_are_kept_and_those_that_wait(serve, receiver, monkeypatch):
    monkeypatch.setattr(outbox, "KEPT_MESSAGES", 3)
    wire = Wire(serve(retry_base=600))
    receiver.statuses = [500]
    for number in range(1, 6):
        ask(wire, receiver.url)
        wait_until(lambda number=number: len(receiver.got) == number)
    box = wire.server.emulator.outbox
    wait_until(lambda: len(box.messages) == 3 and box.messages[-1].state == "delivered")

    kept = box.messages
    sent = ids(receiver.got)
    assert [message.webhook_id for message in kept] == [sent[0], *sent[-2:]]
    assert [message.state for message in kept] == ["waiting", "delivered", "delivered"]


def test_each_change_has_a_version(serve, receiver):
    wire = Wire(serve())
    versions = [wire.server.emulator.version]
    for act in (
        lambda: register_plainly(wire, receiver.url),
        lambda: ask(wire),
        wire.server.emulator.outbox.wait_idle,
        lambda: resend(wire),
    ):
        act()
        idle(wire)
        versions.append(wire.server.emulator.version)
    assert wire.get("/emulator/state")[0] == 200
    assert wire.server.emulator.version == versions[-1]
    del versions[3]  # nothing has happened but a wait
    assert versions == sorted(set(versions))


def test_a_bug_of_the_emulator_costs_a_try_and_no_delivery(serve, connect, receiver, monkeypatch):
    server = serve(job_seconds=0, retry_base=0.01)
    client = connect(server)
    signed, tries = server.emulator.signer.token, itertools.count()

    def broken_once(claims):
        if not next(tries):
            raise ZeroDivisionError
        return signed(claims)

    monkeypatch.setattr(server.emulator.signer, "token", broken_once)
    submit(server, client, webhook_config={"uris": [receiver.url]})

    assert [(made.status, made.error) for made in server.emulator.outbox.tries] == [
        (None, "ZeroDivisionError"),
        (200, ""),
    ]
