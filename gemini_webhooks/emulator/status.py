"""What the emulator itself can be asked."""

from __future__ import annotations

from typing import Any

from gemini_webhooks.emulator.collection import Collection
from gemini_webhooks.emulator.dispatch import Call, view
from gemini_webhooks.emulator.resources import Batch, Interaction, Video


def show_deliveries(call: Call) -> dict[str, Any]:
    """All tries so far, oldest first."""
    return {"deliveries": [made.as_json() for made in call.emulator.outbox.tries]}


def show_state(call: Call) -> dict[str, Any]:
    """What there is, in short."""
    emulator = call.emulator
    return {
        "webhooks": [{"id": webhook.id, "state": webhook.state} for webhook in emulator.webhooks],
        "batches": _jobs(emulator.batches),
        "interactions": _jobs(emulator.interactions),
        "videos": _jobs(emulator.videos),
        "files": len(emulator.files),
        "objects": len(emulator.storage),
        "tries": len(emulator.outbox.tries),
    }


def _jobs(
    jobs: Collection[Batch] | Collection[Interaction] | Collection[Video],
) -> list[dict[str, str]]:
    return [{"id": job.id, "state": job.outcome or "running"} for job in jobs]


deliveries = view(public=True, GET=show_deliveries)
state = view(public=True, GET=show_state)
