"""Reads what has happened: in the site's own database, and in the emulator's log of deliveries.

Google is never asked about a job. The emulator's log is the sender's side of the story, which no
site would see.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from example_project.demo.errors import DemoFailed
from example_project.demo.jobs import Batch, Forgery
from example_project.studio.models import BatchRow
from gemini_webhooks.models import (
    Attempt,
    Job,
    RejectedRequest,
    ResultFile,
    WebhookDelivery,
)

State = WebhookDelivery.State
UNSETTLED = {State.RECEIVED, State.PROCESSING}
NO_SEAL = "seal_missing"
SIGNINGS = {"hmac": "HMAC", "jwt": "JWT"}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of the timeline."""

    moment: datetime
    what: str
    whose: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """What was done, all of which has consequences.

    Attributes:
        batches: those of this site.
        stranger: a batch that somebody else has sent here.
        forgery: a request that Google did not sign.
    """

    batches: Sequence[Batch]
    stranger: Batch
    forgery: Forgery

    @property
    def resource_ids(self) -> list[str]:
        """Of the batches of this site."""
        return [batch.resource_id for batch in self.batches]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What there is at one moment; nothing in it belongs to another run.

    Attributes:
        tries: the emulator's log of deliveries.
        deliveries: by resource id.
        rejections: by webhook id.
        rows: by resource id.
    """

    story: Story
    tries: list[dict[str, Any]]
    deliveries: dict[str, WebhookDelivery]
    rejections: dict[str, RejectedRequest]
    rows: dict[str, list[BatchRow]]
    jobs: list[Job]

    def duplicates_of(self, delivery: WebhookDelivery) -> list[dict[str, Any]]:
        """The tries that repeated a delivery that had succeeded."""
        mine = (made for made in self.tries if made["webhook_id"] == delivery.webhook_id)
        return [made for made in mine if made["duplicate"]]

    def strangers(self) -> list[dict[str, Any]]:
        """The tries of the stranger's event: those refused for want of a seal."""
        return [
            made
            for made in self.tries
            if (rejection := self.rejections.get(made["webhook_id"]))
            and rejection.reason == NO_SEAL
        ]

    def facts(self) -> Iterator[Fact]:
        """All that has happened since the submissions, in no particular order."""
        if forged := self.rejections.get(self.story.forgery.webhook_id):
            yield _refused(forged.received_at, "forger", forged)
        labels = {}
        for batch in self.story.batches:
            if delivery := self.deliveries.get(batch.resource_id):
                labels[delivery.webhook_id] = batch.label
                yield from _processed(batch.label, delivery, self.rows[batch.resource_id])
        for made in self.tries:
            label = labels.get(made["webhook_id"], "")
            yield from _tried(made, label, self.rejections.get(made["webhook_id"]))

    def awaited(self) -> list[str]:
        """What has not come yet, in words."""
        missing = []
        for batch in self.story.batches:
            delivery = self.deliveries.get(batch.resource_id)
            if delivery is None:
                missing.append(f"the event of the {batch.label} batch")
                continue
            if delivery.state in UNSETTLED:
                missing.append(f"the end of the receivers of the {batch.label} batch")
            if not self.duplicates_of(delivery):
                missing.append(f"the duplicate of the {batch.label} batch's event")
        if not self.strangers():
            missing.append("the refusal of the stranger's event")
        return missing


def look(story: Story) -> Seen:
    """Read it all."""
    # Effects are read after what they are the effects of, so that none of them seems to be missing:
    # what the sender knows to be answered is stored, what a receiver has done is there.
    tries = _tries()
    ids = story.resource_ids
    stored = WebhookDelivery.objects.filter(resource_id__in=ids)
    deliveries = list(stored.prefetch_related("runs__attempt_log", "results"))
    rows: dict[str, list[BatchRow]] = {resource_id: [] for resource_id in ids}
    for row in BatchRow.objects.filter(batch_id__in=ids).defer("text"):
        rows[row.batch_id].append(row)
    return Seen(
        story=story,
        tries=tries,
        deliveries={delivery.resource_id: delivery for delivery in deliveries},
        rejections={
            rejection.headers.get("webhook-id", ""): rejection
            for rejection in RejectedRequest.objects.all()
        },
        rows=rows,
        jobs=list(Job.objects.filter(resource_id__in=ids)),
    )


