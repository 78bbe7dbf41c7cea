"""Rows as the app writes them, and rows that are out to break a page."""

from __future__ import annotations

import json
from datetime import timedelta

from django.core.files.base import ContentFile

from gemini_webhooks import ciphers, clock
from gemini_webhooks.models import (
    Attempt,
    Erasure,
    Job,
    Lane,
    Pause,
    ReceiverRun,
    RejectedRequest,
    Replay,
    ReplayedDelivery,
    ResultFile,
    SigningSecret,
    TokenUse,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.senders import new_secret

SECRET = new_secret()
CIPHERTEXT = ciphers.encrypt(SECRET)
TOKEN_DIGEST = "d16e57" * 10
MARKUP = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
BODY = {"type": "batch.succeeded", "data": {"id": "b1", "output_file_uri": "gs://bucket/out.jsonl"}}

POISON = {
    "NUL": b'{"a": "\\u0000"} \x00',
    "lone surrogate": b'{"a": "\\ud800 \\udfff"}',
    "invalid UTF-8": b'{"a": "\xff\xfe\xed\xa0\x80"}',
    "UTF-16": json.dumps(BODY).encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "markup": json.dumps({"a": MARKUP}).encode(),
    "bare markup": MARKUP.encode(),
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 900 + b"]" * 900,
    "large": json.dumps({"a": "x" * 262_000}).encode(),
    "many values": b"[" + b"1," * 131_000 + b"1]",
    "duplicate keys": b'{"a": 1, "a": 2}',
    "not a number": b'{"a": NaN, "b": -Infinity, "c": 1e999}',
    "long number": b"[" + b"9" * 5000 + b"]",
    "empty": b"",
    "a scalar": b"7",
    "right-to-left override": '{"a": "\u202etxt.exe"}'.encode(),
    "only quotes": b'"' * 200_000,
}


def endpoint(slug="orders", **values):
    row = WebhookEndpoint.objects.create(slug=slug, **{"name": "Orders", **values})
    SigningSecret.objects.create(endpoint=row, ciphertext=CIPHERTEXT, hint="whsec_…3frh")
    return row


def delivery(number=1, **values):
    defaults = {
        "webhook_id": f"evt_{number:04}",
        "signing": WebhookDelivery.Signing.HMAC,
        "event_type": "batch.succeeded",
        "resource_id": f"batch-{number}",
        "state": WebhookDelivery.State.PROCESSED,
        "body": json.dumps(BODY).encode(),
        "key_hint": "whsec_…3frh",
    }
    return WebhookDelivery.objects.create(**{**defaults, **values})


def run(of, receiver="shop.receivers.store_rows", **values):
    return ReceiverRun.objects.create(
        delivery=of, receiver=receiver, **{"state": ReceiverRun.State.SUCCEEDED, **values}
    )


def attempt(of, number=1, **values):
    defaults = {
        "trigger": Attempt.Trigger.DELIVERY,
        "started": clock.after(-1.5),
        "finished": clock.now(),
        "outcome": Attempt.Outcome.SUCCEEDED,
    }
    return Attempt.objects.create(run=of, number=number, **{**defaults, **values})


def result(of, position=0, **values):
    defaults = {"source_uri": "gs://bucket/out.jsonl", "state": ResultFile.State.COMPLETE}
    return ResultFile.objects.create(delivery=of, position=position, **{**defaults, **values})


def rejection(**values):
    defaults = {
        "reason": "timestamp_out_of_tolerance",
        "status": 400,
        "diagnosis": "The timestamp is 412 s old.",
        "headers": {"webhook-id": "evt_1"},
    }
    return RejectedRequest.objects.create(**{**defaults, **values})


def job(number=1, **values):
    defaults = {
        "resource_id": f"batch-{number}",
        "kind": Job.Kind.BATCH,
        "due_at": clock.after(timedelta(days=1).total_seconds()),
    }
    return Job.objects.create(**{**defaults, **values})


def lane(name="shop.receivers.store_rows", limit=2):
    return Lane.objects.create(name=name, limit=limit)


def erasure(**values):
    defaults = {"kind": Erasure.Kind.METADATA, "subject": "tenant", "actor": "ada", "deliveries": 3}
    return Erasure.objects.create(**{**defaults, **values})


def pause(receiver="shop.receivers.store_rows", **values):
    defaults = {"kind": Pause.Kind.RECEIVER, "occupies": f"receiver:{receiver}"[:300]}
    defaults |= {"paused_by": "ada", "reason": "The ledger is down."}
    return Pause.objects.create(receiver=receiver, **{**defaults, **values})


def replay(of, **values):
    """A replay that came to one delivery."""
    defaults = {"what": Replay.What.FAILED, "state": Replay.State.FINISHED, "actor": "ada"}
    defaults |= {"reason": "The ledger is back.", "total": 1, "selection": {"ids": [of.pk]}}
    made = Replay.objects.create(**{**defaults, **values})
    ReplayedDelivery.objects.create(replay=made, delivery=of, problem=values.get("reason", ""))
    return made


def family(number=1, **values):
    """One row of every kind, hanging together."""
    at = endpoint(slug=f"orders-{number}")
    came = delivery(number, endpoint=at, secret=at.signing_secrets.get(), **values)
    handled = run(came)
    return [
        at,
        came,
        handled,
        attempt(handled),
        result(came, file=ContentFile(b"{}\n", name=f"out-{number}.jsonl"), rows=1, size=3),
        rejection(),
        job(number, delivery=came),
        lane(f"shop.receivers.store_rows tenant={number}"),
        erasure(),
        pause(f"shop.receivers.store_rows_{number}"),
        replay(came),
    ]


def hostile_family(number=2):
    """As :func:`family`, with markup or a very long value in every column of text."""
    long = (MARKUP * 20)[:255]
    at = WebhookEndpoint.objects.create(
        slug=f"hostile-{number}",
        name=MARKUP,
        uri="javascript:alert(1)//" + "y" * 470,
        remote_id=long,
        subscribed_events=[MARKUP],
        audiences={"not": ["a", "list"]},
        api_key_name=MARKUP,
        state=MARKUP[:50],
    )
    secret = SigningSecret.objects.create(endpoint=at, ciphertext=CIPHERTEXT, hint=MARKUP[:40])
    came = delivery(
        webhook_id=f"{number}{long}"[:255],
        endpoint=at,
        secret=secret,
        signing=MARKUP[:10],
        binding=MARKUP[:20],
        state=MARKUP[:20],
        source=MARKUP[:20],
        key_hint=long,
        event_type=long,
        resource_id=long,
        user_metadata={MARKUP: [MARKUP]},
        occurred_at=clock.now(),
        size=2**31 - 1,
    )
    handled = run(
        came,
        receiver=long,
        queue=long,
        last_error=MARKUP * 500,
        actor=long,
        trigger=MARKUP[:20],
        state=MARKUP[:20],
    )
    return [
        at,
        came,
        handled,
        attempt(
            handled,
            actor=long,
            error_class=long,
            traceback=MARKUP * 500,
            outcome=MARKUP[:20],
            trigger=MARKUP[:20],
        ),
        result(
            came,
            source_uri=(MARKUP * 40)[:1500],
            content_type=long,
            error=MARKUP * 500,
            file="../../" + MARKUP,
            size=2**62,
            bytes_done=2**61,
            rows=2**60,
            generation=MARKUP[:32],
        ),
        rejection(
            reason=MARKUP[:60],
            diagnosis=MARKUP * 500,
            endpoint_slug=MARKUP,
            headers={MARKUP: MARKUP * 100},
            body_digest=MARKUP[:64],
        ),
        job(
            resource_id=f"{number}{long}"[:255],
            kind=MARKUP[:20],
            user_metadata=[[[MARKUP]]],
            api_key_name=MARKUP,
            state=MARKUP[:20],
            delivery=came,
        ),
        lane(f"{number}{long}"[:255], limit=2**31 - 1),
        erasure(kind=MARKUP[:10], subject=long, digest=MARKUP[:64], actor=long),
        pause(f"{number}{long}"[:255], kind=MARKUP[:10], paused_by=long, reason=(MARKUP * 9)[:500]),
        replay(
            came,
            what=MARKUP[:20],
            state=MARKUP[:20],
            receivers=[long],
            selection={"receiver": long, "metadata": {"tenant": long}},
            actor=long,
            reason=(MARKUP * 9)[:500],
            stopped_by=long,
            total=2**31 - 1,
            skipped=2**31 - 1,
        ),
    ]


def token_use(of):
    return TokenUse.objects.create(
        token_digest=TOKEN_DIGEST, webhook_id=of.webhook_id, body_digest=TOKEN_DIGEST
    )
