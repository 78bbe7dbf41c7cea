"""Receivers for the experiment of fairness."""

from __future__ import annotations

import time
from typing import Any

from chaos.options import CROWDED_SECONDS, PER_TENANT
from chaos.site.receivers import write
from gemini_webhooks.receivers import on


@on("video.generated", name="crowded", metadata={"receiver": "crowded"})
@on("video.generated", name="fair", metadata={"receiver": "fair"}, limit=PER_TENANT, per="tenant")
def render(event: Any, **_: Any) -> None:
    """Take a moment; for the experiment of fairness."""
    time.sleep(CROWDED_SECONDS)
    write(event, event.user_metadata["receiver"])