def _tries() -> list[dict[str, Any]]:
    url = f"{os.environ['GOOGLE_GEMINI_BASE_URL']}/emulator/deliveries"
    try:
        with urlopen(url, timeout=5) as response:  # noqa: S310  # http, the emulator
            tries: list[dict[str, Any]] = json.load(response)["deliveries"]
    except (URLError, OSError, ValueError) as error:
        raise DemoFailed(f"The emulator does not say what it delivered: {error}") from error
    return tries


def _tried(made: dict[str, Any], label: str, rejection: RejectedRequest | None) -> Iterator[Fact]:
    moment, status = datetime.fromisoformat(made["at"]), made["status"]
    if made["duplicate"]:
        detail = f"same webhook id again → HTTP {status}, not stored or run again"
        yield Fact(moment=moment, what="duplicate", whose=label, detail=detail)
    elif status == 200:
        detail = f"{made['event_type']}, {SIGNINGS[made['signing']]} → HTTP 200"
        yield Fact(moment=moment, what="delivered", whose=label, detail=detail)
    elif made["number"] > 1:
        return  # for the same reason as the first time
    elif rejection is None:
        detail = made["error"] or f"HTTP {status}"
        yield Fact(moment=moment, what="failed", whose=label, detail=detail)
    else:
        who = "stranger" if rejection.reason == NO_SEAL else label
        yield _refused(moment, who, rejection)


def _refused(moment: datetime, who: str, rejection: RejectedRequest) -> Fact:
    why = rejection.diagnosis.partition(": ")[0]
    detail = f"HTTP {rejection.status} {rejection.reason}: {why}"
    return Fact(moment=moment, what="refused", whose=who, detail=detail)


def _processed(label: str, delivery: WebhookDelivery, rows: list[BatchRow]) -> Iterator[Fact]:
    key = "secret" if delivery.signing == "hmac" else "key"
    seal = ", our seal" if delivery.sealed else ""
    detail = f"{SIGNINGS[delivery.signing]} by {key} {delivery.key_hint[:12]}{seal}; stored"
    yield Fact(moment=delivery.received_at, what="verified", whose=label, detail=detail)
    for result in delivery.results.all():
        yield from _fetched(label, result)
    for run in delivery.runs.all():
        name = run.receiver.rpartition(".")[2]
        for attempt in run.attempt_log.all():
            yield _attempted(label, name, attempt, rows if run.result_id else [])


def _fetched(label: str, result: ResultFile) -> Iterator[Fact]:
    if result.finished_at is None:
        return
    detail = f"failed: {result.error}"
    if result.state == ResultFile.State.COMPLETE:
        kilobytes = (result.size or 0) / 1000
        detail = f"{kilobytes:.1f} kB from Cloud Storage, CRC32C {result.crc32c} holds"
    yield Fact(moment=result.finished_at, what="fetched", whose=label, detail=detail)


def _attempted(label: str, receiver: str, attempt: Attempt, rows: list[BatchRow]) -> Fact:
    detail = f"{receiver} {attempt.outcome}, attempt {attempt.number}"
    if attempt.error_class:
        detail += f": {attempt.error_class}"
    if rows:
        tenant = f" of tenant {rows[0].tenant}" if rows[0].tenant else ""
        detail += f": {len(rows)} rows{tenant}"
    what = "rows stored" if rows else "receiver"
    return Fact(moment=attempt.finished, what=what, whose=label, detail=detail)
