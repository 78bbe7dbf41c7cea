"""Addresses of the admin's pages."""

from __future__ import annotations

from django.contrib.admin.utils import quote
from django.urls import reverse

from gemini_webhooks.models import (
    Attempt,
    Erasure,
    Job,
    Lane,
    Pause,
    ReceiverRun,
    RejectedRequest,
    Replay,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)

MODELS = [
    WebhookEndpoint,
    WebhookDelivery,
    ReceiverRun,
    Attempt,
    ResultFile,
    RejectedRequest,
    Job,
    Lane,
    Erasure,
    Pause,
    Replay,
]


def list_url(model):
    return reverse(f"admin:gemini_webhooks_{model._meta.model_name}_changelist")


def add_url(model):
    return reverse(f"admin:gemini_webhooks_{model._meta.model_name}_add")


def page_url(row):
    return reverse(f"admin:gemini_webhooks_{row._meta.model_name}_change", args=[quote(row.pk)])


def delete_url(row):
    return reverse(f"admin:gemini_webhooks_{row._meta.model_name}_delete", args=[quote(row.pk)])


def text_of(response):
    assert response.status_code == 200, response.status_code
    return response.content.decode()
