"""The app's configuration."""

from __future__ import annotations

import sys
from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.conf import lead_to_emulator


class GeminiWebhooksConfig(AppConfig):
    """Adds the system checks, finds the site's Celery app, and starts to observe."""

    name = "gemini_webhooks"
    verbose_name = _("Gemini webhooks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register system checks and tasks, and note the Celery app; all need loaded apps.

        Each process of the site pays for what is imported here, so none of it is what receives
        or handles: that is imported by whoever does.
        """
        lead_to_emulator()
        import_module("gemini_webhooks.checks")
        import_module("gemini_webhooks.tasks")
        import_module("gemini_webhooks.celery_app").remember()
        import_module("gemini_webhooks.observe").start()
        # In development only: no other process knows of the emulator.
        if "runserver" in sys.argv[1:3]:
            import_module("gemini_webhooks.management.with_emulator").install()
