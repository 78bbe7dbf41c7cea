"""Queues of their own for tenants, so that nobody waits behind another one's burst."""

from __future__ import annotations

from django.conf import settings

from gemini_webhooks.events import Event


def of_tenant(event: Event, receiver: str) -> str | None:  # noqa: ARG001  # all go the same way
    """The tenant's queue, if it has one; see ``STUDIO_QUEUES``."""
    tenant = event.user_metadata.get("tenant")
    return tenant if tenant in settings.STUDIO_QUEUES else None
