"""What several tests of the studio do or look at."""

from __future__ import annotations

import io

from django.core.management import call_command

from example_project.studio.models import Commission
from gemini_webhooks.models import WebhookDelivery


def state(commission: Commission) -> str:
    """Return its state, read anew."""
    commission.refresh_from_db()
    return commission.state


def replay(delivery: WebhookDelivery) -> None:
    """Replay it by the command."""
    call_command("gemini_webhooks", "replay", delivery.webhook_id, stdout=io.StringIO())


def replay_all() -> None:
    """Replay all there is; nothing may be on its way that was not processed once."""
    for delivery in WebhookDelivery.objects.all():
        replay(delivery)
