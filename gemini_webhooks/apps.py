"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GeminiWebhooksConfig(AppConfig):
    """Adds the system checks."""

    name = "gemini_webhooks"
    verbose_name = _("Gemini webhooks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from gemini_webhooks import checks  # noqa: F401  # importing registers the checks
