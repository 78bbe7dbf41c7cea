"""The tables. No behaviour here beyond a model's own fields; ``deliveries`` writes."""

from gemini_webhooks.models.deliveries import (
    Attempt,
    ReceiverRun,
    ResourceLock,
    TokenUse,
    WebhookDelivery,
)
from gemini_webhooks.models.endpoints import SigningSecret, WebhookEndpoint
from gemini_webhooks.models.erasures import Erasure
from gemini_webhooks.models.jobs import Job
from gemini_webhooks.models.lanes import Lane
from gemini_webhooks.models.rejections import RejectedRequest
from gemini_webhooks.models.results import ResultFile

__all__ = [
    "Attempt",
    "Erasure",
    "Job",
    "Lane",
    "ReceiverRun",
    "RejectedRequest",
    "ResourceLock",
    "ResultFile",
    "SigningSecret",
    "TokenUse",
    "WebhookDelivery",
    "WebhookEndpoint",
]
