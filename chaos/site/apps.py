"""Connects the receivers, and lets the app's own times pass faster."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from django.apps import AppConfig

from chaos.site.settings import CONFIG

#: Constants of ``gemini_webhooks`` that are lengths of time in seconds, wherever they are.
TIMES = (
    "LEASE_SECONDS",
    "RENEW_SECONDS",
    "SWEEP_GRACE_SECONDS",
    "COOL_DOWN_SECONDS",
    "FAILURE_COOLDOWN_SECONDS",
)


class ChaosSiteConfig(AppConfig):
    """The site."""

    name = "chaos.site"
    label = "chaos_site"

    def ready(self) -> None:
        """Connect, scale, and tell beat."""
        import_module("chaos.site.receivers")
        # A version from which a site is upgraded may not know of limits.
        if hasattr(import_module("gemini_webhooks.receivers"), "limited"):
            import_module("chaos.site.tenants")
        import_module("gemini_webhooks.urls")
        scale = CONFIG["scale"]
        scale_times(scale)
        if CONFIG["sabotage"]:
            import_module("chaos.site.sabotage").apply()
        celery = import_module("chaos.site.celery")
        celery.app.conf.beat_schedule = celery.schedule(scale)


def scale_times(scale: float) -> None:
    """Multiply the app's own lengths of time, which no setting changes.

    Only the time scale differs from production: a lease of 60 seconds would make a run of minutes
    wait for most of them.

    Raises:
        LookupError: one of the names is nowhere, so that this list is out of date.
    """
    found = set()
    for name, module in list(sys.modules.items()):
        if not name.startswith("gemini_webhooks."):
            continue
        for constant in TIMES:
            if isinstance(value := getattr(module, constant, None), int | float):
                setattr(module, constant, value * scale)
                found.add(constant)
    if missing := set(TIMES) - found:
        raise LookupError(f"gemini_webhooks has no {', '.join(sorted(missing))} any more")
    renew: Any = import_module("gemini_webhooks.results.claims").renew
    renew.__kwdefaults__["seconds"] *= scale  # the constant as it was when the module was read
