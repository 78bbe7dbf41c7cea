"""What the page of an endpoint says of its pause, and the way to one."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from gemini_webhooks import pausing
from gemini_webhooks.admin.endpoint_pages import EndpointPages
from gemini_webhooks.admin.pause_forms import ENDPOINT
from gemini_webhooks.models import WebhookEndpoint


class PauseNotice(EndpointPages):
    """Looks whether the endpoint is paused when its page is shown."""

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        """Say that the endpoint is paused; if it is not, offer to do it."""
        super().add_to_page(request, context, row)
        context |= self._pause(request, row)

    def _pause(self, request: HttpRequest, endpoint: WebhookEndpoint) -> dict[str, Any]:
        may = {
            f"may_{action}_pause": request.user.has_perm(f"gemini_webhooks.{action}_pause")
            for action in ("view", "add", "change")
        }
        url = reverse("admin:gemini_webhooks_pause_add", current_app=self.admin_site.name)
        url = f"{url}?{urlencode({'what': f'{ENDPOINT}{endpoint.slug}'})}"
        try:
            pause = pausing.find(endpoint=endpoint.slug)
        except pausing.NotPaused:
            return {**may, "pause_url": url if may["may_add_pause"] else ""}
        offers = may["may_add_pause"] and pause.resumed_at is not None
        held = pausing.held_by(pause)
        return {**may, "pause": pause, "held": held, "pause_url": url if offers else ""}
