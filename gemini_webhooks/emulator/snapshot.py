"""All that an emulator knows, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gemini_webhooks.emulator import lifecycle
from gemini_webhooks.emulator.collection import Collection, R
from gemini_webhooks.emulator.messages import Posted
from gemini_webhooks.emulator.objects import StoredObject
from gemini_webhooks.emulator.registered import Webhook
from gemini_webhooks.emulator.resources import Batch, Interaction, Job, Video
from gemini_webhooks.emulator.signing import SigningKey
from gemini_webhooks.emulator.state import Emulator
from gemini_webhooks.emulator.uploads import StoredFile


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What survives a restart; options, faults on demand and uploads under way do not.

    Attributes:
        keys: newest first.
        turns: how often each switch was asked whether it is the turn of the next one.
        rules: for how many jobs each rule of the scenario was used.
    """

    webhooks: list[Webhook]
    batches: list[Batch]
    interactions: list[Interaction]
    videos: list[Video]
    files: list[StoredFile]
    objects: list[StoredObject]
    messages: list[Posted]
    keys: list[SigningKey]
    turns: dict[str, int]
    rules: dict[int, int]


def take(emulator: Emulator) -> Snapshot:
    """The emulator as it is; hold its lock until the snapshot is written down."""
    return Snapshot(
        webhooks=list(emulator.webhooks),
        batches=list(emulator.batches),
        interactions=list(emulator.interactions),
        videos=list(emulator.videos),
        files=list(emulator.files),
        objects=list(emulator.storage),
        messages=emulator.outbox.messages,
        keys=list(emulator.signer.keys),
        turns=emulator.switches.turns,
        rules=emulator.planner.used,
    )


def restore(emulator: Emulator, snapshot: Snapshot) -> None:
    """Fill an emulator that is new; jobs and deliveries go on."""
    with emulator.lock:
        _fill(emulator.webhooks, snapshot.webhooks)
        _fill(emulator.batches, snapshot.batches)
        _fill(emulator.interactions, snapshot.interactions)
        _fill(emulator.videos, snapshot.videos)
        _fill(emulator.files, snapshot.files)
        emulator.storage.restore(snapshot.objects)
        emulator.signer.restore(snapshot.keys)
        emulator.switches.turns = snapshot.turns
        emulator.planner.used = snapshot.rules
        webhooks = {webhook.id: webhook for webhook in snapshot.webhooks}
        emulator.outbox.restore(_with(webhooks, posted) for posted in snapshot.messages)
        jobs: list[Job] = [*snapshot.batches, *snapshot.interactions, *snapshot.videos]
        for job in jobs:
            lifecycle.resume(emulator, job)


def _fill(items: Collection[R], kept: list[R]) -> None:
    for one in kept:
        items.add(one)


def _with(webhooks: dict[str, Webhook], posted: Posted) -> Posted:
    """The message, for the webhook that it was for and not a copy of it."""
    posted.task = None
    webhook = posted.message.webhook
    if webhook is not None:
        recipient = webhooks.get(webhook.id, webhook)
        posted.message = replace(posted.message, recipient=recipient)
    return posted
