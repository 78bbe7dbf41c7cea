"""The app's configuration."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GeminiWebhooksConfig(AppConfig):
    """Adds the system checks, finds the site's Celery app, and starts to observe."""

    name = "gemini_webhooks"
    verbose_name = _("Gemini webhooks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register system checks and tasks, and note the Celery app; all need loaded apps."""
        import_module("gemini_webhooks.checks")
        import_module("gemini_webhooks.tasks")
        import_module("gemini_webhooks.dispatch.messages").remember_app()
        import_module("gemini_webhooks.observe").start()
