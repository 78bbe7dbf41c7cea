"""The events of a run, what each has to lead to, and how Google would sign them.

Signed by the libraries of others (``standardwebhooks``, PyJWT), never by our own code.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from standardwebhooks import Webhook

from chaos.google import OBJECTS, stored_file

#: The receivers that have to have their effect once, by event type; see ``chaos.site.receivers``.
EXPECTED: Mapping[str, frozenset[str]] = {
    "interaction.completed": frozenset({"plain"}),
    "interaction.failed": frozenset({"plain-too", "flaky"}),
    "interaction.cancelled": frozenset({"asynchronous"}),
    "interaction.requires_action": frozenset({"slow"}),
    "batch.cancelled": frozenset({"postponed"}),
    "batch.failed": frozenset({"outside"}),
    "batch.succeeded": frozenset({"announced", "result_ready:harvested"}),
}
SHARES = {
    "interaction.failed": 0.2,
    "interaction.cancelled": 0.1,
    "batch.cancelled": 0.08,
    "batch.failed": 0.06,
}
#: These take long, so there are not more of them in a long run.
MOST = {"interaction.requires_action": (0.06, 300), "batch.succeeded": (0.06, 2000)}
DYNAMIC_SHARE = 0.1
BINDINGS = ("event", "body", "webhook_id", "unbound")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event that the sender has to deliver.

    Attributes:
        binding: what its token vouches for; ``None``: it is signed with the secret.
        file: number of its result file, if it has one.
    """

    id: str
    type: str
    body: bytes = field(repr=False)
    binding: str | None = None
    file: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the body, in hex."""
        return hashlib.sha256(self.body).hexdigest()


def make(count: int, seed: int, metadata: Sequence[Mapping[str, Any]]) -> list[Event]:
    """The events of a run; the same for the same arguments, but for the seals.

    Args:
        count: how many.
        seed: of the choices.
        metadata: sealed metadata to choose from, for dynamic events.
    """
    source = random.Random(f"events-{seed}")  # noqa: S311  # no secret
    shares = {**SHARES, **{name: min(share, n / count) for name, (share, n) in MOST.items()}}
    shares["interaction.completed"] = 1 - sum(shares.values())
    types = source.choices(list(shares), list(shares.values()), k=count)
    # Of each kind there is one at least, however few there are.
    types[: len(EXPECTED)] = list(EXPECTED)[:count]
    source.shuffle(types)
    return [_event(source, number, types[number], metadata) for number in range(count)]


def _event(
    source: random.Random, number: int, event_type: str, metadata: Sequence[Mapping[str, Any]]
) -> Event:
    data: dict[str, Any] = {"id": f"job-{number}", "padding": "x" * source.randrange(400)}
    envelope: dict[str, Any] = {
        "type": event_type,
        "version": "v1",
        "timestamp": "2026-11-20T12:00:00Z",
        "data": data,
    }
    file = None
    if event_type == "batch.succeeded":
        file = source.randrange(OBJECTS)
        data["output_file_uri"] = f"gs://chaos/out/{file}.jsonl"
    binding = None
    if source.random() < DYNAMIC_SHARE:
        binding = source.choice(BINDINGS)
        data["user_metadata"] = source.choice(metadata)
    return Event(
        id=f"msg_{number}_{source.randbytes(8).hex()}",
        type=event_type,
        body=json.dumps(envelope).encode(),
        binding=binding,
        file=file,
    )


class Signer:
    """Google's keys, and the headers that they make."""

    def __init__(self, secret: str, audience: str) -> None:
        self._webhook = Webhook(secret)
        self._audience = audience
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = f"chaos-{uuid.uuid4().hex[:8]}"

    @property
    def key_set(self) -> dict[str, Any]:
        """The public half, as Google serves it."""
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**jwk, "kid": self._key_id, "use": "sig", "alg": "RS256"}]}

    def headers(self, event: Event) -> dict[str, str]:
        """Sign an event as it is sent now."""
        now = int(time.time())
        if event.binding is None:
            moment = datetime.fromtimestamp(now, UTC)
            signature = self._webhook.sign(event.id, moment, event.body.decode())
        else:
            signature = self._token(event, now)
        return {
            "webhook-id": event.id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature,
            "content-type": "application/json",
        }

    def _token(self, event: Event, now: int) -> str:
        claims: dict[str, Any] = {"aud": self._audience, "iat": now, "exp": now + 600}
        if event.binding == "event":
            claims |= json.loads(event.body)
        elif event.binding == "body":
            claims["body_sha256"] = event.digest
        elif event.binding == "webhook_id":
            claims["webhook_id"] = event.id
        headers = {"kid": self._key_id}
        return jwt.encode(claims, self._key, algorithm="RS256", headers=headers)


def result_checksum(seed: int, event: Event) -> tuple[int, str] | None:
    """Size and CRC32C that the result file of ``event`` has to have."""
    if event.file is None:
        return None
    file = stored_file(seed, event.file)
    return len(file.data), file.crc32c
