"""Compares what was seen with what must be."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from example_project.demo.facts import Seen
from gemini_webhooks.models import Attempt, ResultFile, WebhookDelivery

RECEIVERS = 2
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the table at the end."""

    what: str
    expected: str
    seen: str

    @property
    def passed(self) -> bool:
        """Whether it is as it must be."""
        return self.seen == self.expected


def checks(seen: Seen) -> list[Check]:
    """All of them."""
    return [*_deliveries(seen), *_results(seen), *_refusals(seen)]


def _deliveries(seen: Seen) -> Iterator[Check]:
    batches = seen.story.batches
    stored = WebhookDelivery.objects.filter(resource_id__in=seen.story.resource_ids)
    found = [seen.deliveries[id_] for id_ in seen.story.resource_ids if id_ in seen.deliveries]
    yield Check(what="Events stored", expected=str(len(batches)), seen=str(stored.count()))
    yield Check(
        what="  signed by",
        expected=", ".join(batch.signing for batch in batches),
        seen=_list(delivery.signing for delivery in found),
    )
    yield Check(
        what="  state",
        expected=", ".join(["processed"] * len(batches)),
        seen=_list(delivery.state for delivery in found),
    )
    again = [made for delivery in found for made in seen.duplicates_of(delivery)]
    yield Check(
        what="Duplicates answered",
        expected=", ".join(["200"] * len(batches)),
        seen=_list(str(made["status"]) for made in again),
    )
    yield Check(
        what="  recognised as such",
        expected=str(len(batches)),
        seen=str(sum(delivery.duplicate_count for delivery in found)),
    )
    attempts = Attempt.objects.filter(run__delivery__in=found)
    yield Check(
        what="Receivers run, each once",
        expected=_counted({"succeeded": RECEIVERS * len(batches)}),
        seen=_counted(Counter(attempts.values_list("outcome", flat=True))),
    )
    yield Check(
        what="Jobs in the ledger",
        expected=_counted({"succeeded": len(batches)}),
        seen=_counted(Counter(job.state for job in seen.jobs)),
    )


def _results(seen: Seen) -> Iterator[Check]:
    for batch in seen.story.batches:
        rows = seen.rows[batch.resource_id]
        whole = sorted(row.key for row in rows) == sorted(batch.keys)
        answered = sum(not row.error for row in rows)
        yield Check(
            what=f"Rows of the {batch.label} batch",
            expected=f"{len(batch.keys)}, every key once",
            seen=f"{answered}, {'every key once' if whole else 'not the keys asked for'}",
        )
        if batch.tenant:
            yield Check(
                what="  tenant, as sealed",
                expected=batch.tenant,
                seen=_list(sorted({row.tenant for row in rows})),
            )
    files = ResultFile.objects.filter(delivery__resource_id__in=seen.story.resource_ids)
    yield Check(
        what="Result files, CRC32C right",
        expected=str(len(seen.story.batches)),
        seen=str(sum(file.crc32c == _crc32c(file) for file in files)),
    )


def _refusals(seen: Seen) -> Iterator[Check]:
    forgery = seen.story.forgery
    rejection = seen.rejections.get(forgery.webhook_id)
    yield Check(
        what="Forged request",
        expected="401 signature_mismatch",
        seen=f"{forgery.status} {_error(forgery.answer)}",
    )
    yield Check(
        what="  recorded with its reason",
        expected="signature_mismatch",
        seen=rejection.reason if rejection else "nothing",
    )
    yield Check(
        what="Stranger's unsealed job",
        expected="401 seal_missing",
        seen=_list(sorted({_refused(made, seen) for made in seen.strangers()})),
    )
    foreign = {forgery.webhook_id, *(made["webhook_id"] for made in seen.strangers())}
    believed = WebhookDelivery.objects.filter(
        webhook_id__in=foreign
    ) | WebhookDelivery.objects.filter(resource_id=seen.story.stranger.resource_id)
    yield Check(what="  stored of these two", expected="0", seen=str(believed.count()))


def _crc32c(result: ResultFile) -> str:
    if not result.file:
        return "no file"
    checksum = import_module("google_crc32c").Checksum()  # its types are incomplete
    with result.file.open("rb") as file:
        for chunk in file.chunks(CHUNK_BYTES):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode("ascii")


def _refused(made: Mapping[str, Any], seen: Seen) -> str:
    return f"{made['status']} {seen.rejections[made['webhook_id']].reason}"


def _error(answer: str) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, LookupError, TypeError):
        return "?"


def _list(values: Iterable[str]) -> str:
    return ", ".join(values) or "none"


def _counted(counts: Mapping[str, int]) -> str:
    return _list(f"{count} {name}" for name, count in sorted(counts.items()))
