"""Who may only look sees everything, and no way to change it."""

from __future__ import annotations

import pytest
from django.urls import reverse

from gemini_webhooks import gateway
from gemini_webhooks.models import WebhookEndpoint
from tests.admin.pages import add_url, list_url, page_url

CHANGING = ["edit", "rotate", "enable", "disable", "ping", "delete"]


def test_pages_have_no_buttons(endpoint, viewer):
    viewer.open(list_url(WebhookEndpoint))
    assert viewer.can_press() == {"Search"}
    viewer.follow("acme")
    viewer.sees(endpoint.uri)
    viewer.look("endpoint-only-looking")
    assert viewer.can_press() == {"History"}


@pytest.mark.parametrize("name", CHANGING)
def test_what_is_sent_all_the_same_is_refused(endpoint, viewer, name):
    before = gateway.get_webhook(api_key_name="default", webhook_id=endpoint.remote_id)
    viewer.open(page_url(endpoint))

    path = reverse(f"admin:gemini_webhooks_webhookendpoint_{name}", args=[endpoint.pk])
    assert viewer.post(path) == 403
    viewer.expects("403")

    after = gateway.get_webhook(api_key_name="default", webhook_id=endpoint.remote_id)
    assert after == before
    assert WebhookEndpoint.objects.get().state == endpoint.state


def test_adding_is_refused(google, viewer):
    assert viewer.open(add_url(WebhookEndpoint)) == 403
    viewer.expects("403")
