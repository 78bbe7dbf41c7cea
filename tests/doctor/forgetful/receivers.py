from __future__ import annotations

from gemini_webhooks.receivers import on


@on("batch.succeeded", name="never-connected")
def note(**_: object) -> None:
    pass
